#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Servers on "another host" whose clock is five seconds ahead: the report corrects for it."""

import contextlib
import os
import unittest
from unittest import mock

import trace_recording
from lunar_e2e import LunarTestCase
from lunar_e2e.env import built, preloaded
from lunar_e2e.tgt import PrivateTgtd

SHIFT_SECONDS = 5
HOST = "server-host"
MS = 1_000_000


class TraceHostsTest(LunarTestCase):
    def other_host(self):
        return {**preloaded(built("libother_host.so")), "LUNAR_TEST_HOST": HOST,
                "LUNAR_TEST_SHIFT_SECONDS": str(SHIFT_SECONDS)}

    def record(self):
        here, there = self.folder / "here", self.folder / "there"
        here.mkdir()
        there.mkdir()
        with contextlib.ExitStack() as both:
            with mock.patch.dict(os.environ, self.other_host()):  # its session daemon is there too
                servers = both.enter_context(trace_recording.Recording(there))
            gateway = both.enter_context(trace_recording.Recording(here))
            cluster = self.start_cluster(
                options={"ms_keepalive_interval": "100ms"},
                extra_environment={**servers.environment(), **self.other_host()})
            self.tgtd = PrivateTgtd(
                self.folder / "tgt", with_lunar=True,
                environment={**gateway.environment(), "LUNAR_CONF": str(cluster.conf)}).start()
            self.addCleanup(self.tgtd.stop)
            cluster.create_image("rbd/image", "64M", object_size="1M")
            lun = self.tgtd.add_target().add_lun("lunar", "rbd/image")
            for _ in range(2):
                self.bench(lun.url, access="write", size="1M", depth=2, ops=40, span="64M")
            self.bench(lun.url, access="write", size="4K", depth=4, seconds=1, span="1M")
            self.tgtd.stop()
            cluster.stop()
            gateway.stop()
            servers.stop()
        return gateway.folder, servers.folder

    def test_clocks_are_aligned_by_keepalives(self):
        here, there = self.record()
        found = trace_recording.report_json(here, there)
        clocks = {clock["host"]: clock for clock in found["trace"]["clocks"]}
        self.assertEqual(len(clocks), 2, clocks)
        other = clocks[HOST]
        self.assertFalse(other["is_reference"])
        self.assertTrue(other["is_known"], other)
        self.assertGreater(other["keepalives"], 2)
        off = abs(other["offset_ns"] - SHIFT_SECONDS * 10**9)
        self.assertLessEqual(off, other["error_ns"] + 2 * MS, other)
        self.assertEqual(found["reconciliation"]["percent"], 100, found["reconciliation"])
        stages = {stage["stage"]: stage for stage in found["stages"]}
        for name in ("to server", "to client"):
            self.assertLess(stages[name]["p50_ns"], 10**9, stages[name])
        self.assertLess(stages["to server"]["p50_ns"] + stages["to client"]["p50_ns"],
                        found["ops"]["latency"]["p99_ns"] + 2 * other["error_ns"])
        self.assertIn(HOST, trace_recording.report(here, there))


if __name__ == "__main__":
    unittest.main(verbosity=2)
