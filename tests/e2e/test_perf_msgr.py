#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""lunar-perf-msgr as a program: client and server over TCP."""

import json
import subprocess
import unittest

from lunar_e2e import TestCase
from lunar_e2e.env import built, child_environment
from lunar_e2e.process import Process, wait_until

NO_KEYS = ("--auth-client-required", "none")


class PerfMsgrTest(TestCase):
    def start_server(self, *words):
        server = Process("perf-msgr", [built("lunar-perf-msgr"), "server", *NO_KEYS, *words],
                         self.folder / "server.log")
        self.addCleanup(server.stop)
        wait_until(lambda: "listening on" in server.log() or not server.is_running(), 30,
                   "the server to listen")
        self.assertTrue(server.is_running(), server.log())
        return server.log().partition("listening on")[2].split()

    def client(self, *words):
        return subprocess.run([str(word) for word in (built("lunar-perf-msgr"), "client", *NO_KEYS,
                                                      *words)],
                              env=child_environment(), text=True, capture_output=True, timeout=60,
                              check=False)

    def report(self, *words):
        result = self.client("--format", "json", *words)
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)

    def test_sessions_on_several_loops(self):
        addresses = self.start_server("--threads", "2")
        self.assertEqual(len(addresses), 2)
        report = self.report(*addresses, "--size", "16K", "--reply-size", "4K", "--depth", "4",
                             "--connections", "4", "--threads", "2", "--ops", "1000",
                             "--warmup", "0")
        self.assertEqual(report["ops"], 1000)
        self.assertEqual((report["level"], report["transport"]), ("messenger", "async+posix"))
        latency = report["latency_us"]
        self.assertLessEqual(latency["min"], latency["p50"])
        self.assertLessEqual(latency["p50"], latency["p99"])
        self.assertLessEqual(latency["p99"], latency["max"])
        self.assertGreaterEqual(report["perf"]["msgr"]["msgs_in"], 1)

    def test_bare_links(self):
        (address,) = self.start_server("--level", "link")
        report = self.report(address, "--level", "link", "--seconds", "0.2", "--warmup", "0")
        self.assertGreater(report["ops"], 0)
        self.assertGreaterEqual(report["send_calls"], report["ops"])
        self.assertEqual(self.report(address, "--level", "link", "--cycles", "20")["cycles"], 20)
        idle = self.report(address, "--level", "link", "--idle", "--connections", "10",
                           "--seconds", "0.01")
        self.assertEqual(idle["connections"], 10)
        text = self.client(address, "--level", "link", "--ops", "10", "--warmup", "0").stdout
        self.assertIn("latency us: mean", text)

    def test_what_cannot_be_measured_is_said(self):
        (address,) = self.start_server("--level", "link")
        for words, code, sentence in (
                ((address, "--one-sided", "read"), 2, "--level link"),
                ((address, "--level", "link", "--one-sided", "pull"), 1, "need RDMA"),
                ((address, "--level", "link", "--crossover", "--warmup", "0", "--ops", "1"), 1,
                 "need RDMA"),
                ((address, "--size", "17M"), 2, "17M"),
                (("127.0.0.1:1", "--level", "link"), 1, "127.0.0.1:1"),
                (("nowhere:1",), 2, "nowhere"),
                ((address, "--depth", "1024", "--size", "1M"), 2, "in flight")):
            result = self.client(*words)
            self.assertEqual(result.returncode, code, (words, result.stdout, result.stderr))
            self.assertIn(sentence, result.stderr)

    def test_links_are_not_offered_where_keys_are_wanted(self):
        result = subprocess.run([built("lunar-perf-msgr"), "server", "--level", "link", "--bind",
                                 "0.0.0.0:0"], env=child_environment(), text=True,
                                capture_output=True, timeout=60, check=False)
        self.assertEqual(result.returncode, 1)
        self.assertIn("no authentication", result.stderr)


if __name__ == "__main__":
    unittest.main()
