# SPDX-License-Identifier: LGPL-2.1-or-later
"""A peer that speaks the messenger's protocol by hand (docs/protocol.md, docs/protocol-osd.md), to say what no client
of ours would say. Blocking, one link, standard library only."""

import hashlib
import hmac
import os
import socket
import struct
import time

HELLO, CHALLENGE, PROOF, AUTH_DONE, SESSION_NEW, SESSION_RECONNECT, READY = 1, 2, 3, 4, 5, 6, 7
RETRY, HANDSHAKE_ERROR = 9, 10
MESSAGE, VOID, ACK, KEEPALIVE, KEEPALIVE_ACK, CLOSE = 16, 17, 18, 19, 20, 21
OSD_OP, OSD_OP_REPLY, SERVER_HELLO, MAP_SUBSCRIBE, COMMAND, COMMAND_REPLY = 1, 2, 5, 16, 20, 21
READ, LIST, WRITE = 1, 6, 16

_HEADER = struct.Struct("<IBBBBHHIIIQQQQII")
_MAGIC = 0x31524e4c


def _crc_table():
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82f63b78 if value & 1 else 0)
        table.append(value)
    return table


_TABLE = _crc_table()


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xff]
    return crc ^ 0xffffffff


def frame(tag, front=b"", data_length=0, seq=0, ack=0, tid=0, message_type=0, front_length=None):
    """A frame without its data. `front_length` lies about the front."""
    length = len(front) if front_length is None else front_length
    start = _HEADER.pack(_MAGIC, tag, 0, 127, 0, message_type, 0, length, data_length, 0, seq, ack, tid, 0, 0, 0)[:-4]
    return start + struct.pack("<I", crc32c(start + front)) + front


def _string(text):
    data = text.encode()
    return struct.pack("<I", len(data)) + data


class WireError(Exception):
    """The server ended the link, or refused; the text is what it said."""


