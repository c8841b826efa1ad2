#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Servers of pools in RADOS that die, or stand still: others take their place, and nothing is lost.

    test_rados_failover.py [--rounds N] [--planted]

--rounds N: how often a server is stopped with writes in its hands; 3
--planted: also without the blocklist, which the check has to find. What the server writes then is raced by its
           learning of the map, so that it may take another run.
"""

import argparse
import pathlib
import shutil
import signal
import sys
import tempfile
import threading
import time
import unittest

from lunar_e2e import LunarTestCase, admin_command, load, wait_until
from lunar_e2e.ceph import Ceph

MOST_STALL = 12  # seconds; also the time after which an op fails, so that no stall is longer without an error
ROUNDS = 3
PLANTED = False


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


class RadosFailoverTest(LunarTestCase):
    @classmethod
    def setUpClass(cls):
        folder = pathlib.Path(tempfile.mkdtemp(prefix="ceph-", dir="/tmp"))
        cls.addClassCleanup(shutil.rmtree, folder, ignore_errors=True)
        cls.ceph = Ceph(folder / "c", pools=())
        cls.addClassCleanup(cls.ceph.stop)
        cls.ceph.start()

    def setUp(self):
        super().setUp()
        rados_pool = "p-" + self.folder.name
        self.ceph.create_pool(rados_pool)
        self.start_lunar(num_osds=3, store="rados", ceph=self.ceph, rados_pool=rados_pool,
                         options={"objecter_op_timeout": f"{MOST_STALL}s",
                                  # One that stood still for longer drops its links before it reads what they brought.
                                  "ms_keepalive_timeout": "10m"})

    def start_writing(self, lun, **options):
        """No command of it may fail, and none is repeated."""
        running = self.start_load("verify", lun.url, mix="rw", depth=8, **options)
        self.wait_for_writes(running)
        return running

    def is_up(self, osd):
        (info,) = (each for each in self.cluster.lunar_json("osd", "dump")["osds"] if each["id"] == osd)
        return info["up"]

    def rados_client(self, osd):
        return (self.cluster.store_folder(osd) / "rados_client").read_text()

    def is_on_blocklist(self, client):
        return client.split("/")[1].rstrip("]") in self.ceph.ceph("osd", "blocklist", "ls")

    def assert_clean(self, running):
        (report,) = running.finish(timeout=600)
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

    def stop_with_writes_in_hand(self, lun, running, meanwhile=lambda client: None):
        """osd.1 stands still; all that it had got is written anew by its heirs, and overwritten; it goes on."""
        client = self.rados_client(1)
        stopped = self.cluster.osds[1]
        stopped.send(signal.SIGSTOP)
        try:
            wait_until(lambda: not self.is_up(1), 30, "osd.1 to be down")
            self.assertTrue(self.is_on_blocklist(client))
            self.wait_for_writes(running, 48 << 20)  # several times the image
            meanwhile(client)
        finally:
            stopped.send(signal.SIGCONT)
        return client

    def test_nothing_that_a_stopped_server_had_in_its_hands_is_written_and_it_comes_back(self):
        lun = self.new_lun(size="16M", object_size="1M")
        running = self.start_writing(lun, bytes=f"{ROUNDS * 640}M", seed=63, max_op="256K")
        pid = self.cluster.osds[1].pid
        for _ in range(ROUNDS):
            client = self.stop_with_writes_in_hand(lun, running)
            wait_until(lambda: self.is_up(1), 60, "osd.1 to be up again by itself")
            self.assertNotEqual(self.rados_client(1), client)
            self.wait_for_writes(running, 16 << 20)
        self.assertEqual(self.cluster.osds[1].pid, pid)
        self.assertTrue(self.cluster.osds[1].is_running())
        self.assertIn("starts anew", self.cluster.osds[1].log())
        self.assert_clean(running)

    def test_without_the_blocklist_the_check_finds_what_a_stopped_server_writes(self):
        """Shows that the test before can fail: its address is taken from the blocklist before it goes on."""
        if not PLANTED:
            self.skipTest("it is a race: only with --planted")
        lun = self.new_lun(size="16M", object_size="1M")
        running = self.start_writing(lun, bytes="4G", seed=64, max_op="256K")
        for _ in range(20):  # what it has in its hands is raced by its learning of the map
            self.stop_with_writes_in_hand(lun, running, meanwhile=self.take_from_blocklist)
            wait_until(lambda: not running.is_running() or self.is_up(1), 60, "osd.1 to be up, or the load to end")
            if not running.is_running():
                break
        with self.assertRaises(load.LoadError) as caught:
            running.kill()
            running.finish()
        self.assertEqual(caught.exception.code, load.MISMATCH)

    def take_from_blocklist(self, client):
        for line in self.ceph.ceph("osd", "blocklist", "ls").splitlines():
            if client.split("/")[1].rstrip("]") in line:
                self.ceph.ceph("osd", "blocklist", "rm", line.split()[0])
        self.assertFalse(self.is_on_blocklist(client))


def main():
    global ROUNDS, PLANTED
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--planted", action="store_true")
    arguments, rest = parser.parse_known_args()
    ROUNDS, PLANTED = arguments.rounds, arguments.planted
    unittest.main(argv=[sys.argv[0], *rest])


if __name__ == "__main__":
    main()
