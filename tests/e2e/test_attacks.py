#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What one client, or somebody without a key, can do to a server: others go on, memory is bounded (docs/limits.md).

Each attack runs in a process of its own against a real lunar-osd while a bystander writes; its 99th percentile may
be ten times that of before."""

import base64
import json
import os
import pathlib
import sys
import time
import unittest

from lunar_e2e import Process, TestCase, admin_command, wait_until
from lunar_e2e.wire import Peer, WireError, find_target

HERE = pathlib.Path(__file__).resolve().parent
SECONDS = 5
OPS = 400
# Python and a busy machine make single ops slow: what is below is not judged.
FLOOR = 0.005  # seconds


def p99(latencies):
    return sorted(latencies)[len(latencies) * 99 // 100]


class Bystander:
    """A client that writes 4 KiB at a time, one after the other."""

    def __init__(self, port, target, entity="client.bystander"):
        self.target = target
        self.peer = Peer(port, entity, timeout=30)
        self.peer.handshake()

    def write(self):
        begin = time.monotonic()
        self.peer.write(self.target, bytes(4096))
        _, error = self.peer.reply()
        if error != 0:
            raise AssertionError(f"a write of the bystander ended with error {error}")
        return time.monotonic() - begin

    def measure(self, seconds=None):
        latencies = []
        begin = time.monotonic()
        while len(latencies) < OPS or (seconds and time.monotonic() - begin < seconds):
            latencies.append(self.write())
            if time.monotonic() - begin > 30:
                break
        return latencies


class ServerTestCase(TestCase):
    def start(self, store="mem", **options):
        self.cluster = self.start_cluster(num_osds=2, store=store, **options)
        self.osd = self.cluster.osds[1]  # not the map authority
        self.port = self.cluster.ports[1]

    def counter(self, name, group="msgr"):
        return admin_command(self.cluster.admin_socket(1), "perf dump")[group][name]

    def memory(self):
        """Bytes that the server has resident."""
        status = pathlib.Path(f"/proc/{self.osd.pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) * 1024

    def attack(self, name, target):
        attacker = Process(name, [sys.executable, HERE / "attacker.py", name, self.port, json.dumps(target)],
                           self.folder / f"{name}.log")
        self.addCleanup(attacker.kill)
        wait_until(lambda: "under way" in attacker.log() or not attacker.is_running(), 60, f"{name} to be under way")
        self.assertTrue(attacker.is_running(), attacker.log_tail())
        return attacker


class BystanderTestCase(ServerTestCase):
    def start(self, **options):
        super().start(**options)
        self.target = find_target(self.cluster, 1)

    def assert_bystander_goes_on(self, name, entity="client.bystander", comes_first=True):
        victim = {**self.target}
        bystander = Bystander(self.port, victim, entity)
        self.addCleanup(bystander.peer.close)
        bystander.measure()  # warms up
        before = p99(bystander.measure())
        self.attack(name, self.target)
        if not comes_first:
            bystander = Bystander(self.port, victim, entity)
            self.addCleanup(bystander.peer.close)
        during = bystander.measure(SECONDS)
        print(f"{name}: p99 {before * 1e3:.2f} ms before, {p99(during) * 1e3:.2f} during, of {len(during)} writes, "
              f"the longest {max(during) * 1e3:.0f} ms;"
              f" {self.memory() >> 20} MiB resident", file=sys.stderr)
        self.assertLessEqual(p99(during), 10 * max(before, FLOOR))
        self.assertLess(max(during), 2, "a write waited for seconds")
        self.assertGreaterEqual(len(during), OPS)


class ListsTest(BystanderTestCase):
    def test_lists_without_end(self):
        self.start(store="file")
        self.assert_bystander_goes_on("endless_lists")


class BystanderTest(BystanderTestCase):
    def setUp(self):
        super().setUp()
        self.start(options={"osd_client_sessions_max": "1500"})

    def test_writes_that_wait_for_a_map(self):
        self.assert_bystander_goes_on("future_epoch")
        self.assertLess(self.memory(), 512 << 20)

    def test_writes_that_wait_for_a_map_of_the_same_key(self):
        self.assert_bystander_goes_on("future_epoch", entity="client.evil")

    def test_replies_that_are_not_read(self):
        self.assert_bystander_goes_on("unread_replies")
        self.assertLess(self.memory(), 512 << 20)
        wait_until(lambda: self.counter("send_timeouts") > 0, 40, "links that are not read to be dropped")

    def test_frames_that_are_not_finished(self):
        self.assert_bystander_goes_on("unfinished_frames")
        self.assertGreater(self.counter("throttle_waits"), 0)

    def test_sessions_without_number(self):
        self.assert_bystander_goes_on("many_sessions", comes_first=False)
        self.assertGreater(self.counter("sessions_refused"), 900)
        self.assertIn("client.evil has 1024 sessions here", self.osd.log())

    def test_ops_without_number(self):
        self.assert_bystander_goes_on("waiting_ops")


class HandshakeTest(ServerTestCase):
    def test_half_open_links_keep_nobody_out(self):
        self.start()
        target = find_target(self.cluster, 1)
        self.attack("half_open", target)
        for _ in range(5):
            with Peer(self.port, "client.slow") as peer:
                peer.handshake(pause=0.5)
                peer.write(target, b"x")
                self.assertEqual(peer.reply()[1], 0)
        self.assertGreater(self.counter("handshakes_replaced"), 0)

    def test_a_header_costs_what_it_has(self):
        self.start()
        before = self.memory()
        self.attack("long_hellos", {})
        grown = self.memory() - before
        print(f"long_hellos: {grown >> 10} KiB for 300 links", file=sys.stderr)
        self.assertLess(grown, 8 << 20)

    def test_a_generation_that_would_wrap_is_refused(self):
        self.start()
        with Peer(self.port, "client.evil") as peer:
            with self.assertRaises(WireError):
                peer.handshake(generation=2**64 - 1)
        with Peer(self.port, "client.good") as peer:
            self.assertEqual(peer.handshake().generation, 1)

    def test_wrong_proofs_do_not_fill_the_log(self):
        self.start(authenticate=True)
        lines = len(self.osd.log().splitlines())
        for _ in range(300):
            with Peer(self.port, "client.admin") as peer:
                with self.assertRaisesRegex(WireError, "authentication of client.admin failed"):
                    peer.handshake(key=os.urandom(32))
        more = self.osd.log().splitlines()[lines:]
        self.assertLess(len(more), 60, "\n".join(more[-60:]))
        self.assertIn("authentication of client.admin failed", "\n".join(more))
        self.assertEqual(self.counter("auth_failed"), 300)
        text = self.cluster.keyring.read_text().split("[client.admin]")[1].split("key = ")[1].split()[0]
        with Peer(self.port, "client.admin") as peer:
            peer.handshake(key=base64.b64decode(text))


if __name__ == "__main__":
    unittest.main(verbosity=2)
