#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Servers die, stall and lose their links under verified load: IO resumes, and no block differs."""

import signal
import time
import unittest

from lunar_e2e import LunarTestCase, load, wait_until

MIB = 1 << 20
NOT_READY, ABORTED_COMMAND = 0x2, 0xb
OP_TIMEOUT = 2  # seconds


class ServerFaultTest(LunarTestCase):
    def start_lunar(self, options=None, **cluster_options):
        options = {"objecter_op_timeout": f"{OP_TIMEOUT}s", **(options or {})}
        super().start_lunar(options=options, **cluster_options)

    def begin(self, seed, num_bytes="1G", **options):
        self.lun = self.new_lun(size="256M", object_size="1M")
        options = {"mix": "full", **options}
        running = self.start_load("verify", self.lun.url, bytes=num_bytes, seed=seed, max_op="1M",
                                  depth=8, retry_seconds=120, **options)
        self.wait_for_writes(running)
        return running

    def end(self, running):
        (report,) = running.finish(timeout=600)
        self.assertEqual(report["verdict"], "clean")
        return report

    def kill_and_restart_each(self, running):
        for victim in (1, 2, 0):  # 0 is the map authority
            self.cluster.restart_osd(victim)
            self.wait_for_writes(running)

    def test_servers_killed_and_restarted_under_load(self):
        self.start_lunar()
        running = self.begin(seed=31, mix="rw")
        self.kill_and_restart_each(running)
        report = self.end(running)
        self.assertEqual(report["failed_ops"], 0)

    def test_servers_killed_under_every_kind_of_command(self):
        self.start_lunar()
        running = self.begin(seed=37, tolerate_failures=True)
        self.kill_and_restart_each(running)
        report = self.end(running)
        # A COMPARE AND WRITE that a dead server may have carried out is not repeated.
        self.assertLessEqual(report["failed_ops"], 8 * 3)

    def test_a_server_that_is_back_is_found_soon(self):
        # Without servers, the next attempt of a patient session would be 15 to 30 s away.
        self.start_lunar({"ms_initial_backoff": "30s", "ms_max_backoff": "30s", "objecter_op_timeout": "2m"},
                         num_osds=1)
        lun = self.new_lun(size="64M")
        self.assert_good(self.command(lun.url, "read", lba=0, blocks=1))
        self.cluster.kill_osd(0)
        running = self.start_load("verify", lun.url, bytes="64K", max_op="4K", depth=1, seed=38)
        wait_until(lambda: self.ops_in_flight(), 30, "an op to wait for the server")
        self.cluster.start_osd(0)
        began = time.monotonic()
        running.finish(timeout=120)
        took = time.monotonic() - began
        print(f"what waited went on {took:.1f} s after the server was back")
        self.assertLess(took, 10)

    def ops_in_flight(self):
        return self.cluster.gateway_command("ops", "in", "flight")["ops"]

    def test_server_that_stalls_longer_than_the_op_timeout(self):
        self.start_lunar()
        running = self.begin(seed=32, num_bytes="512M")
        self.cluster.osds[1].send(signal.SIGSTOP)
        try:
            self.wait_for_timeouts()
        finally:
            self.cluster.osds[1].send(signal.SIGCONT)
        self.wait_for_writes(running)
        self.end(running)

    def wait_for_timeouts(self):
        wait_until(lambda: self.cluster.gateway_command("perf", "dump")["objecter"]["op_timeout"],
                   60, "an op to time out")

    def test_links_cut_under_load(self):
        self.start_lunar(options={"ms_inject_socket_failures": "100", "ms_inject_seed": "33",
                                  "objecter_op_timeout": "20s"})
        running = self.begin(seed=33, num_bytes="256M")
        report = self.end(running)
        self.assertEqual(report["retries"], {})  # sessions survive: the layers above notice nothing
        counters = self.cluster.gateway_command("perf", "dump")["msgr"]
        self.assertGreater(counters["reconnects"], 2)
        self.assertGreater(counters["replays"], 0)
        self.assertEqual(counters["resets"], 0)

    def test_all_servers_dead(self):
        self.start_lunar()
        lun = self.new_lun(size="64M")
        self.assert_good(self.command(lun.url, "write", lba=0, blocks=8, pattern="0x33"))
        for osd in range(3):
            self.cluster.kill_osd(osd)
        for words in (("read",), ("write", "--pattern", "1"), ("sync",), ("unmap",),
                      ("get-lba-status",), ("writesame", "--pattern", "zero"),
                      ("caw", "--expect", "zero", "--pattern", "1")):
            with self.subTest(command=words[0]):
                started = time.monotonic()
                answer = self.command(lun.url, *words, lba=0)
                self.assert_sense(answer, ABORTED_COMMAND, 0)
                self.assertLess(time.monotonic() - started, 5 * OP_TIMEOUT)
        # What needs no server is answered at once.
        self.assert_sense(self.command(lun.url, "tur"), NOT_READY, 4)
        self.assertEqual(self.command(lun.url, "readcap")["bytes"], 64 * MIB)
        for osd in range(3):
            self.cluster.start_osd(osd)
        wait_until(lambda: self.command(lun.url, "tur")["status"] == "GOOD", 60, "the LUN to be ready")
        running = self.start_load("verify", lun.url, bytes="16M", seed=34, retry_seconds=60,
                                  initially_anything=True, max_op="1M")
        self.end(running)
        self.assertTrue(self.tgtd.is_running())

    def test_not_ready_until_all_that_an_unmap_may_have_met_answers(self):
        self.start_lunar()
        lun = self.new_lun(size="64M", object_size="1M")
        self.cluster.kill_osd(1)
        answers = (self.command(lun.url, "unmap", lba=mib * 2048) for mib in range(64))
        self.assertIn(ABORTED_COMMAND, (answer["sense"]["key"] for answer in answers if answer["status"] != "GOOD"))
        wait_until(lambda: not self.cluster.gateway_command("ops in flight")["ops"], 60, "the question to end")
        self.assert_sense(self.command(lun.url, "tur"), NOT_READY, 4)
        self.cluster.start_osd(1)
        wait_until(lambda: self.command(lun.url, "tur")["status"] == "GOOD", 60, "the LUN to be ready")

    def test_busy_instead_of_aborted_where_the_option_says_so(self):
        self.start_lunar(num_osds=1, options={"lunar_sense_on_timeout": "busy"})
        lun = self.new_lun(size="64M")
        self.cluster.kill_osd(0)
        self.assertEqual(self.command(lun.url, "read", lba=0)["status"], "BUSY")

    def test_gateway_killed_and_restarted_under_load(self):
        self.start_lunar(options={"objecter_op_timeout": "20s"})
        running = self.begin(seed=35, num_bytes="256M")
        self.tgtd.kill()
        self.tgtd.start()
        self.target = self.tgtd.add_target()
        self.export("rbd/image")
        report = self.end(running)
        self.assertGreater(report["retries"].get("connection lost", 0), 0)

    def test_load_without_retries_hears_of_a_dead_server(self):
        self.start_lunar(num_osds=1)
        self.lun = self.new_lun(size="64M")
        running = self.start_load("verify", self.lun.url, bytes="4G", seed=36)
        self.wait_for_writes(running)
        self.cluster.kill_osd(0)
        (report,) = running.finish(timeout=120, expect=load.COMMAND_FAILED)
        self.assertIn("CHECK CONDITION b/00/00", report["problem"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
