#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""LUNs whose objects are in RADOS: nothing that was acknowledged is lost, whatever dies."""

import datetime
import json
import signal
import subprocess
import time
import unittest

from lunar_e2e import free_port, wait_until
from lunar_e2e.ceph import CephTestCase
from lunar_e2e.env import built, child_environment

DATA_PROTECT, ABORTED_COMMAND, MISCOMPARE = 0x7, 0xb, 0xe
SPACE_ALLOCATION_FAILED = 0x27, 0x7
OP_TIMEOUT = 2  # seconds


class RadosTest(CephTestCase):
    def start_lunar(self, **options):
        super().start_lunar(options={"objecter_op_timeout": f"{OP_TIMEOUT}s"}, **options)

    def rados(self, *words):
        return self.ceph.rados("-p", self.rados_pool, "-N", "rbd", *words)

    def write(self, lun, pattern, lba=0, blocks=8):
        return self.command(lun.url, "write", lba=lba, blocks=blocks, pattern=pattern)

    def assert_holds(self, lun, pattern, lba=0, blocks=8):
        back = self.folder / "back"
        self.assert_good(self.command(lun.url, "read", lba=lba, blocks=blocks, out=back))
        self.assertEqual(back.read_bytes(), bytes([pattern]) * (blocks * 512))

    def test_every_kind_of_command_is_verified(self):
        self.start_lunar(num_osds=2)
        lun = self.new_lun(size="64M", object_size="1M")
        (report,) = self.verify(lun.url, mix="full", bytes="48M", seed=51, max_op="256K", depth=8)
        self.assertEqual(report["verdict"], "clean")
        self.assertEqual(report["failed_ops"], 0)

    def test_servers_killed_under_load_lose_nothing(self):
        self.start_lunar(num_osds=2)
        lun = self.new_lun(size="64M", object_size="1M")
        running = self.start_load("verify", lun.url, bytes="512M", seed=52, mix="rw", max_op="256K", depth=8,
                                  retry_seconds=120)
        for victim in (1, 0):  # 0 is the map authority
            self.wait_for_writes(running)
            self.cluster.restart_osd(victim)
        self.wait_for_writes(running)
        (report,) = running.finish(timeout=600)
        self.assertEqual(report["verdict"], "clean")
        self.assertEqual(report["failed_ops"], 0)

    def test_what_was_acknowledged_survives_a_reboot_of_every_server_without_a_flush(self):
        self.start_lunar(num_osds=1)
        lun = self.new_lun(size="16M", object_size="1M")
        self.assert_good(self.write(lun, "0x71"))
        self.cluster.kill_osd(0)
        record = self.cluster.store_folder(0) / "runtime.json"
        record.write_text(json.dumps({**json.loads(record.read_text()),
                                      "boot_id": "00000000-0000-0000-0000-000000000000"}))
        self.cluster.start_osd(0)
        self.assert_good(self.command(lun.url, "sync"))
        self.assert_holds(lun, 0x71)

    def test_the_client_of_a_killed_server_is_on_the_blocklist_before_the_next_one_serves(self):
        self.start_lunar(num_osds=1)
        client, cluster = (self.cluster.store_folder(0) / "rados_client").read_text().split("@")
        self.assertEqual(cluster, self.ceph.ceph("fsid").strip())
        self.assertNotIn(client, self.ceph.ceph("osd", "blocklist", "ls"))
        self.cluster.restart_osd(0)
        (entry,) = (line for line in self.ceph.ceph("osd", "blocklist", "ls").splitlines()
                    if client.split("/")[1] in line)
        until = datetime.datetime.strptime(entry.split()[1][:19], "%Y-%m-%dT%H:%M:%S")
        self.assertGreater(until, datetime.datetime.now() + datetime.timedelta(days=29))
        self.assertNotEqual((self.cluster.store_folder(0) / "rados_client").read_text().split("@")[0], client)

    def test_compare_and_write_compares_an_absent_object_as_zeroes(self):
        self.start_lunar(num_osds=1)
        lun = self.new_lun(size="16M", object_size="1M")
        self.assert_good(self.command(lun.url, "caw", "--expect", "zero", "--pattern", "0x11", lba=0))
        answer = self.command(lun.url, "caw", "--expect", "zero", "--pattern", "0x22", lba=0)
        self.assertEqual(answer["sense"]["key"], MISCOMPARE)
        self.assert_holds(lun, 0x11, blocks=1)
        self.assertTrue(self.rados("ls").split())

    def test_a_ceph_that_does_not_answer_is_a_server_that_is_away(self):
        self.start_lunar(num_osds=1)
        lun = self.new_lun(size="16M", object_size="1M")
        self.assert_good(self.write(lun, "0x41"))
        self.ceph.daemons["osd.0"].send(signal.SIGSTOP)
        try:
            started = time.monotonic()
            self.assert_sense(self.write(lun, "0x42"), ABORTED_COMMAND, 0)
            self.assertLess(time.monotonic() - started, 5 * OP_TIMEOUT)
        finally:
            self.ceph.daemons["osd.0"].send(signal.SIGCONT)
        wait_until(lambda: self.command(lun.url, "tur")["status"] == "GOOD", 60, "the LUN to be ready")
        wait_until(lambda: self.write(lun, "0x43")["status"] == "GOOD", 60, "a write to succeed")
        self.assert_holds(lun, 0x43)

    def test_a_server_starts_and_reads_when_ceph_is_full(self):
        self.start_lunar(num_osds=1)
        lun = self.new_lun(size="16M", object_size="1M")
        self.assert_good(self.write(lun, "0x51"))
        self.addCleanup(self.ceph.set_full, False)
        self.ceph.set_full(True)
        self.cluster.restart_osd(0)
        self.assert_holds(lun, 0x51)
        self.assert_sense(self.write(lun, "0x52", lba=1 << 14), DATA_PROTECT, *SPACE_ALLOCATION_FAILED)

    def test_a_start_without_ceph_may_succeed_later_and_one_without_its_conf_may_not(self):
        self.start_lunar(num_osds=1)
        self.cluster.kill_osd(0)
        nobody = self.folder / "nobody.conf"
        nobody.write_text(f"[global]\nmon_host = v2:127.0.0.1:{free_port('127.0.0.1')}\n"
                          "auth_client_required = none\nkeyring = /dev/null\n")
        for conf, status, reason in ((nobody, 3, "ceph --id admin status"),
                                     (self.folder / "none.conf", 2, "rados_conf")):
            with self.subTest(conf=conf.name):
                answer = subprocess.run([built("lunar-osd"), "-i", "0", "-c", self.cluster.conf, "-f",
                                         "--rados-conf", conf], text=True, capture_output=True, timeout=60,
                                        check=False, env=child_environment(self.cluster.environment()))
                self.assertEqual(answer.returncode, status, answer.stderr)
                self.assertIn(reason, answer.stderr)

    def test_a_place_that_cannot_be_used_is_refused_with_the_reason(self):
        self.start_lunar(num_osds=1)
        create = ("pool", "create", "other", "--store", "rados")
        for words, reason in (((), "rados_pool"),
                              (("--rados-pool", "nowhere"), "ceph osd pool ls"),
                              (("--rados-pool", self.rados_pool, "--rados-namespace", "rbd"), "namespace rbd")):
            with self.subTest(words=words):
                self.assertIn(reason, self.cluster.lunar_fails(*create, *words)[1])
        self.cluster.lunar(*create, "--rados-pool", self.rados_pool)
        self.cluster.lunar("pool", "rm", "other", "other", "--yes-i-really-really-mean-it")
        # What it had is still there, so that nobody else gets it by mistake.
        self.assertIn("other", self.cluster.lunar_fails(*create, "--rados-pool", self.rados_pool)[1])


if __name__ == "__main__":
    unittest.main()
