#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Servers of pools in RADOS that die, or stand still: others take their place, and nothing is lost.

    test_rados_failover.py [--rounds N]

--rounds N: how often a server is stopped with writes in its hands; 2
"""

import argparse
import contextlib
import fcntl
import os
import pathlib
import signal
import sys
import threading
import time
import unittest
from unittest import mock

from lunar_e2e import admin_command, load, wait_until
from lunar_e2e.ceph import CephTestCase
from lunar_e2e.env import built, preloaded

MOST_STALL = 12  # seconds; also the time after which an op fails, so that no stall is longer without an error
LUNS = 4
ROUNDS = 2


class ProgressWatch:
    """The longest time in which a gateway has ended no IO."""

    def __init__(self, count):
        self._count = count
        self._stopped = threading.Event()
        self._longest = 0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        last, since = self._count(), time.monotonic()
        while not self._stopped.wait(.02):
            now = self._count()
            self._longest = max(self._longest, time.monotonic() - since)
            if now != last:
                last, since = now, time.monotonic()

    def stop(self):
        self._stopped.set()
        self._thread.join()
        return self._longest


class WritesInHand:
    """What a server with held_rados.cc gives to RADOS: kept while one is in `with`."""

    def __init__(self, path):
        self._path = pathlib.Path(path)
        self._path.touch()

    def environment(self):
        return {"LUNAR_TEST_HOLD": str(self._path)}

    @contextlib.contextmanager
    def kept(self):
        with open(self._path, "r+b") as file:
            file.truncate()
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def count(self):
        return self._path.stat().st_size


class RadosFailoverTest(CephTestCase):
    def setUp(self):
        super().setUp()
        self.start_lunar(num_osds=3,
                         options={"objecter_op_timeout": f"{MOST_STALL}s",
                                  # One that stood still for longer drops its links before it reads what they brought.
                                  "ms_keepalive_timeout": "10m"})

    def start_writing(self, *luns, **options):
        """No command of it may fail, and none is repeated."""
        running = self.start_load("verify", [lun.url for lun in luns], mix="rw", depth=8, **options)
        self.wait_for_writes(running)
        return running

    def is_up(self, osd):
        (info,) = (each for each in self.cluster.lunar_json("osd", "dump")["osds"] if each["id"] == osd)
        return info["up"]

    def rados_client(self, osd):
        return (self.cluster.store_folder(osd) / "rados_client").read_text().split("@")[0]

    def is_on_blocklist(self, client):
        return client.split("/")[1].rstrip("]") in self.ceph.ceph("osd", "blocklist", "ls")

    def assert_clean(self, running):
        for report in running.finish(timeout=600):
            self.assertEqual(report["verdict"], "clean")
            self.assertEqual(report["failed_ops"], 0)

    def test_a_killed_server_is_replaced_within_the_time_and_comes_back_under_load(self):
        lun = self.new_lun(size="64M", object_size="1M")
        running = self.start_writing(lun, bytes="1G", seed=61, max_op="256K")
        client = self.rados_client(1)
        watch = ProgressWatch(self.bytes_written)
        self.cluster.kill_osd(1)
        wait_until(lambda: not self.is_up(1), 30, "osd.1 to be down")
        self.assertTrue(self.is_on_blocklist(client))
        self.wait_for_writes(running, 16 << 20)
        self.cluster.start_osd(1)
        self.wait_for_writes(running, 16 << 20)
        stall = watch.stop()
        print(f"IO stood still for {stall:.1f} s at most", file=sys.stderr)
        self.assertLess(stall, MOST_STALL)
        self.assertGreater(self.ops_of(1), 0, "it has its PGs again")
        self.assert_clean(running)

    def ops_of(self, osd):
        return admin_command(self.cluster.admin_socket(osd), "perf dump")["osd"]["op"]

    def test_servers_that_are_stopped_in_order_one_after_the_other_cost_nothing(self):
        lun = self.new_lun(size="64M", object_size="1M")
        running = self.start_writing(lun, bytes="1G", seed=62, max_op="256K")
        watch = ProgressWatch(self.bytes_written)
        for osd in (1, 2, 0):  # 0 is the map authority, whose PGs wait for it
            self.assertEqual(self.cluster.osds[osd].stop(), 0)
            self.cluster.start_osd(osd)
            self.wait_for_writes(running, 4 << 20)
        self.assertLess(watch.stop(), MOST_STALL)
        self.assert_clean(running)

    def test_a_server_is_drained_and_takes_its_share_again_under_load(self):
        lun = self.new_lun(size="64M", object_size="1M")
        running = self.start_writing(lun, bytes="2G", seed=65, max_op="256K")
        watch = ProgressWatch(self.bytes_written)
        self.cluster.lunar("osd", "out", "1")
        self.wait_for_writes(running, 16 << 20)
        done = self.ops_of(1)
        self.wait_for_writes(running, 16 << 20)
        self.assertEqual(self.ops_of(1), done)
        self.assertEqual(self.cluster.osds[1].stop(), 0)
        self.cluster.start_osd(1)
        self.wait_for_writes(running, 16 << 20)
        self.assertEqual(self.ops_of(1), 0, "a new start is out, too")
        self.cluster.lunar("osd", "in", "1")
        self.wait_for_writes(running, 16 << 20)
        self.assertGreater(self.ops_of(1), 0)
        stall = watch.stop()
        print(f"IO stood still for {stall:.1f} s at most", file=sys.stderr)
        self.assertLess(stall, MOST_STALL)
        self.assert_clean(running)

    def restart_with_held_rados(self, osd, environment):
        self.assertEqual(self.cluster.osds[osd].stop(), 0)
        with mock.patch.dict(os.environ, {**preloaded(built("libheld_rados.so")), **environment}):
            self.cluster.start_osd(osd)

    def start_with_writes_in_hand(self):
        hand = WritesInHand(self.folder / "hand")
        self.restart_with_held_rados(1, hand.environment())
        luns = [self.new_lun(f"rbd/image{number}", size="4M", object_size="256K") for number in range(LUNS)]
        return hand, luns

    def stop_with_writes_in_hand(self, hand, luns, seed):
        """A load under which osd.1 stands still, with writes that RADOS has not got; all of them are written anew by
        its heirs, and overwritten; then it goes on."""
        running = self.start_writing(*luns, bytes="128M", seed=seed, max_op="64K", initially_anything=True)
        stopped = self.cluster.osds[1]
        try:
            with hand.kept():
                # Each LUN goes on until it waits for a write that is kept.
                wait_until(lambda: hand.count() >= LUNS, 30, "osd.1 to have a write of each LUN in its hands")
                stopped.send(signal.SIGSTOP)
                wait_until(lambda: not self.is_up(1), 30, "osd.1 to be down")
                self.wait_for_writes(running, 48 << 20)  # several times the image
        finally:
            stopped.send(signal.SIGCONT)
        return running

    def test_nothing_that_a_stopped_server_had_in_its_hands_is_written_and_it_comes_back(self):
        hand, luns = self.start_with_writes_in_hand()
        pid = self.cluster.osds[1].pid
        writes = 0
        for number in range(ROUNDS):
            client = self.rados_client(1)
            running = self.stop_with_writes_in_hand(hand, luns, number)
            self.assertTrue(self.is_on_blocklist(client))
            writes += hand.count()
            wait_until(lambda: self.is_up(1), 60, "osd.1 to be up again by itself")
            self.assertNotEqual(self.rados_client(1), client)
            self.assert_clean(running)
        print(f"{ROUNDS} rounds, {writes} writes in its hands", file=sys.stderr)
        self.assertEqual(self.cluster.osds[1].pid, pid)
        self.assertTrue(self.cluster.osds[1].is_running())
        self.assertIn("starts anew", self.cluster.osds[1].log())

    def test_without_the_blocklist_the_check_finds_what_a_stopped_server_writes(self):
        """Shows that the test before can fail: the authority fences nobody."""
        self.restart_with_held_rados(0, {"LUNAR_TEST_NO_BLOCKLIST": "1"})
        hand, luns = self.start_with_writes_in_hand()
        for number in range(3):  # the later writes of the load may hide all that the server has written
            running = self.stop_with_writes_in_hand(hand, luns, number)
            wait_until(lambda: self.is_up(1) or not running.is_running(), 60, "osd.1 to be up, or the load to end")
            with contextlib.suppress(load.LoadError):
                running.finish(expect=load.MISMATCH)
                print(f"found in round {number}", file=sys.stderr)
                return
        self.fail("what the server wrote was not found")


def main():
    global ROUNDS
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    arguments, rest = parser.parse_known_args()
    ROUNDS = arguments.rounds
    unittest.main(argv=[sys.argv[0], *rest])


if __name__ == "__main__":
    main()
