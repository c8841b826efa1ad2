#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Gateway and servers of one host with ms_type = async+local: large payloads go through shared memory, and no block
differs when either side is killed or stopped under load."""

import os
import signal
import unittest

from lunar_e2e import LunarTestCase, wait_until
from lunar_e2e.admin import admin_command

OP_TIMEOUT = 2  # seconds
KILLS = int(os.environ.get("LUNAR_E2E_KILLS", "3"))


class LocalTest(LunarTestCase):
    def start_lunar(self, options=None, **cluster_options):
        options = {"ms_type": "async+local", "lunar_one_sided_threshold": "32K", **(options or {})}
        super().start_lunar(options=options, **cluster_options)

    def begin(self, seed, **options):
        self.lun = self.new_lun(size="128M", object_size="1M")
        options = {"bytes": "256M", "mix": "rw", "max_op": "1M", "depth": 8, "retry_seconds": 120, **options}
        running = self.start_load("verify", self.lun.url, seed=seed, **options)
        self.wait_for_writes(running)
        return running

    def end(self, running):
        (report,) = running.finish(timeout=600)
        self.assertEqual(report["verdict"], "clean")
        return report

    def counters_of_server(self, osd):
        return admin_command(self.cluster.admin_socket(osd), "perf dump")

    def counters(self):
        return self.cluster.gateway_command("perf", "dump")

    def test_large_payloads_are_moved_by_the_server(self):
        self.start_lunar()
        report = self.end(self.begin(seed=61, mix="full"))
        self.assertEqual((report["failed_ops"], report["retries"]), (0, {}))
        ours = self.counters()
        self.assertEqual((ours["local"]["links_tcp"], ours["objecter"]["inline_link_lacks"]), (0, 0))
        self.assertGreaterEqual(ours["local"]["links_local"], 3)
        self.assertGreater(ours["objecter"]["one_sided"], 100)
        self.assertEqual(ours["objecter"]["keys_out"], 0)
        theirs = [self.counters_of_server(osd)["osd_one_sided"] for osd in range(3)]
        moved = sum(each["pull_bytes"] + each["push_bytes"] for each in theirs)
        self.assertGreater(min(each["pulled_ops"] for each in theirs), 0)
        self.assertGreater(min(each["pushed_ops"] for each in theirs), 0)
        self.assertGreater(moved, (report["bytes_read"] + report["bytes_written"]) // 2)

    def test_servers_killed_and_restarted_under_load(self):
        self.start_lunar()
        running = self.begin(seed=62, bytes="512M")
        for number in range(KILLS):
            self.cluster.restart_osd(2 - number % 3)
            self.wait_for_writes(running)
        report = self.end(running)
        self.assertEqual(report["failed_ops"], 0)
        self.assertGreaterEqual(self.counters()["local"]["links_local"], 3 + KILLS)

    def test_gateway_killed_and_restarted_under_load(self):
        self.start_lunar()
        running = self.begin(seed=63, bytes="512M")
        for _ in range(KILLS):
            self.tgtd.kill()
            for left_behind in self.cluster.gateway_sockets():
                left_behind.unlink()
            self.tgtd.start()
            self.target = self.tgtd.add_target(admits_all=False)
            self.export("rbd/image")
            self.target.admit_all()  # nobody is to find the target without its LUN
            self.wait_for_writes(running)
        report = self.end(running)
        self.assertGreater(report["retries"].get("connection lost", 0), 0)

    def test_server_that_is_stopped_until_its_ops_time_out(self):
        """Its ops are given up, and their buffers have another use when it goes on.

        Hardly ever is it in the middle of a move then: that is LateWriteTest's.
        """
        self.start_lunar(options={"objecter_op_timeout": f"{OP_TIMEOUT}s"}, num_osds=1)
        running = self.begin(seed=64, bytes="512M")
        for _ in range(2):
            before = self.counters()["objecter"]["op_timeout"]
            self.cluster.osds[0].send(signal.SIGSTOP)
            try:
                wait_until(lambda: self.counters()["objecter"]["op_timeout"] > before, 60, "an op to time out")
            finally:
                self.cluster.osds[0].send(signal.SIGCONT)
            self.wait_for_writes(running)
        self.end(running)


if __name__ == "__main__":
    unittest.main(verbosity=2)
