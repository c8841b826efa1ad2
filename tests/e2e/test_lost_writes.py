#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Unflushed writes: kept when a server crashes, reported as lost after a reboot."""

import json
import pathlib
import struct
import subprocess
import unittest

from lunar_e2e import LunarTestCase
from lunar_e2e.admin import admin_command
from lunar_e2e.env import program
from lunar_e2e.process import wait_until
from lunar_e2e.raw_initiator import RawInitiator

MIB = 1 << 20
MEDIUM_ERROR = 0x3
WRITE_ERROR = 0x0c
LOST = (MEDIUM_ERROR, WRITE_ERROR << 8)
MODE_SELECT_6, MODE_SENSE_6, START_STOP_UNIT = 0x15, 0x1a, 0x1b
CACHING_PAGE, WCE = 0x08, 0x04


class LostWritesCase(LunarTestCase):
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

    def wait_for_marks_to_go(self):
        """A flushed image stays marked until it has not been written for a while."""
        for osd in range(3):
            wait_until(lambda: not admin_command(self.cluster.admin_socket(osd), "unflushed")["marked_images"], 20,
                       f"osd.{osd} to forget the images that are flushed")


class LostWritesTest(LostWritesCase):
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
        self.wait_for_marks_to_go()
        self.crash(reboot=True)
        self.assert_good(self.sync())
        self.assert_holds(0x74)

    def test_reboot_just_after_a_flush_keeps_the_data_and_may_raise_a_false_alarm(self):
        self.write_everywhere(0x79)
        self.assert_good(self.sync())
        self.crash(reboot=True)
        if self.sync()["status"] != "GOOD":
            self.assert_good(self.sync())
        self.assert_holds(0x79)

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


class CacheTurnedOffTest(LostWritesCase):
    """Who turns the cache off sends no SYNCHRONIZE CACHE any more: what it had is flushed, or said to be lost."""

    def setUp(self):
        super().setUp()
        self.initiator = RawInitiator(self.lun.target)
        self.addCleanup(self.initiator.socket.close)
        self.assertIsNone(self.initiator.login())
        self.skip_unit_attentions()

    def skip_unit_attentions(self):
        while self.initiator.run(bytes(6)).status != 0:
            pass

    def caching_page(self):
        answer = self.initiator.run(struct.pack(">6B", MODE_SENSE_6, 0x08, CACHING_PAGE, 0, 255, 0), read_bytes=255)
        self.assertEqual(answer.status, 0)
        return answer.data[4:24]

    def turn(self, is_on):
        """By MODE SELECT: the sense, None if it is GOOD."""
        page = bytearray(self.caching_page())
        page[2] = page[2] & ~WCE | (WCE if is_on else 0)
        data = bytes(4) + bytes(page)
        answer = self.initiator.run(struct.pack(">6B", MODE_SELECT_6, 0x10, 0, 0, len(data), 0), data=data)
        self.assertEqual(answer.residual, 0 if answer.status == 0 else len(data))
        return answer.sense

    def turn_off_by_tgtadm(self):
        page = self.caching_page()
        values = [page[2] & ~WCE, *page[3:]]
        self.lun.update(mode_page=":".join(map(str, [CACHING_PAGE, 0, len(values), *values])))
        self.skip_unit_attentions()

    def stop(self, no_flush=False):
        return self.initiator.run(struct.pack(">6B", START_STOP_UNIT, 0, 0, 0, 4 if no_flush else 0, 0)).sense

    def write(self):
        return self.initiator.run(struct.pack(">BBIBHB", 0x2a, 0, 0, 0, 8, 0), data=bytes(4096)).sense

    def unflushed(self):
        return [image for osd in range(3)
                for image in admin_command(self.cluster.admin_socket(osd), "unflushed")["unflushed_images"]]

    def test_mode_select_makes_durable_what_was_written(self):
        self.write_everywhere(0x81)
        self.assertNotEqual(self.unflushed(), [])
        self.assertIsNone(self.turn(False))
        self.assertEqual(self.unflushed(), [])
        self.wait_for_marks_to_go()
        self.crash(reboot=True)
        self.assert_good(self.sync())
        self.assert_holds(0x81)

    def test_mode_select_tells_of_a_loss_until_it_was_told(self):
        self.write_everywhere(0x82)
        self.crash(reboot=True)
        self.assertEqual(self.turn(False), LOST)
        self.assertIsNone(self.turn(False))
        self.assertEqual(self.caching_page()[2] & WCE, 0)
        self.assertIsNone(self.write())
        self.assertEqual(self.unflushed(), [])
        self.assertIsNone(self.turn(True))
        self.assertIsNone(self.write())
        self.assertNotEqual(self.unflushed(), [])

    def test_tgtadm_makes_durable_what_was_written(self):
        self.write_everywhere(0x83)
        self.turn_off_by_tgtadm()
        wait_until(lambda: self.unflushed() == [], 30, "what was written to be durable")

    def test_the_next_write_tells_of_a_loss_after_tgtadm(self):
        self.write_everywhere(0x84)
        self.crash(reboot=True)
        self.turn_off_by_tgtadm()
        self.assertEqual(self.write(), LOST)
        self.assertIsNone(self.write())
        self.assert_good(self.sync())

    def test_stop_flushes_and_tells_of_a_loss(self):
        self.write_everywhere(0x85)
        self.assertIsNone(self.stop(no_flush=True))
        self.assertNotEqual(self.unflushed(), [])
        self.assertIsNone(self.stop())
        self.assertEqual(self.unflushed(), [])
        self.write_everywhere(0x86)
        self.crash(reboot=True)
        self.assertEqual(self.stop(), LOST)
        self.assertIsNone(self.stop())


