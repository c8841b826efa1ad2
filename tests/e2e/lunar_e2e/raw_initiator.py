# SPDX-License-Identifier: LGPL-2.1-or-later
"""An iSCSI initiator of bytes: for digests, PDUs that are cut short, and PDUs that no initiator sends."""

import socket
import struct

LOGIN, TEXT, COMMAND, TASK_MANAGEMENT, DATA_OUT, LOGOUT, NOP_OUT = 3, 4, 1, 2, 5, 6, 0
NOP_IN, RESPONSE, TASK_MANAGEMENT_RESPONSE, DATA_IN, LOGOUT_RESPONSE, R2T = 0x20, 0x21, 0x22, 0x25, 0x26, 0x31
SIMPLE, ORDERED, HEAD_OF_QUEUE = 1, 2, 3  # task attributes
_IMMEDIATE, _FINAL = 0x40, 0x80
_RESERVED = 0xffffffff

_TABLE = []
for _byte in range(256):
    for _ in range(8):
        _byte = _byte >> 1 ^ (0x82f63b78 if _byte & 1 else 0)
    _TABLE.append(_byte)


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xff]
    return struct.pack("<I", crc ^ 0xffffffff)


def _padded(data):
    return data + bytes(-len(data) % 4)


class ConnectionEnded(Exception):
    """The target has closed or reset the connection."""


class Pdu:
    def __init__(self, header, data):
        self.header = header
        self.data = data

    @property
    def opcode(self):
        return self.header[0] & 0x3f

    def word(self, offset):
        return struct.unpack_from(">I", self.header, offset)[0]


class Answer:
    """What came of a command. `sense` is (key, additional sense code and qualifier), or None."""

    def __init__(self, pdu, data, sense):
        self.tag = pdu.word(16)
        self.status = pdu.header[3]
        self.residual = pdu.word(44)
        self.data = data
        self.raw_sense = sense
        self.sense = (sense[2] & 0xf, sense[12] << 8 | sense[13]) if len(sense) >= 14 else None

    def __repr__(self):
        return f"status {self.status:#x}, sense {self.sense}, {len(self.data)} bytes, residual {self.residual}"