class Peer:
    """One link to a server; handshake() makes it a session. `source` is the address that it comes from."""

    def __init__(self, port, entity="client.admin", instance=None, nonce=None, source=None, timeout=10,
                 receive_buffer=None):
        self.entity = entity
        self.instance = instance or f"wire-{os.getpid()}-{time.monotonic_ns()}"
        self.nonce = nonce or time.time_ns()
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.socket.settimeout(timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.socket.bind((source, 0))
        self.socket.connect(("127.0.0.1", port))
        self.seq = 0       # of our messages
        self.in_seq = 0    # of the server's
        self.tid = 0
        self.generation = 0
        self._transcript = hashlib.sha256()

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # -- frames

    def _receive(self, size):
        parts = bytearray()
        while len(parts) < size:
            more = self.socket.recv(min(size - len(parts), 1 << 20))
            if not more:
                raise WireError("the server closed the link")
            parts += more
        return bytes(parts)

    def read_frame(self):
        """(tag, message type, tid, front, data)."""
        fields = _HEADER.unpack(self._receive(_HEADER.size))
        tag, message_type, front_length, data_length, seq, tid = (fields[i] for i in (1, 5, 7, 8, 10, 12))
        front = self._receive(front_length)
        data = self._receive(data_length)
        if seq:
            self.in_seq = seq
        return tag, message_type, tid, front, data

    def send(self, tag, front=b"", **fields):
        self.socket.sendall(frame(tag, front, **fields))

    def _said(self, tag, front):
        self._transcript.update(struct.pack("<BI", tag, len(front)) + front)

    # -- handshake

    def hello(self, auth=False):
        front = (b"LUNARMSG" + struct.pack("<HHQQB", 1, 1, 0x211, 0x11, auth) + _string(self.entity) +
                 _string(self.instance) + struct.pack("<Q", self.nonce) + bytes(19))
        self._said(HELLO, front)
        self.send(HELLO, front)

    def _expect(self, tag):
        got, _, _, front, _ = self.read_frame()
        if got == HANDSHAKE_ERROR:
            raise WireError(front[8:].decode(errors="replace"))
        if got != tag:
            raise WireError(f"frame {got} instead of {tag}")
        self._said(tag, front)
        return front

    def prove(self, key):
        """Answers the challenge that follows the server's hello, with the own key of the entity."""
        extracted = hmac.new(bytes(32), key, "sha256").digest()
        key = hmac.new(extracted, b"lunar msgr 1 key for " + self.server + b"\x01", "sha256").digest()
        self._expect(CHALLENGE)
        random = os.urandom(32)
        proof = hmac.new(key, b"lunar msgr 1 client proof" + self._transcript.digest() + random, "sha256").digest()
        self._said(PROOF, random + proof)
        self.send(PROOF, random + proof)
        self._expect(AUTH_DONE)

    def handshake(self, key=None, generation=0, pause=0):
        self.hello(auth=key is not None)
        front = self._expect(HELLO)
        (length,) = struct.unpack_from("<I", front, 29)
        self.server = front[33:33 + length]
        time.sleep(pause)  # a peer that is slow, or far away
        if key is not None:
            self.prove(key)
        self.send(SESSION_NEW, os.urandom(16) + bytes(16) + struct.pack("<QQB", generation, 0, 0))
        front = self._expect(READY)
        (self.generation,) = struct.unpack_from("<Q", front, 16)
        return self

    # -- messages

    def message(self, message_type, front=b"", data_length=0, tid=0):
        """The frame of the next message, to be sent, without its data."""
        self.seq += 1
        return frame(MESSAGE, front, data_length=data_length, seq=self.seq, ack=self.in_seq, tid=tid,
                     message_type=message_type)

    def op(self, target, step, offset, length, data_length=0, epoch=None, tid=None):
        """The frame of an op of one step, READ or WRITE. `target` is that of find_target()."""
        if tid is None:
            self.tid += 1
            tid = self.tid
        front = struct.pack("<QQIHHQQIQ", tid, tid, 1, 0, 1, epoch or target["epoch"], target["pool"], target["seed"],
                            0 if step == READ else 7)
        front += _string(target["object"]) + struct.pack("<HHQ", step, 0, offset)
        front += struct.pack("<Q", length) if step == READ else struct.pack("<I", data_length)
        return self.message(OSD_OP, front, data_length, tid)

    def list(self, target, length):
        """The frame of a LIST of all names of the target's PG."""
        self.tid += 1
        front = struct.pack("<QQIHHQQIQ", self.tid, self.tid, 1, 0, 1, target["epoch"], target["pool"],
                            target["seed"], 0)
        front += _string("") + struct.pack("<HHQ", LIST, 0, length) + _string("")
        return self.message(OSD_OP, front, 0, self.tid)

    def write(self, target, data, offset=0, **options):
        self.socket.sendall(self.op(target, WRITE, offset, 0, len(data), **options) + data)

    def read(self, target, length, offset=0, **options):
        self.socket.sendall(self.op(target, READ, offset, length, **options))

    def wait_for(self, message_type):
        """(tid, front, data) of the next message of that type; keepalives are answered meanwhile."""
        while True:
            tag, got, tid, front, data = self.read_frame()
            if tag == KEEPALIVE:
                self.send(KEEPALIVE_ACK, front + bytes(16), ack=self.in_seq)
            elif tag == MESSAGE and got == message_type:
                return tid, front, data
            elif tag == CLOSE:
                raise WireError("the server closed the session")

    def reply(self):
        """(tid, error number) of the next reply to an op."""
        tid, front, _ = self.wait_for(OSD_OP_REPLY)
        (error,) = struct.unpack_from("<i", front, 12)
        return tid, error


def find_target(cluster, osd, pool="rbd"):
    """An object of the pool that `osd` serves, and what an op has to say of it."""
    pools = {each["name"]: each["id"] for each in cluster.lunar_json("map", "dump")["pools"]}
    for number in range(1000):
        name = f"wire.{number}"
        found = cluster.lunar_json("osd", "map", pool, name)
        if found["osd"] == osd:
            return {"object": name, "pool": pools[pool], "seed": int(found["pgid"].split(".")[1], 16),
                    "epoch": found["epoch"]}
    raise WireError(f"no object of 1000 is on osd.{osd}")
