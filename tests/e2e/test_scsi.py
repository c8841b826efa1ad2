#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a LUN says is true: readiness, provisioning, reservations, what an administrator has set."""

import signal
import struct
import time
import unittest

from lunar_e2e import LunarTestCase, TgtadmError, wait_until
from lunar_e2e.raw_initiator import RawInitiator

MIB = 1 << 20
NOT_READY, HARDWARE_ERROR, ILLEGAL_REQUEST, UNIT_ATTENTION, MISCOMPARE, ABORTED_COMMAND = 2, 4, 5, 6, 0xe, 0xb
RESERVATION_CONFLICT, TASK_ABORTED = 0x18, 0x40
ABORT_TASK, DOES_NOT_EXIST = 1, 1  # the latter is tgt's answer when a command has ended as asked
COMPARE_AND_WRITE = 0x89
FORMAT_UNIT, MODE_SELECT_6, MODE_SENSE_6, RESERVE_6, READ_10, VERIFY_10 = 0x04, 0x15, 0x1a, 0x16, 0x28, 0x2f
PERSISTENT_RESERVE_IN, PERSISTENT_RESERVE_OUT, GET_LBA_STATUS = 0x5e, 0x5f, 0x9e
REGISTER, RESERVE, RELEASE, PREEMPT_AND_ABORT, REGISTER_AND_MOVE = 0, 1, 2, 5, 7
EXCLUSIVE, EXCLUSIVE_OF_REGISTRANTS, EXCLUSIVE_OF_ALL_REGISTRANTS = 3, 6, 8
RELEASED = (UNIT_ATTENTION, 0x2a04)


class ScsiCase(LunarTestCase):
    store, options = "mem", {}

    def setUp(self):
        super().setUp()
        self.start_lunar(num_osds=1, store=self.store, options=self.options)
        self.lun = self.new_lun(size="64M")

    def logged_in(self, isid=0x1234, lun=None):
        initiator = RawInitiator(self.target, isid=isid)
        self.addCleanup(initiator.socket.close)
        self.assertIsNone(initiator.login())
        while initiator.run(bytes(6), lun=lun or self.lun.number).sense in ((6, 0x2900), (6, 0x3f0e)):
            pass
        return initiator

    @staticmethod
    def read_10(initiator, lba=0, fua=False):
        return initiator.run(struct.pack(">BBIBHB", READ_10, 8 if fua else 0, lba, 0, 1, 0), read_bytes=512)

    @staticmethod
    def get_lba_status(initiator, lba=0):
        return initiator.run(struct.pack(">BBQIH", GET_LBA_STATUS, 0x12, lba, 256, 0), read_bytes=256)


class ReadinessTest(ScsiCase):
    store, options = "file", {"objecter_op_timeout": "1s"}

    def test_fenced_until_it_is_let_in_again(self):
        initiator = self.logged_in()
        (who,) = self.cluster.lunar_json("info", "rbd/image")["registrations"]
        self.cluster.lunar("osd", "fence", who["entity"], who["instance"], who["nonce"])
        self.assertEqual(self.read_10(initiator).sense, (NOT_READY, 0x0403))
        self.assertEqual(initiator.run(bytes(6)).sense, (NOT_READY, 0x0403))
        self.cluster.lunar("osd", "unfence", who["entity"], who["instance"])
        wait_until(lambda: initiator.run(bytes(6)).status == 0, 30, "the LUN to be ready")
        self.assertEqual(self.read_10(initiator).status, 0)

    def test_without_servers_until_they_are_back(self):
        initiator = self.logged_in()
        self.assertEqual(self.read_10(initiator).status, 0)
        self.cluster.kill_osd(0)
        self.assertEqual(self.read_10(initiator).sense, (ABORTED_COMMAND, 0))
        started = time.monotonic()
        for _ in range(3):
            self.assertEqual(initiator.run(bytes(6)).sense, (NOT_READY, 0x0400))
        self.assertLess(time.monotonic() - started, 0.5)
        self.cluster.start_osd(0)
        wait_until(lambda: initiator.run(bytes(6)).status == 0, 30, "the LUN to be ready")
        self.assertEqual(self.read_10(initiator).status, 0)

    def test_a_server_that_hangs_in_what_must_not_be_repeated(self):
        initiator = self.logged_in()
        server = self.cluster.osds[0]
        server.send(signal.SIGSTOP)
        try:
            answer = initiator.run(struct.pack(">BBQ3xBBB", COMPARE_AND_WRITE, 0, 0, 1, 0, 0), data=bytes(1024))
            self.assertEqual(answer.sense, (HARDWARE_ERROR, 0x4400))
            self.assertEqual(initiator.run(bytes(6)).sense, (NOT_READY, 0x0400))
        finally:
            server.send(signal.SIGCONT)
        wait_until(lambda: initiator.run(bytes(6)).status == 0, 30, "the LUN to be ready")

    def test_offline_is_said_alike_by_all_commands(self):
        initiator = self.logged_in()
        for removable, sense in ((0, 0x0401), (1, 0x3a00)):
            self.lun.update(removable=removable, online=0)
            self.assertEqual(initiator.run(bytes(6)).sense, (NOT_READY, sense))
            self.assertEqual(self.read_10(initiator).sense, (NOT_READY, sense))
            self.lun.update(online=1)
            self.assertEqual(self.read_10(initiator).status, 0)


