#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Servers whose store is not the one that the map means: made anew, copied, put back; and the drill of
docs/operations.md after the authority's disk is lost."""

import shutil
import unittest

from lunar_e2e import TestCase, wait_until
from lunar_e2e.env import built
from lunar_e2e.process import Process, free_port

REFUSED = 4  # exit status
MIB = 1 << 20
IMAGE_BYTES = 8 * MIB


class StoreIdentityTest(TestCase):
    def start_with_images(self, num_osds, count=6):
        """A cluster with images whose content is known, and which of them are wholly on which server."""
        cluster = self.start_cluster(num_osds=num_osds, options={"objecter_op_timeout": "3s"})
        self.contents = {}
        for number in range(count):
            name = f"rbd/image{number}"
            path = self.folder / f"content{number}"
            path.write_bytes(bytes([number + 1]) * IMAGE_BYTES)
            cluster.lunar("import", path, name)
            self.contents[name] = path.read_bytes()
        return cluster

    def start_again(self, cluster, osd, *more):
        """A server that is not waited for."""
        words = [built("lunar-osd"), "-i", osd, "-c", cluster.conf, "-f", *more]
        process = Process(f"osd.{osd}.again", words, cluster.folder / f"osd.{osd}.again.log",
                          cluster.environment())
        self.addCleanup(lambda: process.is_running() and process.kill())
        return process

    def wait_for_refusal(self, process, text):
        wait_until(lambda: not process.is_running(), 60, "the server to be refused")
        self.assertIn(text, process.log())
        self.assertNotIn(" ready ", process.log())
        self.assertEqual(process.exit_code(), REFUSED, process.log())

    def read(self, cluster, name):
        """What `lunar export` gives: (exit status, bytes)."""
        path = self.folder / "exported"
        path.unlink(missing_ok=True)
        code, _, _ = cluster.try_lunar("--objecter-op-timeout", "3s", "export", name, path)
        return code, path.read_bytes() if path.exists() else b""

    def assert_never_wrong(self, cluster):
        """Each image reads as what was written, or fails. Returns how many were read."""
        good = 0
        for name, content in self.contents.items():
            code, got = self.read(cluster, name)
            if code == 0:
                self.assertEqual(got, content, name)
                good += 1
        return good

    def test_a_store_made_anew_serves_nothing(self):
        cluster = self.start_with_images(2)
        for osd in (1, 0):
            cluster.osds[osd].stop()
        shutil.rmtree(cluster.store_folder(1))
        cluster.make_store(1)
        anew = self.start_again(cluster, 1)
        wait_until(lambda: "listens on" in anew.log(), 60, "osd.1 to listen")
        code, _ = self.read(cluster, "rbd/image0")
        self.assertNotEqual(code, 0, "without the authority nobody knows whose store it is")
        cluster.start_osd(0)
        self.wait_for_refusal(anew, "lunar osd replace 1")
        self.assertLess(self.assert_never_wrong(cluster), len(self.contents))

    def test_a_copied_store_takes_no_turns(self):
        cluster = self.start_with_images(2)
        cluster.osds[1].stop()
        copied = self.folder / "copied"
        shutil.copytree(cluster.store_folder(1), copied)
        cluster.start_osd(1)
        elsewhere = ["--osd-data", copied, "--public-addr", f"127.0.0.1:{free_port()}",
                     "--admin-socket", "", "--pid-file", ""]
        for _ in range(2):  # as often as a supervisor starts it
            self.wait_for_refusal(self.start_again(cluster, 1, *elsewhere), "a copy of store")
        self.assertEqual(self.assert_never_wrong(cluster), len(self.contents))
        cluster.osds[1].stop()
        self.wait_for_refusal(self.start_again(cluster, 1, *elsewhere), "a copy of store")
        cluster.start_osd(1)
        self.assertEqual(self.assert_never_wrong(cluster), len(self.contents))

    def test_servers_and_cluster_restart_as_before(self):
        cluster = self.start_with_images(3, count=2)
        for osd in (1, 0, 2):
            cluster.restart_osd(osd)
            self.assertEqual(self.assert_never_wrong(cluster), len(self.contents))
        cluster.stop()
        for osd in range(3):
            cluster.start_osd(osd)
        self.assertEqual(self.assert_never_wrong(cluster), len(self.contents))

    def test_a_lost_store_is_replaced_in_so_many_words(self):
        cluster = self.start_with_images(2)
        cluster.osds[1].stop()
        shutil.rmtree(cluster.store_folder(1))
        cluster.make_store(1)
        (node,) = [each for each in cluster.lunar_json("osd", "tree")["nodes"] if each["id"] == 1]
        refused = self.start_again(cluster, 1)
        self.wait_for_refusal(refused, node["store"])
        store = refused.log().split("lunar osd replace 1 ")[1].split()[0]
        _, said = cluster.lunar_fails("osd", "replace", "1", store)
        self.assertIn("gives up every object", said)
        cluster.lunar("osd", "replace", "1", store, "--yes-i-really-mean-it")
        cluster.start_osd(1)
        self.assertLess(self.assert_never_wrong(cluster), len(self.contents))
        cluster.lunar("pool", "create", "second")
        cluster.lunar("create", "second/image", "--size", "64M")
        self.assertEqual(self.read(cluster, "second/image")[0], 0)

    def test_the_map_is_restored_after_the_loss_of_the_authority(self):
        """The drill. The pool whose objects are all on the healthy servers is whole afterwards."""
        cluster = self.start_cluster(num_osds=3, pools=(), options={"objecter_op_timeout": "3s"})
        cluster.lunar("pool", "create", "rbd", "--osds", "1,2")
        cluster.lunar("pool", "create", "all")
        content = bytes(range(256)) * (IMAGE_BYTES // 256)
        self.contents = {}
        for pool in ("rbd", "all"):
            path = self.folder / "content"
            path.write_bytes(content)
            for number in range(4):
                cluster.lunar("import", path, f"{pool}/image{number}")
                self.contents[f"{pool}/image{number}"] = content
        backup = self.folder / "map.json"
        cluster.lunar("map", "backup", backup)
        cluster.restart_osd(2)  # the map goes on after the backup

        cluster.osds[0].kill()
        shutil.rmtree(cluster.store_folder(0))
        cluster.make_store(0)
        cluster.start_osd(0)
        _, said = cluster.lunar_fails("map", "restore", backup, "--yes-i-really-mean-it")
        self.assertIn("--osd-lost 0", said)
        for osd in (1, 2):
            self.assertTrue(cluster.osds[osd].is_running(), cluster.osds[osd].log_tail())
        cluster.lunar("map", "restore", backup, "--osd-lost", "0", "--yes-i-really-mean-it")
        wait_until(lambda: cluster.lunar_json("status")["num_up_osds"] == 3, 60, "all to be up")

        names = [name for name in self.contents if name.startswith("rbd/")]
        for name in names:
            self.assertEqual(self.read(cluster, name), (0, content))
        self.assert_never_wrong(cluster)
        for osd in (0, 1, 2):
            cluster.restart_osd(osd)
        for name in names:
            self.assertEqual(self.read(cluster, name), (0, content))

    def test_pools_made_after_the_backup_are_kept(self):
        """The newest backup is older than a pool; the map that a server has is found later."""
        cluster = self.start_cluster(num_osds=3, pools=(), options={"objecter_op_timeout": "3s"})
        backup, newer = self.folder / "map.json", self.folder / "newer.json"
        cluster.lunar("map", "backup", backup)
        cluster.lunar("pool", "create", "rbd", "--osds", "1,2")
        content = bytes(range(256)) * (IMAGE_BYTES // 256)
        path = self.folder / "content"
        path.write_bytes(content)
        cluster.lunar("import", path, "rbd/image")

        cluster.osds[0].kill()
        cluster.lunar("map", "backup", newer, "--any-server")
        shutil.rmtree(cluster.store_folder(0))
        cluster.make_store(0)
        cluster.start_osd(0)

        def restore(file, *more):
            cluster.lunar("map", "restore", file, *more, "--yes-i-really-mean-it")
            wait_until(lambda: cluster.lunar_json("status")["num_up_osds"] == 3, 60, "all to be up")
        restore(backup, "--osd-lost", "0")
        self.assertEqual(cluster.lunar_json("pool", "ls"), [])
        status = cluster.lunar_json("status")
        self.assertIn("purge-unknown", str(status["health_details"]))
        _, said = cluster.lunar_fails("map", "backup", newer)
        self.assertIn("knows pool rbd", said)
        _, said = cluster.lunar_fails("pool", "purge-unknown", "--yes-i-really-really-mean-it")
        self.assertIn(status["unknown_pools"], said)
        for osd in (1, 2):
            wait_until(lambda osd=osd: "does not know this pool" in cluster.osds[osd].log(), 20,
                       "the servers to say so")
            cluster.restart_osd(osd)
        restore(newer, "--osd-lost", "0")
        self.assertEqual(self.read(cluster, "rbd/image"), (0, content))

        ids = cluster.lunar_json("status")["unknown_pools"]
        cluster.lunar("pool", "purge-unknown", ids, "--yes-i-really-really-mean-it")
        self.assertEqual(cluster.lunar_json("status")["unknown_pools"], "")
        self.assertEqual(self.read(cluster, "rbd/image"), (0, content))

    def test_a_removed_pool_comes_back_only_in_so_many_words(self):
        cluster = self.start_cluster(num_osds=1)
        backup = self.folder / "map.json"
        cluster.lunar("map", "backup", backup)
        cluster.lunar("pool", "rm", "rbd", "rbd", "--yes-i-really-really-mean-it")
        words = ("map", "restore", backup, "--yes-i-really-mean-it")
        _, said = cluster.lunar_fails(*words)
        self.assertIn("--pool-removed rbd", said)
        cluster.lunar(*words, "--pool-removed", "rbd")
        self.assertEqual(cluster.lunar_json("pool", "ls"), ["rbd"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
