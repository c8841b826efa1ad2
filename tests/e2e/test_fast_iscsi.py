#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""tgtd's iSCSI/TCP driven by the plugin (lunar_fast_iscsi): everything that an initiator may do to it.

LUNAR_E2E_LOGINS is how many sessions log in and out.
"""

import os
import pathlib
import random
import socket
import time
import unittest

from lunar_e2e import LunarTestCase, own_descriptors, wait_until
from lunar_e2e.raw_initiator import (NOP_IN, R2T, RESPONSE, TASK_MANAGEMENT, TASK_MANAGEMENT_RESPONSE,
                                     ConnectionEnded, RawInitiator)

MIB = 1 << 20
LOGINS = int(os.environ.get("LUNAR_E2E_LOGINS", "200"))
IMMEDIATE = 0x40


class FastIscsiCase(LunarTestCase):
    options = {}

    def setUp(self):
        super().setUp()
        self.start_lunar(num_osds=1, store="mem", options=self.options)
        self.lun = self.new_lun(size="64M")
        for name in ("HeaderDigest", "DataDigest"):  # tgt refuses them unless told otherwise
            self.set_target(name, "CRC32C")

    def set_target(self, name, value):
        self.tgtd.tgtadm("--lld", "iscsi", "--mode", "target", "--op", "update", "--tid", 1, "--name", name,
                         "--value", value)

    def counters(self):
        return self.cluster.gateway_command("perf", "dump")["iscsi_tcp"]

    def raw(self, target=None, **options):
        initiator = RawInitiator(target or self.target, **options)
        self.addCleanup(initiator.socket.close)
        return initiator

    def logged_in(self, **options):
        initiator = self.raw(**options)
        self.assertIsNone(initiator.login())
        self.swallow_unit_attention(initiator)
        return initiator

    @staticmethod
    def swallow_unit_attention(initiator):
        """The first commands of a nexus are told what has changed."""
        while True:
            initiator.send(initiator.command_pdu(bytes(6)))  # TEST UNIT READY
            if initiator.receive().header[3] == 0:
                return

    def proc(self, name):
        return pathlib.Path(f"/proc/{self.tgtd.process.pid}/{name}")

    def resident_bytes(self):
        (line,) = [line for line in self.proc("status").read_text().splitlines() if line.startswith("VmRSS")]
        return int(line.split()[1]) * 1024

    def cpu_seconds(self):
        """Of the thread that is tgtd's loop; others, as lttng-ust's, do what they like."""
        fields = self.proc(f"task/{self.tgtd.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def num_descriptors(self):
        return own_descriptors(self.tgtd.process.pid).total()

    def wait_for_connections(self, number):
        wait_until(lambda: self.counters()["connections"] == number, 30, f"{number} connections")

    def check_digests(self, num_bytes=96 << 10):
        data = random.Random(1).randbytes(num_bytes)
        for header_digest in (False, True):
            for data_digest in (False, True):
                with self.subTest(header_digest=header_digest, data_digest=data_digest):
                    initiator = self.logged_in(header_digest=header_digest, data_digest=data_digest)
                    initiator.write(8, data)
                    self.assertEqual(initiator.read(8, len(data) // 512), data)
                    self.assertEqual(initiator.ping(b"odd"), b"odd")
                    self.assertTrue(initiator.logout())
                    initiator.socket.close()

    def check_verified_io(self, urls, **options):
        for report in self.verify(urls, **{"bytes": "64M", "depth": 16, "connections": 2, "max_op": "1M",
                                           "seed": 16, **options}):
            self.assertEqual((report["verdict"], report["failed_ops"], report["retries"]), ("clean", 0, {}))


class IoTest(FastIscsiCase):
    def test_is_on_by_default_and_sends_bursts_together(self):
        before = self.counters()
        (report,) = self.bench(self.lun.url, access="randread", size=4096, depth=32, ops=20000, span=32 * MIB)
        after = self.counters()
        self.assertGreater(report["iops"], 0)
        self.assertLess(after["sends"] - before["sends"], 20000)
        self.assertLess(after["receives"] - before["receives"], 20000)

    def test_verified_io(self):
        self.check_verified_io(self.lun.url, mix="full")

    def test_digests(self):
        self.check_digests()

    def test_wrong_digests_end_the_connection(self):
        for position in (-1, 50):  # of the data, of the header
            with self.subTest(position=position):
                initiator = self.logged_in(header_digest=True, data_digest=True)
                pdu = bytearray(initiator.write_pdu(0, 8, bytes(4096)))
                pdu[position] ^= 1
                initiator.send(bytes(pdu))
                with self.assertRaises(ConnectionEnded):
                    initiator.receive()
        self.wait_for_connections(0)

    def test_other_stores_too(self):
        file = self.target.add_lun("rdwr", self.sparse_file("disk", 64 * MIB))
        before = self.counters()["receives"]
        self.check_verified_io([file.url, self.lun.url])
        self.assertGreater(self.counters()["receives"], before)

    def test_pdus_in_single_bytes(self):
        initiator = self.logged_in(header_digest=True)
        for byte in initiator.write_pdu(3, 1, b"w" * 512):
            initiator.send(bytes([byte]))
        self.assertEqual(initiator.receive().opcode, RESPONSE)
        self.assertEqual(initiator.read(3, 1), b"w" * 512)

    def test_many_commands_in_one_segment(self):
        initiator = self.logged_in()
        initiator.write(0, b"".join(bytes([n]) * 512 for n in range(64)))
        initiator.send(b"".join(initiator.read_pdu(n, 1) for n in range(64)))
        seen = sorted(initiator.read_answer(1)[0] for _ in range(64))
        self.assertEqual(seen, list(range(64)))


class SessionTest(FastIscsiCase):
    def test_log_ins_and_log_outs(self):
        descriptors = self.num_descriptors()
        for number in range(LOGINS):
            with RawInitiator(self.target, isid=number) as initiator:
                self.assertIsNone(initiator.login())
                if number % 4 == 0:
                    initiator.send(initiator.read_pdu(0, 8))
                self.assertTrue(initiator.logout())
        self.wait_for_connections(0)
        wait_until(lambda: self.num_descriptors() <= descriptors, 30, "the sockets to be closed")
        self.assertNotIn("sid", self.tgtd.tgtadm("--lld", "iscsi", "--mode", "conn", "--op", "show", "--tid", 1))

    def test_discovery(self):
        initiator = self.raw()
        self.assertIsNone(initiator.login(discovery=True))
        self.assertIn(f"TargetName={self.target.iqn}".encode(), initiator.send_targets())

    def test_a_refused_login_is_answered(self):
        class Unknown:
            tgtd = self.tgtd
            iqn = "iqn.2024-05.io.lunar.test:none"
        initiator = self.raw(Unknown)
        self.assertEqual(initiator.login(), (2, 3))  # TARGET NOT FOUND
        with self.assertRaises(ConnectionEnded):
            initiator.receive()
        self.wait_for_connections(0)

    def test_log_out_behind_much_data(self):
        initiator = self.logged_in(receive_buffer=32768)
        initiator.send(b"".join(initiator.read_pdu(0, 2048) for _ in range(8)))
        self.assertTrue(initiator.logout())

    def test_reinstatement(self):
        first = self.logged_in(isid=7)
        first.send(b"".join(first.read_pdu(0, 2048) for _ in range(20)))  # not read
        second = self.logged_in(isid=7)
        second.write(0, b"2" * 512)
        with self.assertRaises(ConnectionEnded):
            while True:
                first.receive()
        self.assertEqual(second.read(0, 1), b"2" * 512)

    def test_task_management(self):
        initiator = self.logged_in()
        initiator.send(initiator.encode(TASK_MANAGEMENT | IMMEDIATE, 0x80 | 5,  # LOGICAL UNIT RESET
                                        words=(0xffffffff, 1, 0)))
        pdu = initiator.receive()
        self.assertEqual((pdu.opcode, pdu.header[2]), (TASK_MANAGEMENT_RESPONSE, 0))

    def test_tgtadm_closes_a_connection(self):
        initiator = self.logged_in()
        shown = self.tgtd.tgtadm("--lld", "iscsi", "--mode", "conn", "--op", "show", "--tid", 1)
        session = shown.split("Session:")[1].split()[0]
        self.tgtd.tgtadm("--lld", "iscsi", "--mode", "conn", "--op", "delete", "--tid", 1, "--sid", session,
                         "--cid", 0)
        with self.assertRaises(ConnectionEnded):
            initiator.receive()

    def test_nop_in_timer(self):
        self.set_target("nop_interval", 1)
        self.set_target("nop_count", 3)
        alive, silent = self.logged_in(isid=1), self.logged_in(isid=2)
        for _ in range(6):  # seconds, of tgtd's timer
            pdu = alive.receive()
            self.assertEqual(pdu.opcode, NOP_IN)
            alive.send(alive.encode(IMMEDIATE, lun=bytes(8), tag=0xffffffff, words=(pdu.word(20), 1, 0)))
        with self.assertRaises(ConnectionEnded):
            while True:
                silent.receive()
        self.assertEqual(alive.ping(), b"ping")


class FaultTest(FastIscsiCase):
    def test_sessions_aborted_in_mid_pdu(self):
        wreck = self.new_lun("rbd/wreck", "64M")
        load = self.start_load("verify", self.lun.url, bytes="64M", depth=8, max_op="256K", seed=5)
        dice = random.Random(17)
        for number in range(60):
            initiator = self.raw(isid=100 + number, data_digest=number % 2 == 0)
            self.assertIsNone(initiator.login())
            pdus = b"".join([
                initiator.read_pdu(0, 2048, lun=wreck.number),
                initiator.write_pdu(0, 64, bytes(8192), lun=wreck.number),
                initiator.command_pdu(bytes(6), lun=wreck.number)])
            initiator.send(pdus[:dice.randrange(1, len(pdus))])
            if number % 3 == 0:
                initiator.reset()
            else:
                initiator.socket.close()
        (report,) = load.finish()
        self.assertEqual((report["verdict"], report["failed_ops"], report["retries"]), ("clean", 0, {}))
        self.wait_for_connections(0)

    def test_sessions_aborted_while_data_is_asked_for(self):
        for number in range(20):
            initiator = self.logged_in(isid=number)
            initiator.send(initiator.write_pdu(0, 2048, bytes(4096)))
            pdu = initiator.receive()
            self.assertEqual(pdu.opcode, R2T)
            part = initiator.data_out_pdu(initiator.last_tag, pdu.word(20), 0, pdu.word(40), bytes(8192), False)
            initiator.send(part[:100 + 400 * number])
            initiator.reset()
        self.wait_for_connections(0)
        self.check_verified_io(self.lun.url, bytes="8M")

    def test_an_initiator_that_does_not_read_stalls_nobody(self):
        stalled = self.logged_in(receive_buffer=65536)
        pattern = random.Random(3).randbytes(MIB)
        stalled.write(0, pattern)
        self.bench(self.lun.url, access="read", size=MIB, depth=32, ops=200, span=32 * MIB)
        before = self.resident_bytes()
        reads = 400
        stalled.send(b"".join(stalled.read_pdu(0, 2048) for _ in range(reads)))
        (report,) = self.bench(self.lun.url, access="randread", size=4096, depth=1, seconds=3, span=32 * MIB)
        self.assertGreater(report["iops"], 100)
        self.assertLess(report["latency_us"]["p99"], 250_000)
        self.assertLess(self.resident_bytes() - before, 192 * MIB)  # of the 400 MiB that it asked for
        counters = self.counters()
        self.assertGreater(counters["blocked"], 0)
        self.assertGreater(counters["paused"], 0)
        cpu = self.cpu_seconds()
        time.sleep(1)  # how much of a second it uses while nobody does anything
        self.assertLess(self.cpu_seconds() - cpu, 0.3)
        for _ in range(reads):
            self.assertEqual(stalled.read_answer(2048), pattern)
        self.assertTrue(stalled.logout())

    def test_writes_whose_data_does_not_come_hold_no_more_than_a_share(self):
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        of_a_host = max(1024 * MIB, memory) // 2
        initiators, writes = [], 0
        try:
            while writes * 32 * MIB <= of_a_host:
                initiators.append(self.logged_in(isid=len(initiators)))
                for _ in range(100):
                    initiators[-1].send(initiators[-1].write_pdu(0, 65535, bytes(4096)))
                    self.assertEqual(initiators[-1].receive().opcode, R2T)
                    writes += 1
        except ConnectionEnded:
            pass
        share = writes * 32 * MIB / of_a_host
        self.assertTrue(0.6 < share <= 1, share)  # the last connection gets what its host still might
        self.assertEqual(self.counters()["refused"], 1)
        other_host = self.logged_in(isid=1000, source="127.0.0.2")
        for data in (random.Random(4).randbytes(4 * MIB), bytes(4 * MIB)):
            other_host.write(0, data)
            self.assertEqual(other_host.read(0, len(data) // 512), data)
        for initiator in initiators:
            initiator.reset()
        self.wait_for_connections(1)
        self.check_verified_io(self.lun.url, bytes="8M")

    def test_a_stalled_initiator_may_vanish(self):
        descriptors = self.num_descriptors()
        for end in (RawInitiator.reset, lambda initiator: initiator.socket.close()):
            stalled = self.logged_in(receive_buffer=65536)
            stalled.send(b"".join(stalled.read_pdu(0, 2048) for _ in range(100)))
            wait_until(lambda: self.counters()["paused"] > 0, 30, "the initiator to be paused")
            end(stalled)
            self.wait_for_connections(0)
        wait_until(lambda: self.num_descriptors() <= descriptors, 30, "the sockets to be closed")

    def test_data_that_has_no_place_ends_the_connection(self):
        def behind_the_end(initiator):
            initiator.send(initiator.write_pdu(0, 16, bytes(4096)))
            pdu = initiator.receive()
            return initiator.data_out_pdu(initiator.last_tag, pdu.word(20), 0, 1 << 30, bytes(4096), True)

        def more_than_fits(initiator):
            initiator.send(initiator.write_pdu(0, 16, bytes(4096)))
            pdu = initiator.receive()
            return initiator.data_out_pdu(initiator.last_tag, pdu.word(20), 0, 4096, bytes(1 << 20), True)

        def data_of_a_command_without(initiator):
            return initiator.command_pdu(bytes(6), data=bytes(4096)) + initiator.command_pdu(bytes(6))

        def data_of_a_task_management_request(initiator):
            return initiator.encode(TASK_MANAGEMENT | IMMEDIATE, 0x80 | 5, data=bytes(8192),
                                    words=(0xffffffff, 1, 0))

        def ahs_of_a_ping(initiator):
            pdu = bytearray(initiator.encode(IMMEDIATE, lun=bytes(8), words=(0xffffffff, 1, 0)))
            pdu[4] = 255
            return bytes(pdu) + bytes(1020)

        def more_than_the_maximum_transfer_length(initiator):  # whatever its CDB says
            return initiator.command_pdu(bytes([0x2a, 0, 0, 0, 0, 0, 0, 0, 8, 0]), write_bytes=(64 << 20) + 1)

        for number, send_what in enumerate((behind_the_end, more_than_fits, data_of_a_task_management_request,
                                            ahs_of_a_ping, more_than_the_maximum_transfer_length)):
            with self.subTest(send_what.__name__):
                initiator = self.logged_in()
                what = send_what(initiator)
                with self.assertRaises(ConnectionEnded):
                    initiator.send(what)  # it may end before all of this is sent
                    while True:
                        initiator.receive()
                self.assertEqual(self.counters()["refused"], number + 1)
        # tgt makes room for these, and drops them.
        initiator = self.logged_in()
        try:
            initiator.send(data_of_a_command_without(initiator))
            initiator.receive()
        except ConnectionEnded:
            pass
        self.check_verified_io(self.lun.url, bytes="8M")

    def test_garbage(self):
        dice = random.Random(99)
        for number in range(60):
            initiator = self.raw(isid=number)
            if number % 2:
                self.assertIsNone(initiator.login())
            try:
                initiator.send(dice.randbytes(dice.randrange(1, 20000)))
                initiator.socket.shutdown(socket.SHUT_WR)
            except (ConnectionEnded, OSError):
                pass
            initiator.socket.close()
        self.wait_for_connections(0)
        self.check_verified_io(self.lun.url, bytes="8M")


class TakeOverTest(LunarTestCase):
    def test_connections_that_were_there_before(self):
        cluster = self.start_cluster(num_osds=1, store="mem")
        cluster.create_image("rbd/image", "64M")
        tgtd = self.start_tgtd(with_lunar=True)  # knows no cluster until it has a LUN of one
        target = tgtd.add_target()
        file = target.add_lun("rdwr", self.sparse_file("disk", 64 * MIB))
        idle = RawInitiator(target)
        self.addCleanup(idle.socket.close)
        self.assertIsNone(idle.login())
        half = RawInitiator(target, isid=2)
        self.addCleanup(half.socket.close)
        self.assertIsNone(half.login())
        pdu = half.command_pdu(bytes(6), tag=77)
        half.send(pdu[:20])
        load = self.start_load("verify", file.url, bytes="256M", depth=16, connections=4, max_op="512K", seed=6)
        wait_until(lambda: file_has_bytes(self.folder / "disk"), 60, "the load to write")
        self.assertEqual(cluster.gateway_sockets(), [])
        lun = target.add_lun("lunar", "rbd/image", bsopts=f"conf={cluster.conf}")
        self.verify(lun.url, bytes="8M", seed=7)
        (report,) = load.finish()
        self.assertEqual((report["verdict"], report["failed_ops"]), ("clean", 0))
        self.assertLessEqual(set(report["retries"]), {"CHECK CONDITION 6/3f/0e"})  # there is a new LUN
        half.send(pdu[20:])
        self.assertEqual(half.receive().header[16:20], bytes([0, 0, 0, 77]))
        self.assertEqual(idle.ping(), b"ping")
        self.assertEqual(cluster.gateway_command("perf", "dump")["iscsi_tcp"]["connections"], 2)


def file_has_bytes(path):
    return path.stat().st_blocks > 0


class OffTest(FastIscsiCase):
    options = {"lunar_fast_iscsi": "false"}

    def test_stock_transport(self):
        self.assertNotIn("iscsi_tcp", self.cluster.gateway_command("perf", "dump"))
        self.check_verified_io(self.lun.url, mix="full", bytes="32M")
        self.check_digests(16 << 10)
        for number in range(20):
            with RawInitiator(self.target, isid=number) as initiator:
                self.assertIsNone(initiator.login())
                self.assertTrue(initiator.logout())


if __name__ == "__main__":
    unittest.main(verbosity=2)
