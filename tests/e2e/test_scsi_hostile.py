#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What an initiator that is logged in might do to end a tgtd, or to see what is not its own.

LUNAR_E2E_COMMANDS is how many random commands there are, LUNAR_E2E_SEED where they begin."""

import os
import random
import signal
import struct
import unittest

from lunar_e2e import LunarTestCase, TgtadmError, wait_until
from lunar_e2e.raw_initiator import (HEAD_OF_QUEUE, ORDERED, R2T, RESPONSE, SIMPLE, ConnectionEnded,
                                     RawInitiator)

RESERVATION_CONFLICT, TASK_ABORTED = 0x18, 0x40
INQUIRY, MODE_SENSE_6, MODE_SENSE_10, READ_CAPACITY, READ_10 = 0x12, 0x1a, 0x5a, 0x25, 0x28
PERSISTENT_RESERVE_IN, PERSISTENT_RESERVE_OUT = 0x5e, 0x5f
REGISTER, RESERVE, PREEMPT, REGISTER_AND_MOVE = 0, 1, 4, 7
EXCLUSIVE, EXCLUSIVE_OF_ALL_REGISTRANTS = 3, 8
ABORT_TASK, LUN_RESET = 1, 5
COMMANDS = int(os.environ.get("LUNAR_E2E_COMMANDS", "1500"))
SEED = int(os.environ.get("LUNAR_E2E_SEED", "1"))


class HostileCase(LunarTestCase):
    def setUp(self):
        super().setUp()
        # What was freed is soon something else.
        self.set_environment("MALLOC_PERTURB_", "165")
        self.set_environment("GLIBC_TUNABLES", "glibc.malloc.tcache_count=0")
        self.start_lunar(num_osds=1, store="mem")
        self.lun = self.new_lun(size="64M")

    def set_environment(self, name, value):
        before = os.environ.get(name)
        os.environ[name] = value
        self.addCleanup(lambda: os.environ.update({name: before}) if before else os.environ.pop(name))

    def logged_in(self, isid=0x1234, lun=1):
        initiator = RawInitiator(self.target, isid=isid)
        self.addCleanup(initiator.socket.close)
        self.assertIsNone(initiator.login())
        while initiator.run(bytes(6), lun=lun).sense in ((6, 0x2900), (6, 0x3f0e)):
            pass
        return initiator

    def assert_ended(self, initiator):
        with self.assertRaises(ConnectionEnded):
            while True:
                initiator.receive()

    def wait_for_end(self, initiators):
        """tgt has let go of all sessions but `initiators`."""
        wait_until(lambda: self.tgtd.tgtadm("--lld", "iscsi", "--op", "show", "--mode", "target").count("Initiator: ")
                   == initiators, 30, "the sessions to end")

    def assert_unharmed(self):
        self.assertTrue(self.tgtd.is_running(), self.tgtd.process.log_tail())
        self.assert_good(self.command(self.lun.url, "write", lba=0, pattern="1"))

    @staticmethod
    def reserve_out(initiator, action, key=0, action_key=0, kind=0, data=None):
        data = data or struct.pack(">QQ8x", key, action_key)
        return initiator.run(struct.pack(">BBB2xI1x", PERSISTENT_RESERVE_OUT, action, kind, len(data)), data=data)


class CommandTest(HostileCase):
    def test_mode_sense_without_room(self):
        for cdb in (struct.pack(">6B", MODE_SENSE_6, 0, 0x3f, 0, 0, 0),
                    struct.pack(">BB2B3xHx", MODE_SENSE_10, 0, 0x3f, 0, 0)):
            for length in (0, 1, 4):
                with self.subTest(cdb=cdb.hex(), expected=length):
                    answer = self.logged_in().run(cdb, read_bytes=length)
                    self.assertEqual((answer.status, answer.data), (0, b""))
            answer = self.logged_in().run(cdb, data=b"1234")
            self.assertEqual(answer.status, 0)
        self.assert_unharmed()

    def test_expected_length_that_wraps(self):
        for lun in (1, 0, 77):
            for length in (0x7fffffff, 0x80000000, 0xffffffff):
                with self.subTest(lun=lun, length=length):
                    initiator = self.logged_in()
                    with self.assertRaises(ConnectionEnded):
                        initiator.run(struct.pack(">3BHx", INQUIRY, 0, 0, 96), read_bytes=length, lun=lun)
                    self.assert_unharmed()

    def test_additional_header_that_lies(self):
        for ahs in (struct.pack(">HBx", 0, 1),  # an extended CDB of -1 bytes
                    struct.pack(">HBx", 0xffff, 1),
                    struct.pack(">HBxI", 5, 2, 0xffffffff)):  # 4 GiB to read, rounded up to nothing
            with self.subTest(ahs=ahs.hex()):
                initiator = self.logged_in()
                pdu = bytearray(initiator.read_pdu(0, 8192))
                pdu[1] |= 0x20  # and writes
                pdu[4] = len(ahs) // 4
                struct.pack_into(">I", pdu, 20, 0)
                with self.assertRaises(ConnectionEnded):
                    initiator.send(bytes(pdu) + ahs)
                    initiator.answer()
                self.assert_unharmed()

    def test_bidirectional_command_reads_nothing(self):
        initiator = self.logged_in()
        pdu = bytearray(initiator.read_pdu(0, 8192))
        pdu[1] |= 0x20
        pdu[4] = 2
        struct.pack_into(">I", pdu, 20, 0)
        initiator.send(bytes(pdu) + struct.pack(">HBxI", 5, 2, 8))
        self.assertEqual(initiator.answer().data, b"")
        self.assert_unharmed()

    def test_random_commands(self):
        numbers = random.Random(SEED)
        op_codes = [0x00, 0x03, 0x04, 0x08, 0x0a, 0x12, 0x15, 0x16, 0x17, 0x1a, 0x1d, 0x1e, 0x25, 0x28, 0x2a, 0x2e,
                    0x2f, 0x34, 0x35, 0x41, 0x42, 0x55, 0x5a, 0x5e, 0x5f, 0x88, 0x89, 0x8a, 0x8b, 0x8e, 0x8f, 0x90,
                    0x91, 0x93, 0x9e, 0xa0, 0xa3, 0xa8, 0xaa, 0xae, 0xaf, 0x7f]
        lengths = [0, 1, 2, 3, 4, 5, 7, 8, 12, 16, 24, 255, 511, 512, 513, 1024, 4096, 65535]
        initiators = [self.logged_in(isid) for isid in (1, 2)]
        for number in range(COMMANDS):
            cdb = bytearray(numbers.choice((numbers.randbytes(16), bytes(16))))
            cdb[0] = numbers.choice(op_codes + [numbers.randrange(256)])
            cdb[1] = numbers.choice((0, 1, numbers.randrange(32)))
            room = numbers.choice(lengths)
            place = {0: (4, 1), 1: (7, 2), 2: (7, 2), 3: (6, 4), 4: (10, 4), 5: (6, 4)}.get(cdb[0] >> 5, (4, 1))
            cdb[place[0]:sum(place)] = (room & (1 << 8 * place[1]) - 1).to_bytes(place[1], "big")
            if numbers.random() < 0.8:
                cdb[2:6] = bytes(4) if cdb[0] not in (MODE_SENSE_6, INQUIRY) else cdb[2:6]
                cdb[{0: 5, 1: 9, 2: 9, 4: 15, 5: 11}.get(cdb[0] >> 5, 15)] = 0  # control
            which = numbers.randrange(2)
            options = {"attribute": numbers.choice((SIMPLE, SIMPLE, ORDERED, HEAD_OF_QUEUE, 0, 4)),
                       "lun": numbers.choice((1, 1, 1, 0, 9))}
            if numbers.random() < 0.5:
                options["read_bytes"] = numbers.choice(lengths)
            else:
                options["data"] = numbers.choice((numbers.randbytes, bytes))(min(numbers.choice(lengths), 8192))
            try:
                initiators[which].run(bytes(cdb), **options)
            except ConnectionEnded:
                self.assertTrue(self.tgtd.is_running(), f"seed {SEED}, command {number}: {cdb.hex()} {options}")
                initiators[which] = self.logged_in(which + 1)
        self.assertTrue(self.tgtd.is_running())
        self.assertEqual(self.logged_in(3).run(struct.pack(">3BHx", INQUIRY, 0, 0, 96), read_bytes=96).status, 0)


class ReservationTest(HostileCase):
    def test_register_and_move_without_a_reservation(self):
        initiator = self.logged_in()
        self.assertEqual(self.reserve_out(initiator, REGISTER, action_key=5).status, 0)
        transport_id = struct.pack(">BxH20s", 0x45, 20, b"iqn.2024-05.io.l")
        answer = self.reserve_out(initiator, REGISTER_AND_MOVE,
                                  data=struct.pack(">QQ2xHI", 5, 5, 0, len(transport_id)) + transport_id)
        self.assertEqual(answer.sense, (5, 0x2400))
        self.assert_unharmed()

    def test_preempting_the_holder_among_all_registrants(self):
        first, second = self.logged_in(1), self.logged_in(2)
        for initiator, key in ((first, 1), (second, 2)):
            self.assertEqual(self.reserve_out(initiator, REGISTER, action_key=key).status, 0)
        kind = EXCLUSIVE_OF_ALL_REGISTRANTS
        self.assertEqual(self.reserve_out(first, RESERVE, key=1, kind=kind).status, 0)
        self.assertEqual(self.reserve_out(second, PREEMPT, key=2, action_key=1, kind=kind).status, 0)
        answer = second.run(struct.pack(">BB5xHx", PERSISTENT_RESERVE_IN, 1, 64), read_bytes=64)
        self.assertEqual(answer.data[21], kind)  # and not what memory that was freed says
        self.assertEqual(first.run(bytes(6)).sense, (6, 0x2a03))
        self.assertEqual(first.run(struct.pack(">BBIBHB", READ_10, 0, 0, 0, 1, 0), read_bytes=512).status,
                         RESERVATION_CONFLICT)
        self.assertEqual(self.reserve_out(second, REGISTER, key=2).status, 0)
        self.assertEqual(first.run(struct.pack(">BBIBHB", READ_10, 0, 0, 0, 1, 0), read_bytes=512).status, 0)


class DataOutTest(HostileCase):
    """DATA-OUT that no command waits for."""

    def setUp(self):
        super().setUp()
        self.initiator = self.logged_in()

    def write_until_asked(self, blocks=16):
        """A WRITE without data, and the R2T for all of it."""
        self.initiator.send(self.initiator.write_pdu(0, blocks))
        asked = self.initiator.receive()
        self.assertEqual((asked.opcode, asked.word(40), asked.word(44)), (R2T, 0, 512 * blocks))
        return asked

    def data_out(self, offset, data, is_last, transfer_tag=1):
        return self.initiator.data_out_pdu(self.initiator.last_tag, transfer_tag, 0, offset, data, is_last)

    def assert_refused(self):
        self.assert_ended(self.initiator)
        self.wait_for_end(0)
        self.assert_unharmed()

    def test_for_a_read(self):
        for transfer_tag in (0, 0xffffffff):
            with self.subTest(transfer_tag=transfer_tag):
                self.initiator = self.logged_in()
                self.initiator.send(self.initiator.read_pdu(0, 1) + self.data_out(0, b"", True, transfer_tag))
                self.assert_ended(self.initiator)
                self.assert_unharmed()

    def test_for_a_read_cut_short(self):
        read = self.initiator.read_pdu(0, 1)
        self.initiator.send(read + self.data_out(0, bytes(512), True)[:52])
        self.assert_refused()

    def test_for_a_write_that_is_with_scsi(self):
        write = self.initiator.write_pdu(0, 1, bytes(512))
        self.initiator.send(write + self.data_out(512, b"", True))
        self.assert_refused()

    def test_before_the_target_asks(self):
        write = self.initiator.write_pdu(0, 16)
        self.initiator.send(write + self.data_out(0, bytes(512), True))
        self.assert_refused()

    def test_commands_beyond_the_window(self):
        """tgt keeps what comes too early, and looks through all of it for each more."""
        with self.subTest("a number that came already"):
            self.initiator.skip_command_number()
            early = self.initiator.read_pdu(0, 1)
            self.initiator.send(early * 2)
            self.assert_refused()
        with self.subTest("more of them than were asked for"):
            self.initiator = self.logged_in()
            self.initiator.skip_command_number()
            with self.assertRaises((ConnectionEnded, OSError)):
                for _ in range(4):
                    self.initiator.send(b"".join(self.initiator.read_pdu(0, 1) for _ in range(100)))
                self.initiator.receive()
            self.wait_for_end(0)
            self.assert_unharmed()

    def test_before_the_command_has_its_turn(self):
        self.initiator.skip_command_number()
        write = self.initiator.write_pdu(0, 16)
        self.initiator.send(write + self.data_out(0, bytes(512), True))
        self.assert_refused()

    def test_cut_short_before_the_command_has_its_turn(self):
        self.initiator.skip_command_number()
        write = self.initiator.write_pdu(0, 16)
        self.initiator.send(write + self.data_out(0, bytes(512), True)[:52])
        self.initiator.reset()
        self.wait_for_end(0)
        self.assert_unharmed()

    def test_cut_short_and_awaited(self):
        self.write_until_asked()
        self.initiator.send(self.data_out(0, bytes(8192), True)[:4096])
        self.initiator.reset()
        self.wait_for_end(0)
        self.assert_unharmed()

    def test_twice_in_one_segment(self):
        self.write_until_asked()
        self.initiator.send(self.data_out(0, bytes(4096), True) + self.data_out(4096, bytes(512), True))
        self.assert_refused()

    def test_that_leaves_out_or_repeats_some_of_the_data(self):
        for pieces in (((0, 4096), (0, 4096)), ((4096, 4096),), ((0, 512), (1024, 7168)), ((0, 8704),)):
            with self.subTest(pieces=pieces):
                self.initiator = self.logged_in()
                self.write_until_asked()
                with self.assertRaises(ConnectionEnded):
                    for offset, length in pieces:
                        self.initiator.send(self.data_out(offset, bytes(length), offset + length >= 8192))
                    while True:
                        self.initiator.receive()
                self.assert_unharmed()

    def test_that_is_awaited(self):
        data = random.Random(SEED).randbytes(8192)
        self.write_until_asked()
        self.initiator.send(self.data_out(0, data[:512], False) + self.data_out(512, data[512:4096], True))
        asked = self.initiator.receive()  # for the rest, as tgt does when less comes than it has asked for
        self.assertEqual((asked.opcode, asked.word(40), asked.word(44)), (R2T, 4096, 4096))
        self.initiator.send(self.data_out(4096, data[4096:], False) + self.data_out(8192, b"", True))
        answer = self.initiator.receive()
        self.assertEqual((answer.opcode, answer.header[3]), (RESPONSE, 0))
        self.assertEqual(self.initiator.read(0, 16), data)


class QueueTest(HostileCase):
    """Commands that wait behind an ordered one, which the server does not answer."""

    def setUp(self):
        super().setUp()
        self.initiator = self.logged_in()
        self.server = self.cluster.osds[0]
        self.server.send(signal.SIGSTOP)
        self.addCleanup(self.server.send, signal.SIGCONT)
        self.initiator.send(self.initiator.write_pdu(0, 1, bytes(512), attribute=ORDERED))
        self.ordered = self.initiator.last_tag

    def test_one_of_them_is_aborted(self):
        self.initiator.send(self.initiator.write_pdu(1, 1, bytes(512)))
        waiting = self.initiator.last_tag
        self.initiator.send(self.initiator.write_pdu(2, 1, bytes(512)))
        behind = self.initiator.last_tag
        self.assertEqual(self.initiator.task_management(ABORT_TASK, waiting), 0)
        self.server.send(signal.SIGCONT)
        answers = [self.initiator.answer() for _ in range(2)]
        self.assertEqual([(each.tag, each.status) for each in answers if each.tag != waiting],
                         [(self.ordered, 0), (behind, 0)])
        self.assert_unharmed()

    def test_the_lun_is_reset_by_another_after_their_connection_is_lost(self):
        for lba in range(1, 6):
            self.initiator.send(self.initiator.write_pdu(lba, 1, bytes(512)))
        self.initiator.ping()
        self.initiator.reset()
        wait_until(lambda: self.cluster.gateway_command("perf", "dump")["iscsi_tcp"]["connections"] == 0, 30,
                   "the connection to be closed")
        other = RawInitiator(self.target, isid=9)
        self.addCleanup(other.socket.close)
        self.assertIsNone(other.login())
        self.assertEqual(other.task_management(LUN_RESET), 0)
        self.server.send(signal.SIGCONT)
        wait_until(lambda: not self.cluster.gateway_command("ops in flight")["ops"], 30, "the write to end")
        self.assert_unharmed()

    def test_the_lun_is_reset_by_whom_they_wait_for_after_their_connection_is_lost(self):
        lost = RawInitiator(self.target, isid=9)
        self.addCleanup(lost.socket.close)
        self.assertIsNone(lost.login())
        for lba in range(1, 6):
            lost.send(lost.write_pdu(lba, 1, bytes(512)))
        lost.ping()
        lost.reset()
        wait_until(lambda: self.cluster.gateway_command("perf", "dump")["iscsi_tcp"]["connections"] == 1, 30,
                   "the connection to be closed")
        self.initiator.send(self.initiator.task_management_pdu(LUN_RESET))
        self.wait_for_end(1)
        self.server.send(signal.SIGCONT)
        self.assert_unharmed()

    def test_their_connection_is_lost(self):
        for _ in range(8):
            self.initiator.send(self.initiator.command_pdu(struct.pack(">3BHx", INQUIRY, 0, 0, 96), read_bytes=96))
        self.initiator.ping()
        self.initiator.reset()
        wait_until(lambda: self.cluster.gateway_command("perf", "dump")["iscsi_tcp"]["connections"] == 0, 30,
                   "the connection to be closed")
        self.server.send(signal.SIGCONT)
        wait_until(lambda: not self.cluster.gateway_command("ops in flight")["ops"], 30, "the write to end")
        self.assert_unharmed()


class DisclosureTest(HostileCase):
    def test_nothing_is_sent_of_what_others_have_read_and_written(self):
        initiator = self.logged_in()
        initiator.write(0, b"\xa5" * 65536)
        for lun in (1, 0):
            for cdb in (bytes(6), struct.pack(">BBIBHB", READ_10, 0, 0, 0, 128, 0)):
                with self.subTest(lun=lun, op_code=cdb[0]):
                    answer = initiator.run(cdb, read_bytes=65536, lun=lun)
                    if (lun, cdb[0]) != (1, READ_10):
                        self.assertEqual((len(answer.data), answer.residual), (0, 65536), answer)
        for length in (1, 4, 7, 8):
            with self.subTest(capacity=length):
                initiator.write(0, b"\xa5" * 65536)
                answer = initiator.run(struct.pack(">B9x", READ_CAPACITY), read_bytes=length)
                self.assertEqual(answer.data, struct.pack(">II", (64 << 20) // 512 - 1, 512)[:length])
        holder = self.logged_in(7)
        self.reserve_out(holder, REGISTER, action_key=1)
        self.assertEqual(self.reserve_out(holder, RESERVE, key=1, kind=EXCLUSIVE).status, 0)
        answer = initiator.run(struct.pack(">BBIBHB", READ_10, 0, 0, 0, 128, 0), read_bytes=65536)
        self.assertEqual((answer.status, len(answer.data)), (RESERVATION_CONFLICT, 0))


class AdministratorTest(HostileCase):
    def test_lun_that_is_no_disk(self):
        for kind in ("osd", "tape", "cd", "changer"):
            with self.subTest(device_type=kind):
                with self.assertRaises(TgtadmError) as caught:
                    self.target.add_lun("lunar", "rbd/image", **{"device-type": kind})
                if kind == "osd":  # for the others tgt takes a store of its own
                    self.assertIn("--bstype lunar is for disks", caught.exception.log)
        self.assert_unharmed()


if __name__ == "__main__":
    unittest.main(verbosity=2)