class RawInitiator:
    """One connection, which is a session of its own. Everything blocks, for `timeout` seconds at most."""

    def __init__(self, target, header_digest=False, data_digest=False, isid=0x1234, timeout=30,
                 receive_buffer=None, max_receive=65536, source=None):
        self.target = target
        self.header_digest = header_digest
        self.data_digest = data_digest
        self.isid = isid
        self.max_receive = max_receive
        self._is_full = False
        self._cmd_sn = 1
        self._exp_stat_sn = 0
        self.last_tag = 0
        family = socket.AF_INET6 if ":" in target.tgtd.host else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_STREAM)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if source:
            self.socket.bind((source, 0))
        self.socket.connect((target.tgtd.host.strip("[]"), target.tgtd.port))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def reset(self):
        """Closes it with a RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    # -- PDUs

    def next_tag(self):
        self.last_tag += 1
        return self.last_tag

    def encode(self, opcode, flags=_FINAL, specific=b"", lun=1, tag=None, data=b"", words=(), length=None):
        """A PDU as bytes. `words` are the four-byte fields from offset 20 on; `length` lies about `data`."""
        header = bytearray(48)
        header[0], header[1] = opcode, flags
        header[2:2 + len(specific)] = specific
        header[5:8] = (len(data) if length is None else length).to_bytes(3, "big")
        header[8:16] = lun if isinstance(lun, bytes) else bytes([0, lun, 0, 0, 0, 0, 0, 0])
        struct.pack_into(">I", header, 16, self.next_tag() if tag is None else tag)
        for index, word in enumerate(words):
            if isinstance(word, bytes):
                header[20 + 4 * index:20 + 4 * index + len(word)] = word
            else:
                struct.pack_into(">I", header, 20 + 4 * index, word)
        pdu = bytes(header)
        if self._is_full and self.header_digest:
            pdu += crc32c(header)
        if data:
            pdu += _padded(data)
            if self._is_full and self.data_digest:
                pdu += crc32c(_padded(data))
        return pdu

    def send(self, pdu):
        try:
            self.socket.sendall(pdu)
        except (ConnectionError, BrokenPipeError) as error:
            raise ConnectionEnded(str(error)) from None

    def _receive(self, size):
        data = bytearray()
        while len(data) < size:
            try:
                more = self.socket.recv(size - len(data))
            except ConnectionError as error:
                raise ConnectionEnded(str(error)) from None
            if not more:
                raise ConnectionEnded("closed by the target")
            data += more
        return bytes(data)

    def receive(self):
        """The next PDU; its digests are checked."""
        header = self._receive(48)
        if self._is_full and self.header_digest:
            assert self._receive(4) == crc32c(header), "header digest"
        length = int.from_bytes(header[5:8], "big")
        data = self._receive(length + -length % 4)
        if data and self._is_full and self.data_digest:
            assert self._receive(4) == crc32c(data), "data digest"
        pdu = Pdu(header, data[:length])
        if pdu.opcode != R2T and (pdu.opcode != DATA_IN or header[1] & 1):
            self._exp_stat_sn = pdu.word(24) + 1
        return pdu

    # -- phases

    def _login_pdu(self, stage, next_stage, keys):
        text = b"".join(f"{key}={value}".encode() + b"\0" for key, value in keys)
        return self.encode(LOGIN | _IMMEDIATE, 0x80 | stage << 2 | next_stage, data=text, tag=1,
                           lun=bytes([0x80, 0]) + self.isid.to_bytes(4, "big") + bytes(2),
                           words=(0, self._cmd_sn, self._exp_stat_sn))

    def login(self, discovery=False):
        """Into full feature phase; (status class, detail) if the target refuses."""
        names = [("InitiatorName", "iqn.2024-05.io.lunar.test:raw"), ("AuthMethod", "None"),
                 ("SessionType", "Discovery" if discovery else "Normal")]
        if not discovery:
            names.append(("TargetName", self.target.iqn))
        self.send(self._login_pdu(0, 1, names))
        refused = self._login_status()
        if refused:
            return refused
        digest = {True: "CRC32C", False: "None"}
        self.send(self._login_pdu(1, 3, [
            ("HeaderDigest", digest[self.header_digest]), ("DataDigest", digest[self.data_digest]),
            ("InitialR2T", "Yes"), ("ImmediateData", "Yes"),
            ("MaxRecvDataSegmentLength", self.max_receive)]))
        refused = self._login_status()
        self._is_full = not refused and not discovery
        return refused

    def _login_status(self):
        header = self.receive().header
        return (header[36], header[37]) if header[36] else None

    def send_targets(self):
        self.send(self.encode(TEXT, lun=bytes(8), data=b"SendTargets=All\0",
                              words=(_RESERVED, self._cmd_sn, self._exp_stat_sn)))
        self._cmd_sn += 1
        return self.receive().data.rstrip(b"\0").split(b"\0")

    def logout(self):
        """True if the target answers and then closes."""
        self.send(self.encode(LOGOUT | _IMMEDIATE, lun=bytes(8), words=(0, self._cmd_sn, self._exp_stat_sn)))
        while self.receive().opcode != LOGOUT_RESPONSE:
            pass
        try:
            self.receive()
        except ConnectionEnded:
            return True
        return False

    # -- commands

    def command_pdu(self, cdb, read_bytes=0, write_bytes=0, data=b"", attribute=SIMPLE, **changes):
        flags = _FINAL | (0x40 if read_bytes else 0) | (0x20 if write_bytes else 0) | attribute
        pdu = self.encode(COMMAND, flags, data=data,
                          words=(read_bytes or write_bytes, self._cmd_sn, self._exp_stat_sn,
                                 cdb + bytes(16 - len(cdb))), **changes)
        self._cmd_sn += 1
        return pdu

    def skip_command_number(self):
        """The next command is not that which the target is waiting for."""
        self._cmd_sn += 1

    def read_pdu(self, lba, blocks, **changes):
        return self.command_pdu(struct.pack(">BBIBHB", 0x28, 0, lba, 0, blocks, 0), read_bytes=blocks * 512,
                                **changes)

    def write_pdu(self, lba, blocks, immediate=b"", **changes):
        return self.command_pdu(struct.pack(">BBIBHB", 0x2a, 0, lba, 0, blocks, 0), write_bytes=blocks * 512,
                                data=immediate, **changes)

    def data_out_pdu(self, tag, transfer_tag, number, offset, data, is_last):
        return self.encode(DATA_OUT, _FINAL if is_last else 0, tag=tag, data=data,
                           words=(transfer_tag, 0, self._exp_stat_sn, 0, number, offset))

    def read(self, lba, blocks):
        """The data of a READ(10) that succeeds."""
        self.send(self.read_pdu(lba, blocks))
        return self.read_answer(blocks)

    def read_answer(self, blocks):
        data = bytearray(blocks * 512)
        while True:
            pdu = self.receive()
            if pdu.opcode == DATA_IN:
                offset = pdu.word(40)
                data[offset:offset + len(pdu.data)] = pdu.data
                if pdu.header[1] & 1:
                    assert pdu.header[3] == 0, pdu.header
                    return bytes(data)
            else:
                assert pdu.opcode == NOP_IN, pdu.header

    def write(self, lba, data, immediate=4096, piece=8192):
        """A WRITE(10) that succeeds: some immediate data, the rest as the target asks for it."""
        self.send(self.write_pdu(lba, len(data) // 512, data[:immediate]))
        tag = self.last_tag
        while True:
            pdu = self.receive()
            if pdu.opcode == RESPONSE:
                assert pdu.header[3] == 0, pdu.header
                return
            assert pdu.opcode == R2T, pdu.header
            begin, length = pdu.word(40), pdu.word(44)
            for number, offset in enumerate(range(begin, begin + length, piece)):
                end = min(offset + piece, begin + length)
                self.send(self.data_out_pdu(tag, pdu.word(20), number, offset, data[offset:end],
                                            end == begin + length))

    def run(self, cdb, read_bytes=0, data=b"", **changes):
        """The Answer to a command: `read_bytes` is what it may send, `data` what it is sent."""
        self.send(self.command_pdu(cdb, read_bytes=read_bytes, write_bytes=len(data), data=data, **changes))
        return self.answer()

    def answer(self):
        """To the command that is answered next."""
        sent = bytearray()
        while True:
            pdu = self.receive()
            if pdu.opcode == DATA_IN:
                offset = pdu.word(40)
                sent += bytes(max(0, offset + len(pdu.data) - len(sent)))
                sent[offset:offset + len(pdu.data)] = pdu.data
                if pdu.header[1] & 1:
                    return Answer(pdu, bytes(sent), b"")
            elif pdu.opcode == RESPONSE:
                return Answer(pdu, bytes(sent), pdu.data[2:])
            else:
                assert pdu.opcode == NOP_IN, pdu.header

    def task_management_pdu(self, function, tag=_RESERVED, lun=1):
        return self.encode(TASK_MANAGEMENT | _IMMEDIATE, _FINAL | function, lun=lun,
                           words=(tag, self._cmd_sn, self._exp_stat_sn))

    def task_management(self, function, tag=_RESERVED, lun=1):
        """The response code to a request about the command `tag`, or about the LUN."""
        self.send(self.task_management_pdu(function, tag, lun))
        while True:
            pdu = self.receive()
            if pdu.opcode == TASK_MANAGEMENT_RESPONSE:
                return pdu.header[2]
            assert pdu.opcode in (RESPONSE, DATA_IN, NOP_IN), pdu.header

    def ping(self, data=b"ping"):
        """A NOP-OUT; what comes back."""
        self.send(self.encode(NOP_OUT | _IMMEDIATE, lun=bytes(8), data=data,
                              words=(_RESERVED, self._cmd_sn, self._exp_stat_sn)))
        return self.receive().data
