#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A LUN on object servers as an initiator sees it: its properties, and every command."""

import os
import signal
import time
import unittest

from lunar_e2e import LunarTestCase, admin_command, load

KIB, MIB = 1 << 10, 1 << 20
ABORTED_COMMAND, ILLEGAL_REQUEST, MISCOMPARE = 0xb, 0x5, 0xe
MEDIUM_ERROR, HARDWARE_ERROR = 0x3, 0x4


class IdentityTest(LunarTestCase):
    def setUp(self):
        super().setUp()
        self.start_lunar()

    def designators(self, lun):
        return sorted(str(each) for each in self.command(lun.url, "vpd", "0x83")["designators"])

    def serial(self, lun):
        return self.command(lun.url, "vpd", "0x80")["serial"]

    def test_identity_follows_the_image_wherever_it_is_exported(self):
        self.bsopts = "lock=shared"
        first = self.new_lun("rbd/first", "64M")
        other_target = self.tgtd.add_target()
        second = self.new_lun("rbd/second", "64M", target=other_target)
        other_tgtd = self.start_tgtd("other", with_lunar=True,
                                     environment=self.cluster.environment())
        self.export("rbd/second", other_tgtd.add_target())  # other numbers than above
        again = self.export("rbd/first", other_tgtd.targets[0])

        uuid = self.cluster.lunar_json("info", "rbd/first")["uuid"]
        self.assertEqual(self.serial(first).strip(), uuid.replace("-", ""))
        self.assertEqual(self.serial(first), self.serial(again))
        self.assertEqual(self.designators(first), self.designators(again))
        self.assertNotEqual(self.serial(first), self.serial(second))
        self.assertFalse(set(self.designators(first)) & set(self.designators(second)))
        inquiry = self.command(first.url, "inquiry")
        self.assertEqual((inquiry["device_type"], inquiry["vendor"]), (0, "LUNAR"))

    def test_thin_provisioning_and_limits_are_advertised(self):
        lun = self.new_lun(size="64M", object_size="1M")
        capacity = self.command(lun.url, "readcap")
        self.assertEqual((capacity["bytes"], capacity["block_bytes"]), (64 * MIB, 512))
        self.assertTrue(capacity["thin"])
        self.assertTrue(capacity["unmapped_reads_zero"])
        provisioning = self.command(lun.url, "vpd", "0xb2")
        self.assertTrue(provisioning["unmap"])
        self.assertTrue(provisioning["write_same_unmap"])
        self.assertEqual(provisioning["provisioning_type"], 2)
        limits = self.command(lun.url, "vpd", "0xb0")
        self.assertEqual(limits["max_compare_and_write"], 255)
        self.assertEqual(limits["optimal_transfer"], MIB // 512)
        self.assertEqual(limits["max_unmap_lba_count"], (512 << 20) // 512)
        self.assertEqual(limits["max_write_same"], (1 << 30) // 512)
        self.assertGreaterEqual(limits["max_unmap_descriptors"], 1)

    def test_blocks_of_four_kibibytes(self):
        self.cluster.create_image("rbd/image", "64M")
        lun = self.export("rbd/image", blocksize=4096)
        capacity = self.command(lun.url, "readcap")
        self.assertEqual((capacity["bytes"], capacity["block_bytes"]), (64 * MIB, 4096))
        self.assert_good(self.command(lun.url, "write", lba=7, blocks=2, block_bytes=4096,
                                      pattern="0x77"))
        answer = self.command(lun.url, "read", lba=7, blocks=1, block_bytes=4096)
        self.assertEqual(answer["data"][:64], "77" * 32)

    def test_luns_and_targets_share_one_session_per_server(self):
        targets = [self.target, self.tgtd.add_target()]
        luns = [self.new_lun(f"rbd/image{n}", "64M", targets[n % 2], object_size="64K")
                for n in range(4)]
        self.verify([lun.url for lun in luns], bytes="8M", max_op="256K", seed=20)
        sessions = self.cluster.gateway_command("sessions")["sessions"]
        self.assertEqual(sorted(each["osd"] for each in sessions), [0, 1, 2])
        self.assertEqual({each["state"] for each in sessions}, {"open"})
        for osd in range(3):
            with self.subTest(osd=osd):
                known = admin_command(self.cluster.admin_socket(osd), "sessions")
                text = str(known)
                self.assertEqual(text.count("/tgtd."), 1, known)

    def test_lun_can_be_deleted_and_made_again(self):
        lun = self.new_lun(size="64M")
        self.assert_good(self.command(lun.url, "write", lba=0, blocks=1, pattern="0x11"))
        lun.delete()
        self.assertEqual(self.cluster.lunar_json("info", "rbd/image")["registrations"], [])
        lun = self.export("rbd/image")
        self.assertEqual(self.command(lun.url, "read", lba=0, blocks=1)["data"], "11" * 512)


class CommandTest(LunarTestCase):
    def setUp(self):
        super().setUp()
        self.start_lunar()
        self.lun = self.new_lun(size="64M", object_size="64K")

    def run_command(self, *words, **options):
        return self.command(self.lun.url, *words, **options)

    def read(self, lba, blocks=1):
        back = self.folder / "read"
        self.assert_good(self.run_command("read", lba=lba, blocks=blocks, out=back))
        return back.read_bytes()

    def test_what_was_never_written_reads_as_zeroes(self):
        self.assertEqual(self.read(1000, 2), bytes(1024))

    def test_eight_mebibytes_across_objects_come_back(self):
        source, back = self.folder / "source", self.folder / "back"
        source.write_bytes(os.urandom(8 * MIB))
        self.assert_good(self.run_command("write", **{"in": source}, lba=77, blocks=16384))
        self.assert_good(self.run_command("read", lba=77, blocks=16384, out=back))
        self.assertEqual(back.read_bytes(), source.read_bytes())
        self.assert_good(self.run_command("verify", **{"in": source}, lba=77, blocks=16384))

    def test_outside_the_disk_is_refused(self):
        for words in (("read",), ("write", "--pattern", "1"), ("unmap",), ("verify",),
                      ("writesame", "--pattern", "zero"), ("sync",), ("get-lba-status",)):
            with self.subTest(command=words[0]):
                answer = self.run_command(*words, lba=64 * MIB // 512, blocks=1)
                self.assert_sense(answer, ILLEGAL_REQUEST, 0x21)

    def test_write_same_and_unmap_leave_what_they_say(self):
        self.assert_good(self.run_command("writesame", lba=100, blocks=1000, pattern="0xab"))
        self.assertEqual(self.read(99, 2), bytes(512) + b"\xab" * 512)
        self.assertEqual(self.read(1099, 2), b"\xab" * 512 + bytes(512))
        self.assert_good(self.run_command("writesame", lba=100, blocks=10, pattern="zero",
                                          unmap_bit=True))
        self.assertEqual(self.read(109, 2), bytes(512) + b"\xab" * 512)
        self.assert_good(self.run_command("unmap", lba=101, blocks=900))
        self.assertEqual(self.read(1000, 2), bytes(512) + b"\xab" * 512)

    def test_commands_above_an_advertised_limit_are_refused(self):
        self.cluster.create_image("rbd/large", "4G")
        large = self.export("rbd/large").url
        over = (1 << 30) // 512 + 1
        answer = self.command(large, "writesame", lba=0, blocks=over, pattern="zero")
        self.assert_sense(answer, ILLEGAL_REQUEST, 0x24)
        over = (512 << 20) // 512 + 1
        self.assert_sense(self.command(large, "unmap", lba=0, blocks=over), ILLEGAL_REQUEST, 0x26)
        self.assert_good(self.command(large, "unmap", lba=0, blocks=over - 1))

    def test_compare_and_write_is_done_or_names_the_first_difference(self):
        self.assert_good(self.run_command("caw", lba=8, blocks=2, expect="zero", pattern="0x5a"))
        self.assertEqual(self.read(8, 2), b"\x5a" * 1024)
        self.assert_good(self.run_command("write", lba=9, blocks=1, pattern="0x77"))
        answer = self.run_command("caw", lba=8, blocks=2, expect="0x5a", pattern="1")
        self.assert_sense(answer, MISCOMPARE, 0x1d)
        self.assertEqual(answer["sense"]["information"], 512)
        self.assertEqual(self.read(8, 2), b"\x5a" * 512 + b"\x77" * 512)

    def test_compare_and_write_across_a_stripe_unit_is_refused(self):
        lba = 64 * KIB // 512 - 1
        answer = self.run_command("caw", lba=lba, blocks=2, expect="zero", pattern="1")
        self.assert_sense(answer, ILLEGAL_REQUEST, 0x24)

    def test_or_write_and_verify(self):
        self.assert_good(self.run_command("write", lba=5, blocks=2, pattern="0x50"))
        self.assert_good(self.run_command("orwrite", lba=5, blocks=1, pattern="0x0a"))
        self.assertEqual(self.read(5, 2), b"\x5a" * 512 + b"\x50" * 512)
        self.assert_good(self.run_command("verify", lba=5, blocks=1, pattern="0x5a"))
        answer = self.run_command("verify", lba=5, blocks=2, pattern="0x5a")
        self.assert_sense(answer, MISCOMPARE, 0x1d)

    def test_lba_status_tells_written_from_unwritten(self):
        self.assert_good(self.run_command("write", lba=256, blocks=128, pattern="1"))
        extents = self.run_command("get-lba-status", lba=0)["extents"]
        self.assertEqual(extents[0], {"lba": 0, "blocks": 256, "state": "deallocated"})
        self.assertEqual(extents[1], {"lba": 256, "blocks": 128, "state": "mapped"})
        self.assertEqual(extents[2]["state"], "deallocated")
        self.assert_good(self.run_command("unmap", lba=256, blocks=128))
        extents = self.run_command("get-lba-status", lba=256)["extents"]
        self.assertEqual(extents[0]["state"], "deallocated")

    def test_sync_fua_and_prefetch_end_well(self):
        self.assert_good(self.run_command("write", lba=1, blocks=3, pattern="9", fua=True))
        self.assert_good(self.run_command("sync"))
        self.assert_good(self.run_command("sync", lba=1, blocks=3))
        self.assert_good(self.run_command("prefetch", lba=1, blocks=3))
        self.assertEqual(self.read(1, 3), b"\x09" * 1536)


class MediumTest(LunarTestCase):
    def test_verify_without_data_finds_what_a_read_would(self):
        self.start_lunar(num_osds=1)
        lun = self.new_lun(size="64M", object_size="64K")
        blocks = 64 * KIB // 512  # of an object
        for number in range(3):
            self.assert_good(self.command(lun.url, "write", lba=number * blocks, blocks=blocks,
                                          pattern=hex(0xd0 + number)))
        self.assert_good(self.command(lun.url, "sync"))
        self.assert_good(self.command(lun.url, "verify", lba=0, blocks=3 * blocks))
        self.cluster.kill_osd(0)
        (damaged,) = [path for path in self.cluster.store_folder(0).rglob("*")
                      if path.is_file() and path.read_bytes() == b"\xd1" * (64 * KIB)]
        damaged.unlink()
        damaged.mkdir()  # what the store cannot read
        self.cluster.start_osd(0)
        for words in (["read"], ["verify"], ["verify", "--pattern", "0xd1"]):
            with self.subTest(command=words):
                answer = self.command(lun.url, *words, lba=blocks, blocks=1)
                self.assert_sense(answer, MEDIUM_ERROR, 0x11)
        self.assert_sense(self.command(lun.url, "verify", lba=0, blocks=64 * MIB // 512),
                          MEDIUM_ERROR, 0x11)  # the whole disk
        self.assert_good(self.command(lun.url, "verify", lba=0, blocks=blocks))
        self.assert_good(self.command(lun.url, "verify", lba=2 * blocks, blocks=500 * blocks))


class AbortTest(LunarTestCase):
    def test_compare_and_write_without_an_answer_is_not_to_be_repeated(self):
        self.start_lunar(num_osds=1, options={"objecter_op_timeout": "2s"})
        lun = self.new_lun(size="64M")
        self.assert_good(self.command(lun.url, "write", lba=0, blocks=1, pattern="1"))
        server = self.cluster.osds[0]
        server.send(signal.SIGSTOP)
        try:
            once = self.command(lun.url, "caw", lba=0, blocks=1, expect="1", pattern="2")
            again = self.command(lun.url, "write", lba=1, blocks=1, pattern="3")
        finally:
            server.send(signal.SIGCONT)
        self.assert_sense(once, HARDWARE_ERROR, 0x44)
        self.assert_sense(again, ABORTED_COMMAND, 0x00)
        self.assert_good(self.command(lun.url, "read", lba=0, blocks=1))


    def test_aborted_commands_end_long_before_the_op_timeout(self):
        self.start_lunar(num_osds=1, options={"objecter_op_timeout": "1h"})
        lun = self.new_lun(size="64M")
        self.assert_good(self.command(lun.url, "write", lba=0, blocks=1, pattern="1"))
        server = self.cluster.osds[0]
        server.send(signal.SIGSTOP)
        started = time.monotonic()
        running = self.start_load("verify", lun.url, bytes="64K", max_op="4K", timeout=3,
                                  abort_timeout=20, seed=21)
        try:
            (report,) = running.finish(timeout=100, expect=load.COMMAND_FAILED)
            took = time.monotonic() - started
        finally:
            server.send(signal.SIGCONT)
        self.assertIn("TASK ABORTED", report["problem"])  # tgtd said so, the connection is whole
        self.assertEqual(report["retries"], {})
        self.assertLess(took, 20)  # 3 s when nothing else runs
        self.assert_good(self.command(lun.url, "read", lba=0, blocks=1))

    def test_target_without_servers_can_be_removed(self):
        self.start_lunar(num_osds=1)
        lun = self.new_lun(size="64M")
        self.cluster.kill_osd(0)
        lun.delete()
        self.assertTrue(self.tgtd.is_running())


if __name__ == "__main__":
    unittest.main(verbosity=2)
