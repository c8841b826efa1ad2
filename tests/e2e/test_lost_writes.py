#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Unflushed writes: kept when a server crashes, reported as lost after a reboot."""

import json
import unittest

from lunar_e2e import LunarTestCase

MIB = 1 << 20
MEDIUM_ERROR = 0x3
WRITE_ERROR = 0x0c


class LostWritesTest(LunarTestCase):
    def setUp(self):
        super().setUp()
        self.start_lunar(bsopts="lock=shared")
        self.lun = self.new_lun(size="64M", object_size="1M")

    def write_everywhere(self, pattern):
        """8 MiB over 8 objects and so, in all likelihood, over all servers."""
        source = self.folder / "source"
        source.write_bytes(bytes([pattern]) * (8 * MIB))
        self.assert_good(self.command(self.lun.url, "write", **{"in": source}, lba=0, blocks=16384))

    def assert_holds(self, pattern):
        back = self.folder / "back"
        self.assert_good(self.command(self.lun.url, "read", lba=0, blocks=16384, out=back))
        self.assertEqual(back.read_bytes(), bytes([pattern]) * (8 * MIB))

    def crash(self, reboot):
        """Every server dies by kill -9; with `reboot` the next ones find another boot id."""
        for osd in range(3):
            self.cluster.kill_osd(osd)
        for osd in range(3):
            record = self.cluster.store_folder(osd) / "runtime.json"
            runtime = json.loads(record.read_text())
            if reboot:
                runtime["boot_id"] = "00000000-0000-0000-0000-000000000000"
                record.write_text(json.dumps(runtime))
            self.cluster.start_osd(osd)

    def sync(self, lun=None):
        return self.command((lun or self.lun).url, "sync")

    def test_crashed_servers_keep_what_the_page_cache_has(self):
        self.write_everywhere(0x71)
        self.crash(reboot=False)
        self.assert_holds(0x71)
        self.assert_good(self.sync())

    def test_reboot_after_unflushed_writes_fails_one_flush(self):
        self.write_everywhere(0x72)
        self.crash(reboot=True)
        self.assert_sense(self.sync(), MEDIUM_ERROR, WRITE_ERROR)
        self.assert_good(self.sync())
        self.write_everywhere(0x73)
        self.assert_good(self.sync())

    def test_reboot_after_a_flush_loses_nothing(self):
        self.write_everywhere(0x74)
        self.assert_good(self.sync())
        self.crash(reboot=True)
        self.assert_good(self.sync())
        self.assert_holds(0x74)

    def test_only_the_written_image_is_concerned(self):
        other = self.new_lun("rbd/other", "64M")
        self.write_everywhere(0x75)
        self.crash(reboot=True)
        self.assert_good(self.sync(other))
        self.assert_sense(self.sync(), MEDIUM_ERROR, WRITE_ERROR)

    def test_a_gateway_that_comes_later_is_told_too(self):
        self.write_everywhere(0x76)
        self.crash(reboot=True)
        self.assert_sense(self.sync(), MEDIUM_ERROR, WRITE_ERROR)
        later = self.start_tgtd("later", with_lunar=True, environment=self.cluster.environment())
        lun = self.export("rbd/image", later.add_target())
        self.assert_sense(self.sync(lun), MEDIUM_ERROR, WRITE_ERROR)
        self.assert_good(self.sync(lun))

    def test_writes_through_are_never_lost(self):
        source = self.folder / "source"
        source.write_bytes(b"\x77" * (8 * MIB))
        self.assert_good(self.command(self.lun.url, "write", **{"in": source}, lba=0, blocks=16384,
                                      fua=True))
        self.crash(reboot=True)
        self.assert_good(self.sync())
        self.assert_holds(0x77)


if __name__ == "__main__":
    unittest.main(verbosity=2)