class MediumTest(ScsiCase):
    def test_fully_provisioned(self):
        self.lun.update(thin_provisioning=0)
        answer = self.command(self.lun.url, "writesame", lba=0, blocks=8, pattern="zero", unmap_bit=True)
        self.assert_sense(answer, ILLEGAL_REQUEST, 0x24)
        self.assert_good(self.command(self.lun.url, "writesame", lba=0, blocks=8, pattern="zero"))
        extents = self.command(self.lun.url, "get-lba-status", lba=100)["extents"]
        self.assertEqual(extents, [{"lba": 100, "blocks": 64 * MIB // 512 - 100, "state": "mapped"}])
        self.assert_sense(self.command(self.lun.url, "unmap", lba=0, blocks=8), ILLEGAL_REQUEST, 0x20)

    def test_a_part_of_a_block_is_not_written(self):
        initiator = self.logged_in()
        initiator.send(initiator.command_pdu(struct.pack(">BBIBHB", 0x2a, 0, 0, 0, 2, 0), write_bytes=700,
                                             data=b"\xaa" * 700))
        self.assertEqual(initiator.answer().status, 0)
        self.assertEqual(initiator.read(0, 2), b"\xaa" * 512 + bytes(512))

    def test_verify_names_the_block_that_differs(self):
        self.assert_good(self.command(self.lun.url, "write", lba=42, blocks=1, pattern="7"))
        answer = self.command(self.lun.url, "verify", lba=40, blocks=4, pattern="zero")
        self.assert_sense(answer, MISCOMPARE, 0x1d)
        self.assertEqual(answer["sense"]["information"], 42)

    def test_what_is_read_with_fua_is_durable(self):
        def flushes():
            return self.cluster.gateway_command("perf", "dump")["gateway"]["flush"]
        initiator = self.logged_in()
        initiator.write(0, b"\x55" * 512)
        before = flushes()
        self.assertEqual(self.read_10(initiator).data, b"\x55" * 512)
        self.assertEqual(flushes(), before)
        self.assertEqual(self.read_10(initiator, fua=True).data, b"\x55" * 512)
        self.assertEqual(flushes(), before + 1)

    def test_format_unit_is_not_pretended(self):
        answer = self.logged_in().run(struct.pack(">6B", FORMAT_UNIT, 0, 0, 0, 0, 0))
        self.assertEqual(answer.sense, (ILLEGAL_REQUEST, 0x2000))

    def test_block_sizes_that_no_initiator_expects(self):
        self.cluster.create_image("rbd/other", "64M")
        for size in (256, 8192):
            with self.assertRaises(TgtadmError) as caught:
                self.export("rbd/other", blocksize=size)
            self.assertIn(f"block size {size} is not supported", caught.exception.log)

    def test_large_transfers(self):
        blocks = 32 * MIB // 512
        source = self.folder / "source"
        source.write_bytes(bytes(range(256)) * (32 * MIB // 256))
        limits = self.command(self.lun.url, "vpd", "0xb0")
        self.assertEqual(limits["max_transfer"], blocks)
        for words in (("write",), ("verify",)):
            self.assert_good(self.command(self.lun.url, *words, lba=3, blocks=blocks, **{"in": source}))
        back = self.folder / "back"
        self.assert_good(self.command(self.lun.url, "read", lba=3, blocks=blocks, out=back))
        self.assertEqual(back.read_bytes(), source.read_bytes())
        last = 3 + blocks - 1
        self.assert_good(self.command(self.lun.url, "write", lba=last, blocks=1, pattern="7"))
        answer = self.command(self.lun.url, "verify", lba=3, blocks=blocks, **{"in": source})
        self.assert_sense(answer, MISCOMPARE, 0x1d)
        self.assertEqual(answer["sense"]["information"], last)
        self.assert_sense(self.command(self.lun.url, "read", lba=0, blocks=blocks + 1), ILLEGAL_REQUEST, 0x24)

    def test_objects_above_what_one_op_carries(self):
        self.cluster.create_image("rbd/large", "64M", object_size="32M")
        large = self.export("rbd/large")
        blocks = self.command(large.url, "vpd", "0xb0")["max_transfer"]
        self.assertEqual(blocks, 16 * MIB // 512)
        self.assert_good(self.command(large.url, "write", lba=0, blocks=blocks, pattern="9"))
        self.assert_good(self.command(large.url, "read", lba=0, blocks=blocks))


class AbortTest(ScsiCase):
    options = {"objecter_op_timeout": "1h"}

    def test_what_asks_for_allocation_ends_when_it_is_aborted(self):
        initiator = self.logged_in()
        self.assertEqual(self.read_10(initiator).status, 0)
        cdbs = {"GET LBA STATUS": (struct.pack(">BBQIH", GET_LBA_STATUS, 0x12, 0, 256, 0), 256),
                "VERIFY": (struct.pack(">BBIBHB", VERIFY_10, 0, 0, 0, 8, 0), 0)}
        server = self.cluster.osds[0]
        for name, (cdb, read_bytes) in cdbs.items():
            with self.subTest(command=name):
                server.send(signal.SIGSTOP)
                try:
                    initiator.send(initiator.command_pdu(cdb, read_bytes=read_bytes))
                    tag = initiator.last_tag
                    self.assertEqual(initiator.ping(b"this first"), b"this first")
                    began = time.monotonic()
                    self.assertEqual(initiator.task_management(ABORT_TASK, tag), DOES_NOT_EXIST)
                    self.assertLess(time.monotonic() - began, 15)
                finally:
                    server.send(signal.SIGCONT)
                self.assertEqual(self.read_10(initiator).status, 0)


class ModePageTest(ScsiCase):
    def descriptor(self, initiator):
        answer = initiator.run(struct.pack(">6B", MODE_SENSE_6, 0, 8, 0, 255, 0), read_bytes=255)
        return struct.unpack(">II", answer.data[4:12])

    @staticmethod
    def select(initiator, data, length=None):
        return initiator.run(struct.pack(">6B", MODE_SELECT_6, 0x10, 0, 0, length or len(data), 0), data=data)

    def test_block_descriptor_is_that_of_the_disk(self):
        initiator = self.logged_in()
        ours = (64 * MIB // 512, 512)
        self.assertEqual(self.descriptor(initiator), ours)
        header = struct.pack(">4B", 0, 0, 0, 8)
        for blocks, size, sense in ((0, 512, None), (*ours, None), (0, 4096, (ILLEGAL_REQUEST, 0x2600)),
                                    (5, 512, (ILLEGAL_REQUEST, 0x2600))):
            with self.subTest(blocks=blocks, size=size):
                answer = self.select(initiator, header + struct.pack(">II", blocks, size))
                self.assertEqual((answer.status, answer.sense), (2 if sense else 0, sense))
                self.assertEqual(self.descriptor(initiator), ours)
        self.assertEqual(self.select(initiator, header).sense, (ILLEGAL_REQUEST, 0x1a00))  # is not sent
        self.assertEqual(self.descriptor(initiator), ours)

    def test_mode_pages_of_a_reserved_lun(self):
        first, second = self.logged_in(1), self.logged_in(2)
        self.assertEqual(first.run(struct.pack(">6B", RESERVE_6, 0, 0, 0, 0, 0)).status, 0)
        self.assertEqual(second.run(struct.pack(">6B", MODE_SENSE_6, 0, 8, 0, 255, 0), read_bytes=255).status,
                         RESERVATION_CONFLICT)
        self.assertEqual(self.select(second, struct.pack(">4B", 0, 0, 0, 0)).status, RESERVATION_CONFLICT)


class ReservationTest(ScsiCase):
    def setUp(self):
        super().setUp()
        self.first, self.second, self.third = (self.logged_in(isid) for isid in (1, 2, 3))
        for key, initiator in enumerate((self.first, self.second, self.third), 1):
            self.assertEqual(self.out(initiator, REGISTER, action_key=key).status, 0)

    @staticmethod
    def out(initiator, action, key=0, action_key=0, kind=0, data=None):
        data = data or struct.pack(">QQ8x", key, action_key)
        return initiator.run(struct.pack(">BBB2xI1x", PERSISTENT_RESERVE_OUT, action, kind, len(data)), data=data)

    @staticmethod
    def full_status(initiator):
        """{key: (type if it holds the reservation, TransportID)}"""
        answer = initiator.run(struct.pack(">BB5xHx", PERSISTENT_RESERVE_IN, 3, 4096), read_bytes=4096)
        length, found = struct.unpack_from(">I", answer.data, 4)[0], {}
        assert (answer.status, length) == (0, len(answer.data) - 8), answer
        at = 8
        while at < len(answer.data):
            key, flags, kind, port, more = struct.unpack_from(">Q4xBB4xHI", answer.data, at)
            assert port == 1
            found[key] = (kind if flags & 1 else None, answer.data[at + 24:at + 24 + more])
            at += 24 + more
        return found

    def test_lba_status_is_refused_as_a_read_is(self):
        self.assertEqual(self.out(self.first, RESERVE, key=1, kind=EXCLUSIVE).status, 0)
        self.assertEqual(self.read_10(self.second).status, RESERVATION_CONFLICT)
        self.assertEqual(self.get_lba_status(self.second).status, RESERVATION_CONFLICT)
        self.assertEqual(self.get_lba_status(self.first).status, 0)
        capacity = self.second.run(struct.pack(">BB8xIH", GET_LBA_STATUS, 0x10, 32, 0), read_bytes=32)
        self.assertEqual(capacity.status, 0)  # has the same op code

    def test_who_is_told_that_a_reservation_is_released(self):
        tell = {EXCLUSIVE: False, EXCLUSIVE_OF_REGISTRANTS: True, EXCLUSIVE_OF_ALL_REGISTRANTS: True}
        for kind, is_told in tell.items():
            for how in ((RELEASE, {"kind": kind}), (REGISTER, {})):
                with self.subTest(kind=kind, action=how[0]):
                    self.assertEqual(self.out(self.first, RESERVE, key=1, kind=kind).status, 0)
                    self.assertEqual(self.out(self.first, how[0], key=1, **how[1]).status, 0)
                    self.assertEqual(self.first.run(bytes(6)).status, 0)
                    is_held = how[0] == REGISTER and kind == EXCLUSIVE_OF_ALL_REGISTRANTS
                    for other, key in ((self.second, 2), (self.third, 3)):
                        self.assertEqual(other.run(bytes(6)).sense, RELEASED if is_told and not is_held else None)
                        self.assertIsNone(other.run(bytes(6)).sense)
                    if is_held:
                        self.assertEqual(self.out(self.second, RELEASE, key=2, kind=kind).status, 0)
                        self.third.run(bytes(6))
                    if how[0] == REGISTER:
                        self.assertEqual(self.out(self.first, REGISTER, action_key=1).status, 0)

    def test_preempt_and_abort_waits_for_what_is_under_way(self):
        kind = EXCLUSIVE_OF_REGISTRANTS
        self.assertEqual(self.out(self.first, RESERVE, key=1, kind=kind).status, 0)
        server = self.cluster.osds[0]
        server.send(signal.SIGSTOP)
        try:
            self.first.send(self.first.write_pdu(0, 1, b"\x01" * 512))
            self.second.send(self.second.write_pdu(1, 1, b"\x02" * 512))
            self.second.ping()
            self.assertEqual(self.out(self.second, PREEMPT_AND_ABORT, key=2, action_key=1, kind=kind).status, 0)
            self.assertEqual(self.first.answer().status, TASK_ABORTED)
        finally:
            server.send(signal.SIGCONT)
        self.assertEqual(self.second.answer().status, 0)  # its own goes on
        self.assertEqual(self.first.run(bytes(6)).sense, (UNIT_ATTENTION, 0x2a03))
        self.assertEqual(self.read_10(self.first).status, RESERVATION_CONFLICT)
        self.assertEqual({key: kind for key, (kind, _) in self.full_status(self.second).items()}, {2: kind, 3: None})
        self.assertEqual(self.out(self.second, PREEMPT_AND_ABORT, key=2, action_key=3, kind=kind).status, 0)
        self.assertEqual(list(self.full_status(self.second)), [2])

    def test_full_status_and_move(self):
        self.assertEqual(self.out(self.first, RESERVE, key=1, kind=EXCLUSIVE_OF_REGISTRANTS).status, 0)
        found = self.full_status(self.third)
        self.assertEqual({key: kind for key, (kind, _) in found.items()},
                         {1: EXCLUSIVE_OF_REGISTRANTS, 2: None, 3: None})
        transport_id = found[2][1]
        name = transport_id[4:].rstrip(b"\0").decode()
        self.assertEqual((transport_id[0], struct.unpack(">H", transport_id[2:4])[0], len(transport_id) % 4),
                         (0x45, len(transport_id) - 4, 0))
        self.assertRegex(name, "^iqn.2024-05.io.lunar.test:raw,i,0x[0-9a-f]{12}$")
        move = struct.pack(">QQ2xHI", 1, 2, 1, len(transport_id)) + transport_id
        self.assertEqual(self.out(self.first, REGISTER_AND_MOVE, data=move).status, 0)
        self.assertEqual({key: kind for key, (kind, _) in self.full_status(self.first).items()},
                         {1: None, 2: EXCLUSIVE_OF_REGISTRANTS, 3: None})
        self.assertEqual(self.out(self.first, REGISTER_AND_MOVE, data=move).status, RESERVATION_CONFLICT)
        again = struct.pack(">QQxBHI", 2, 2, 2, 1, len(transport_id)) + transport_id
        self.assertEqual(self.out(self.second, REGISTER_AND_MOVE, data=again).sense, (ILLEGAL_REQUEST, 0x2600))
        self.assertEqual(len(self.full_status(self.first)), 3)


class AdministratorTest(ScsiCase):
    def test_what_was_set_stays(self):
        self.cluster.create_image("rbd/other", "64M", object_size="1M")
        self.lun.update(scsi_sn="serial7", vendor_id="ACME", optimal_xfer_len=99, thin_provisioning=0)

        def shown():
            limits = self.command(self.lun.url, "vpd", "0xb0")
            return (self.command(self.lun.url, "vpd", "0x80")["serial"].strip(),
                    self.command(self.lun.url, "inquiry")["vendor"], limits["optimal_transfer"],
                    self.command(self.lun.url, "readcap")["thin"])
        self.assertEqual(shown(), ("serial7", "ACME", 99, False))
        self.lun.update(online=0)
        self.lun.update(path="rbd/other")
        self.assertEqual(shown(), ("serial7", "ACME", 99, False))
        self.lun.update(thin_provisioning=1)
        self.assertEqual(shown(), ("serial7", "ACME", 99, True))

    def test_another_image_has_its_own_identity(self):
        self.cluster.create_image("rbd/other", "64M", object_size="1M")
        before = self.command(self.lun.url, "vpd", "0x80")["serial"]
        initiator = self.logged_in()
        self.lun.update(online=0)
        self.lun.update(path="rbd/other")
        self.assertEqual([initiator.run(bytes(6)).sense for _ in range(2)],
                         [(UNIT_ATTENTION, 0x3f03), (UNIT_ATTENTION, 0x2a09)])
        uuid = self.cluster.lunar_json("info", "rbd/other")["uuid"].replace("-", "")
        self.assertNotEqual(self.command(self.lun.url, "vpd", "0x80")["serial"], before)
        self.assertEqual(self.command(self.lun.url, "vpd", "0x80")["serial"].strip(), uuid)
        self.assertEqual(self.command(self.lun.url, "vpd", "0xb0")["optimal_transfer"], MIB // 512)

    def test_closed_lun_has_no_capacity(self):
        initiator = self.logged_in()
        self.lun.update(online=0)
        with self.assertRaises(TgtadmError):
            self.lun.update(path="rbd/none")
        for cdb in (struct.pack(">B9x", 0x25), struct.pack(">BB8xIH", GET_LBA_STATUS, 0x10, 32, 0)):
            answer = initiator.run(cdb, read_bytes=32)
            self.assertEqual((answer.sense, answer.data), ((NOT_READY, 0x0401), b""))
        self.lun.update(path="rbd/image")
        self.assertEqual(initiator.run(struct.pack(">B9x", 0x25), read_bytes=8).data,
                         struct.pack(">II", 64 * MIB // 512 - 1, 512))

    def test_limits_agree_with_each_other(self):
        large = self.new_lun("rbd/large", "128M", object_size="32M")
        limits = self.command(large.url, "vpd", "0xb0")
        self.assertEqual((limits["optimal_transfer"], limits["max_transfer"]), (16 * MIB // 512,) * 2)


if __name__ == "__main__":
    unittest.main(verbosity=2)
