#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The harness itself, tested on Debian's own tgtd: it finds the faults that it must find."""

import signal
import sys
import time
import unittest

from lunar_e2e import HarnessError, LoadError, TestCase, TgtadmError, load

MIB = 1 << 20


class StockTgtdTest(TestCase):
    def setUp(self):
        super().setUp()
        self.tgtd = self.start_tgtd()
        self.target = self.tgtd.add_target()

    def add_disk(self, num_bytes=64 * MIB, thin=True):
        self.disk = self.sparse_file("disk", num_bytes)
        params = {"thin_provisioning": 1} if thin else None
        return self.target.add_lun("rdwr", self.disk, params=params)

    # -- the checker finds what it must

    def test_verify_passes_on_a_sound_disk(self):
        lun = self.add_disk()
        (report,) = self.verify(lun.url, bytes="64M", seed=1)
        self.assertEqual(report["verdict"], "clean")
        self.assertGreaterEqual(report["bytes_read"] + report["bytes_written"], 64 * MIB)
        self.assertGreater(report["ops"]["read"], 0)
        self.assertGreater(report["ops"]["write"], 0)
        self.assertGreater(report["bytes_read_back"], 0)

    def test_full_mix_passes_and_reports_what_tgt_refuses(self):
        lun = self.add_disk()
        (report,) = self.verify(lun.url, bytes="64M", mix="full", seed=2, require="unmap,write_same")
        for kind in ("unmap", "write_same", "sync"):
            self.assertGreater(report["ops"][kind], 0, kind)
        self.assertEqual(report["unsupported"], ["compare_and_write"])

    def test_missing_required_command_is_an_error(self):
        lun = self.add_disk()
        (report,) = self.verify(lun.url, bytes="64M", mix="full", seed=2,
                                require="compare_and_write", expect=load.UNSUPPORTED)
        self.assertIn("compare_and_write", report["problem"])

    def test_one_flipped_bit_is_found(self):
        lun = self.add_disk()
        state = self.folder / "state"
        self.verify(lun.url, bytes="16M", seed=3, read_percent=0, save_state=state)
        self.verify(lun.url, seed=3, load_state=state)
        at = self.a_written_byte()
        with open(self.disk, "r+b") as file:
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ 0x01]))
        (report,) = self.verify(lun.url, seed=3, load_state=state, expect=load.MISMATCH)
        self.assertIn(f"lba {at // 512}: expected generation", report["problem"])

    def test_lost_write_is_found(self):
        lun = self.add_disk()
        state = self.folder / "state"
        self.verify(lun.url, bytes="16M", seed=4, read_percent=0, save_state=state)
        at = self.a_written_byte() // 512 * 512
        with open(self.disk, "r+b") as file:
            file.seek(at)
            file.write(bytes(512))
        (report,) = self.verify(lun.url, seed=4, load_state=state, expect=load.MISMATCH)
        self.assertIn("got zeroes", report["problem"])

    def test_block_in_the_wrong_place_is_found(self):
        lun = self.add_disk()
        state = self.folder / "state"
        self.verify(lun.url, bytes="16M", seed=5, read_percent=0, save_state=state)
        at = self.a_written_byte() // 512 * 512
        with open(self.disk, "r+b") as file:
            file.seek(at)
            block = file.read(512)
            file.seek(0)
            file.write(block)
        (report,) = self.verify(lun.url, seed=5, load_state=state, expect=load.MISMATCH)
        self.assertIn(f"of lba {at // 512}", report["problem"])

    def a_written_byte(self):
        """The first place in the second half of the disk that is not zero."""
        data = self.disk.read_bytes()
        half = len(data) // 2
        return half + len(data[half:]) - len(data[half:].lstrip(b"\0"))

    def test_stale_disk_is_found_during_the_run(self):
        lun = self.add_disk()
        self.verify(lun.url, bytes="16M", seed=6, read_percent=0)
        (report,) = self.verify(lun.url, bytes="16M", seed=7, expect=load.MISMATCH)
        self.assertIn("another seed's", report["problem"])

    # -- several sessions, several LUNs, broken connections

    def test_several_sessions_and_luns_at_once(self):
        first = self.add_disk()
        second = self.target.add_lun("rdwr", self.sparse_file("disk2", 32 * MIB))
        reports = self.verify([first.url, second.url], bytes="24M", connections=2, seed=8)
        self.assertEqual([report["verdict"] for report in reports], ["clean", "clean"])

    def test_load_survives_a_killed_tgtd(self):
        lun = self.add_disk(256 * MIB)
        running = self.start_load("verify", lun.url, bytes="1G", mix="full", seed=9,
                                  retry_seconds=120, max_op="1M")
        while self.disk.stat().st_blocks == 0:  # until it has begun to write
            self.assertTrue(running.is_running())
            time.sleep(0.01)
        self.tgtd.kill()
        self.tgtd.start()
        self.target = self.tgtd.add_target()
        self.target.add_lun("rdwr", self.disk, params={"thin_provisioning": 1})
        (report,) = running.finish()
        self.assertEqual(report["verdict"], "clean")
        self.assertGreater(report["retries"].get("connection lost", 0), 0)

    def test_command_that_is_not_answered_is_aborted_and_ends_the_run(self):
        lun = self.add_disk()
        running = self.start_load("verify", lun.url, bytes="4G", seed=10, timeout=1,
                                  abort_timeout=1)
        while self.disk.stat().st_blocks == 0:
            self.assertTrue(running.is_running())
            time.sleep(0.01)
        self.tgtd.process.send(signal.SIGSTOP)
        try:
            (report,) = running.finish(timeout=120, expect=load.COMMAND_FAILED)
        finally:
            self.tgtd.process.send(signal.SIGCONT)
        self.assertIn("connection lost", report["problem"])

    def test_unreachable_target_is_an_error_at_once(self):
        lun = self.add_disk()
        self.tgtd.kill()
        with self.assertRaises(LoadError) as caught:
            self.verify(lun.url, bytes="1M")
        self.assertEqual(caught.exception.code, load.UNUSABLE)
        self.assertIn("cannot connect", str(caught.exception))
        self.tgtd.start()

    # -- single commands

    def test_commands_answer_with_status_sense_and_data(self):
        lun = self.add_disk()
        capacity = self.command(lun.url, "readcap")
        self.assertEqual(capacity["bytes"], 64 * MIB)
        self.assertTrue(capacity["thin"])
        self.assert_good(self.command(lun.url, "write", lba=3, blocks=2, pattern="0x5a"))
        out = self.folder / "out"
        answer = self.command(lun.url, "read", lba=2, blocks=4, out=out)
        self.assert_good(answer)
        self.assertEqual(out.read_bytes(), bytes(512) + b"\x5a" * 1024 + bytes(512))
        self.assert_sense(self.command(lun.url, "read", lba=1 << 40), 0x5, 0x21)
        self.assert_sense(self.command(lun.url, "caw", pattern="1", expect="zero"), 0x5, 0x20)
        self.assert_good(self.command(lun.url, "sync"))
        self.assert_good(self.command(lun.url, "unmap", lba=0, blocks=8))
        self.assertEqual(self.command(lun.url, "reset", "lun")["response"], 0)

    def test_eight_mebibyte_command_moves_every_byte(self):
        lun = self.add_disk()
        source, back = self.folder / "source", self.folder / "back"
        source.write_bytes(bytes(range(256)) * (8 * MIB // 256))
        self.assert_good(self.command(lun.url, "write", **{"in": source}, lba=5, blocks=16384))
        self.assert_good(self.command(lun.url, "read", lba=5, blocks=16384, out=back))
        self.assertEqual(back.read_bytes(), source.read_bytes())
        with open(self.disk, "rb") as file:
            file.seek(5 * 512)
            self.assertEqual(file.read(8 * MIB), source.read_bytes())

    # -- measuring

    def test_bench_measures_bs_null(self):
        lun = self.target.add_lun("null", "1024")
        for access in ("randread", "randwrite", "read", "write"):
            (report,) = self.bench(lun.url, access=access, size=4096, depth=32, ops=2000)
            self.assertEqual(report["ops"], 2000)
            self.assertGreater(report["iops"], 0)
            latency = report["latency_us"]
            self.assertGreater(latency["p50"], 0)
            self.assertLessEqual(latency["p50"], latency["p95"])
            self.assertLessEqual(latency["p95"], latency["p99"])
            self.assertLessEqual(latency["p99"], latency["max"])
            print(f"bs_null 4 KiB {access} depth 32: {report['iops']:.0f} IOPS, "
                  f"p50 {latency['p50']:.0f} us", file=sys.stderr)

    # -- tgtd

    def test_tgtadm_error_carries_tgtds_log(self):
        with self.assertRaises(TgtadmError) as caught:
            self.target.add_lun("rdwr", self.folder / "absent")
        self.assertIn("absent", caught.exception.log)

    def test_two_private_tgtds_do_not_meet(self):
        other = self.start_tgtd("other")
        self.assertNotEqual(other.port, self.tgtd.port)
        self.assertEqual(len(other.tgtadm("--lld", "iscsi", "--mode", "target", "--op", "show")), 0)


class CrashTest(TestCase):
    """A crash of tgtd fails the test, even if the test does not look."""

    def test_death_by_a_signal_is_reported_at_the_end(self):
        tgtd = self.start_tgtd()
        tgtd.process.send(signal.SIGABRT)
        tgtd.process.wait(60)
        with self.assertRaisesRegex(AssertionError, "tgtd died of SIGABRT"):
            tgtd.stop()

    def test_plugin_that_does_not_load_is_seen_in_the_log(self):
        broken = self.folder / "bs_broken.so"
        broken.write_bytes(b"not a library")
        tgtd = self.start_tgtd(plugins=[broken])
        self.assertIn("could not open backing-store module", tgtd.log().lower()
                      .replace("failed to dlopen", "could not open"))
        self.assertIn("bs_broken.so", tgtd.log())

    def test_program_that_was_not_built_is_named(self):
        from lunar_e2e.env import built
        with self.assertRaisesRegex(HarnessError, "no-such-program has not been built"):
            built("no-such-program")


if __name__ == "__main__":
    unittest.main(verbosity=2)
