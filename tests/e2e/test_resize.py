#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""An image grows and shrinks under a connected initiator."""

import json
import unittest

from lunar_e2e import LunarTestCase, wait_until
from lunar_e2e.held_session import HeldSession

MIB = 1 << 20
GOOD, CHECK_CONDITION = 0, 2
UNIT_ATTENTION = 0x6
EPERM, BUSY = 1, 16


class ResizeTest(LunarTestCase):
    def setUp(self):
        super().setUp()
        self.start_lunar(options={"lunar_header_poll": "100ms"})
        self.lun = self.new_lun(size="64M", object_size="1M")

    def capacity(self):
        return self.command(self.lun.url, "readcap")["bytes"]

    def test_growth_is_seen_and_usable_under_load(self):
        running = self.start_load("verify", self.lun.url, bytes="256M", seed=41, span="64M")
        self.wait_for_writes(running)
        self.cluster.lunar("resize", "rbd/image", "--size", "128M")
        wait_until(lambda: self.capacity() == 128 * MIB, 60, "the new capacity")
        (report,) = running.finish()
        self.assertEqual(report["verdict"], "clean")
        last = 128 * MIB // 512 - 1
        self.assertEqual(self.command(self.lun.url, "read", lba=last)["data"], "00" * 512)
        self.assert_good(self.command(self.lun.url, "write", lba=last, pattern="0x42"))
        self.assertEqual(self.command(self.lun.url, "read", lba=last)["data"], "42" * 512)
        answer = self.command(self.lun.url, "read", lba=last + 1)
        self.assert_sense(answer, 0x5, 0x21)

    def test_connected_initiator_is_told_that_the_capacity_has_changed(self):
        with HeldSession(self.lun) as session:
            self.assertEqual(session.test_unit_ready()[0], GOOD)
            self.cluster.lunar("resize", "rbd/image", "--size", "128M")
            wait_until(lambda: self.capacity() == 128 * MIB, 60, "the new capacity")
            answer = session.test_unit_ready()
            self.assertEqual(answer, (CHECK_CONDITION, UNIT_ATTENTION, 0x2a09))
            self.assertEqual(session.test_unit_ready()[0], GOOD)

    def test_an_open_image_shrinks_and_grows_under_load(self):
        self.assert_good(self.command(self.lun.url, "write", lba=65536, blocks=2048, pattern="1"))
        code, sentence = self.cluster.lunar_fails("resize", "rbd/image", "--size", "32M")
        self.assertEqual(code, EPERM)
        self.assertIn("--allow-shrink", sentence)
        self.assertEqual(self.capacity(), 64 * MIB)
        running = self.start_load("verify", self.lun.url, bytes="64M", seed=42, span="16M")
        self.wait_for_writes(running)
        with HeldSession(self.lun) as session:
            self.assertEqual(session.test_unit_ready()[0], GOOD)
            self.cluster.lunar("resize", "rbd/image", "--size", "32M", "--allow-shrink")
            self.assertEqual(session.test_unit_ready(), (CHECK_CONDITION, UNIT_ATTENTION, 0x2a09))
        self.assertEqual(self.capacity(), 32 * MIB)
        self.assert_sense(self.command(self.lun.url, "write", lba=65536, pattern="2"), 0x5, 0x21)
        self.cluster.lunar("resize", "rbd/image", "--size", "64M")
        self.assertEqual(self.capacity(), 64 * MIB)
        answer = self.command(self.lun.url, "read", lba=65536, blocks=1)
        self.assertEqual(answer["data"], "00" * 512)  # what was cut off does not come back
        (report,) = running.finish()
        self.assertEqual(report["verdict"], "clean")

    def create_as_interrupted(self, **fields):
        """Makes rbd/other of 64 MiB, and changes its header in the store."""
        self.cluster.lunar("create", "rbd/other", "--size", "64M")
        header = self.cluster.lunar_json("info", "rbd/other")
        (path,) = [path for osd in range(3)
                   for path in self.cluster.store_folder(osd).glob(f"pool.*/*/*/o.{header['id']}.header")]
        osd = int(path.relative_to(self.cluster.folder).parts[0].split(".")[1])
        self.cluster.kill_osd(osd)
        header.update(format=3, **fields)
        path.write_text(json.dumps(header))
        self.cluster.start_osd(osd)

    def test_info_shows_a_shrink_that_was_interrupted(self):
        self.create_as_interrupted(state="shrinking", resize_to=32 * MIB)
        shown = self.cluster.lunar("info", "rbd/other")
        self.assertIn("shrinking      to 32 MiB", shown)
        self.assertIn(f"interrupted: finish it with 'lunar resize rbd/other --size {32 * MIB} --allow-shrink', or "
                      "give the old size to undo it", shown)
        self.cluster.lunar("resize", "rbd/other", "--size", "64M")
        self.assertEqual(self.cluster.lunar_json("info", "rbd/other")["state"], "ready")

    def test_info_shows_that_what_a_shrink_has_cut_is_gone(self):
        self.create_as_interrupted(state="shrinking", size=32 * MIB, resize_to=32 * MIB, trimmed_from=64 * MIB)
        self.assertIn(f"finish it with 'lunar resize rbd/other --size {32 * MIB}'; what was beyond is gone",
                      self.cluster.lunar("info", "rbd/other"))
        self.cluster.lunar("resize", "rbd/other", "--size", str(32 * MIB))
        self.assertEqual(self.cluster.lunar_json("info", "rbd/other")["state"], "ready")

    def test_a_write_bench_is_refused_while_open(self):
        words = ["bench", "rbd/image", "--io-type", "write", "--io-size", "4K", "--io-total", "64K"]
        for more in ([], ["--overwrite"]):
            code, sentence = self.cluster.lunar_fails(*words, *more)
            self.assertEqual(code, BUSY)
            self.assertIn("is open by client.admin", sentence)
        self.assertEqual(self.command(self.lun.url, "read", lba=0)["data"], "00" * 512)
        _, sentence = self.cluster.lunar_fails("pool", "rm", "rbd", "rbd", "--yes-i-really-really-mean-it")
        self.assertIn("image 'rbd/image' is open by client.admin", sentence)

    def test_removing_is_refused_while_open(self):
        code, sentence = self.cluster.lunar_fails("rm", "rbd/image")
        self.assertEqual(code, BUSY)
        self.assertIn("it is open by client.admin", sentence)
        self.assert_good(self.command(self.lun.url, "write", lba=0, pattern="1"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