class PrivateMountsTest(LunarTestCase):
    """A server on an ext4 of its own, in a new mount namespace at each start, as its unit makes one. Needs root."""

    def setUp(self):
        super().setUp()
        self.disk = self.folder / "disk"
        self.disk.mkdir()
        self.disk_image = self.folder / "disk.img"
        with open(self.disk_image, "wb") as file:
            file.truncate(128 << 20)
        subprocess.run([program("mkfs.ext4"), "-q", str(self.disk_image)], check=True)
        self.mount()
        self.addCleanup(subprocess.run, [program("umount"), "-l", str(self.disk)], check=False)
        self.start_lunar(num_osds=1, options={"osd_data": f"{self.disk}/osd.$id"},
                         wrapper=[program("unshare"), "--mount", "--propagation", "slave"])
        # tgtd has a mount namespace of its own, and with it the disk: it could not be unmounted.
        subprocess.run([program("nsenter"), "--mount", "--target", str(self.tgtd.process.pid), program("umount"),
                        str(self.disk)], check=True)
        lun = self.new_lun(size="16M", object_size="1M")
        source = self.folder / "source"
        source.write_bytes(b"\x78" * MIB)
        self.assert_good(self.command(lun.url, "write", **{"in": source}, lba=0, blocks=2048))
        self.sync = lambda: self.command(lun.url, "sync")
        self.before = self.runtime()

    def mount(self):
        subprocess.run([program("mount"), "-o", "loop", str(self.disk_image), str(self.disk)], check=True)

    def loop_devices(self):
        return subprocess.run([program("losetup"), "-n", "-j", str(self.disk_image)], check=True, text=True,
                              stdout=subprocess.PIPE).stdout

    def runtime(self):
        return json.loads((pathlib.Path(self.disk) / "osd.0" / "runtime.json").read_text())

    def test_a_server_that_is_killed_finds_the_page_cache_again(self):
        self.cluster.kill_osd(0)
        self.cluster.start_osd(0)
        self.assertEqual(self.runtime(), self.before)
        self.assert_good(self.sync())

    def test_what_happened_to_a_disk_that_was_unmounted_is_not_known(self):
        self.cluster.kill_osd(0)
        subprocess.run([program("umount"), str(self.disk)], check=True)
        # A mount namespace that somebody has made meanwhile has the disk too, as long as it is there.
        wait_until(lambda: not self.loop_devices(), 120, "the disk is unmounted everywhere")
        self.mount()
        self.cluster.start_osd(0)
        self.assertNotEqual(self.runtime()["superblock"], self.before["superblock"])
        self.assert_sense(self.sync(), MEDIUM_ERROR, WRITE_ERROR)
        self.assert_good(self.sync())


if __name__ == "__main__":
    unittest.main(verbosity=2)
