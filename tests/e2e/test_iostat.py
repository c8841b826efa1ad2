#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""`lunar iostat` and `iotop`: what all gateways do with images, as whoever has a key sees it."""

import errno
import json
import os
import pty
import re
import select
import signal
import subprocess
import time
import unittest

from lunar_e2e import LunarTestCase, wait_until
from lunar_e2e.env import built, child_environment
from lunar_e2e.process import Process


class IostatTest(LunarTestCase):
    def setUp(self):
        super().setUp()
        self.start_lunar(num_osds=2)
        self.lun = self.new_lun("rbd/disk", size="64M")

    def iostat(self, *words, timeout=60):
        """What it printed of each look, by image; and what it said on stderr."""
        code, said, errors = self.cluster.try_lunar("--format", "json", "iostat", "--interval", 1, *words,
                                                    timeout=timeout)
        self.assertEqual(code, 0, errors)
        looks, decoder = [], json.JSONDecoder()
        while said.strip():
            look, end = decoder.raw_decode(said.lstrip())
            said = said.lstrip()[end:]
            looks.append({each["image"]: each for each in look["images"]})
        return looks, errors

    def start_bench(self, image):
        """Another client, which writes until it is ended."""
        words = [built("lunar"), "-c", self.cluster.conf, "bench", image, "--io-type", "write", "--io-total", "1T",
                 "--io-size", "4096"]
        bench = Process("bench", words, self.folder / "bench.log", self.cluster.environment())
        self.addCleanup(bench.kill)
        wait_until(lambda: self.cluster.lunar_json("status", image), 60, "the bench to have the image open")
        return bench

    def test_it_shows_what_each_client_does_with_each_image(self):
        self.cluster.create_image("rbd/other", "64M")
        self.cluster.create_image("rbd/unused", "1M")
        bench = self.start_bench("rbd/other")
        load = self.start_load("verify", self.lun.url, bytes="1T", seed=1)
        self.wait_for_writes(load)
        (first, second), errors = self.iostat("rbd", "--iterations", 2)
        self.assertNotIn("does not say", errors)
        for look in (first, second):
            self.assertEqual(sorted(look), ["disk", "other"], "what nobody has open is not shown")
        disk, other = second["disk"], second["other"]
        for image in (disk, other):
            self.assertGreater(image["write_ops"], 0)
            self.assertGreater(image["write_bytes"], image["write_ops"] * 511)
            self.assertGreater(image["write_latency"], 1000, "nanoseconds")
        self.assertGreater(disk["read_ops"], 0, "the load reads back what it wrote")
        self.assertEqual((other["read_ops"], other["read_latency"]), (0, 0))
        self.assertAlmostEqual(other["write_bytes"], other["write_ops"] * 4096, delta=1)
        self.assertEqual([each["entity"] for each in disk["clients"]], ["client.admin"])
        self.assertIn("tgtd", disk["clients"][0]["instance"])
        bench.send(signal.SIGINT)
        bench.wait(60)

        looks, _ = self.iostat("rbd/disk", "--iterations", 1)
        self.assertEqual(list(looks[0]), ["disk"])
        said = self.cluster.lunar("iostat", "--interval", 1, "--iterations", 1)
        head, row = said.splitlines()[:2]
        self.assertEqual(head.split(), ["NAME", "WR", "RD", "WR_BYTES", "RD_BYTES", "WR_LAT", "RD_LAT"])
        self.assertRegex(row, r"^disk +\d+/s +\d+/s +[\d.]+ [KM]?i?B/s ")

    def test_it_agrees_with_the_gateways_own_counters(self):
        self.verify(self.lun.url, bytes="2M", seed=2)
        group = self.cluster.gateway_command("perf", "dump")["image.rbd/disk"]
        self.assertGreater(group["wr_bytes"], 1 << 20)
        self.assertEqual(group["wr"], group["wr_latency"]["avgcount"])
        looks, _ = self.iostat("rbd/disk", "--iterations", 1)
        self.assertEqual(looks[0]["disk"]["write_ops"], 0, "nothing since the first look")

    def test_a_gateway_that_hangs_is_said_and_not_waited_for(self):
        self.tgtd.process.send(signal.SIGSTOP)
        self.addCleanup(self.tgtd.process.send, signal.SIGCONT)
        began = time.monotonic()
        looks, errors = self.iostat("rbd", "--iterations", 1)
        self.assertLess(time.monotonic() - began, 15)
        self.assertIn("has image 'rbd/disk' open and does not say what it does", errors)
        self.assertEqual([each["answered"] for each in looks[0]["disk"]["clients"]], [False])
        self.tgtd.process.send(signal.SIGCONT)

    def test_a_server_that_is_gone_hides_its_images_and_no_others(self):
        names = [f"other-{i}" for i in range(8)]
        for name in names:
            self.cluster.create_image(f"rbd/{name}", "1M")
        words = [built("lunar"), "-c", self.cluster.conf, "--format", "json", "iostat", "--interval", "1"]
        log = self.folder / "iostat.log"
        iostat = Process("iostat", words, log, self.cluster.environment())
        self.addCleanup(iostat.kill)
        wait_until(lambda: log.read_text().count('"unanswered"') >= 1, 60, "iostat to look")
        self.cluster.kill_osd(1)
        wait_until(lambda: "do not answer (lunar status)" in log.read_text(), 30, "iostat to say what is missing")
        began, looks = time.monotonic(), log.read_text().count('"unanswered"')
        wait_until(lambda: log.read_text().count('"unanswered"') >= looks + 4, 60, "four more looks")
        self.assertLess(time.monotonic() - began, 20, "each waits for the server anew")
        said = re.findall(r"(\d+) images of pool 'rbd' are not shown", log.read_text())
        self.assertTrue(all(0 < int(each) < 9 for each in said), said)
        self.cluster.start_osd(1)
        wait_until(lambda: log.read_text().rstrip().endswith('"unanswered": []\n}'), 60, "all images to be back")
        iostat.send(signal.SIGINT)
        iostat.wait(30)

    def test_what_it_cannot_do_is_said(self):
        code, sentence = self.cluster.lunar_fails("iostat", "nothing", "--iterations", 1)
        self.assertEqual(code, errno.ENOENT, sentence)
        code, sentence = self.cluster.lunar_fails("iostat", "rbd/nothing", "--iterations", 1)
        self.assertEqual(code, errno.ENOENT, sentence)
        code, sentence = self.cluster.lunar_fails("iotop")
        self.assertEqual(code, errno.EINVAL, sentence)
        self.assertIn("lunar iostat", sentence)
        code, sentence = self.cluster.lunar_fails("iostat", "--sort-by", "colour")
        self.assertEqual(code, 64, sentence)

    def test_iotop_draws_on_a_terminal_until_it_is_ended(self):
        terminal, theirs = pty.openpty()
        self.addCleanup(os.close, terminal)
        with subprocess.Popen([str(built("lunar")), "-c", str(self.cluster.conf), "iotop", "--interval", "1"],
                              stdin=theirs, stdout=theirs, stderr=theirs,
                              env=child_environment(self.cluster.environment())) as iotop:
            self.addCleanup(iotop.kill)
            os.close(theirs)
            seen = b""
            while b"\ndisk " not in seen:
                ready, _, _ = select.select([terminal], [], [], 60)
                self.assertTrue(ready, seen)
                seen += os.read(terminal, 4096)
            iotop.send_signal(signal.SIGINT)
            self.assertEqual(iotop.wait(30), 0)
        self.assertIn(b"1 images of pool 'rbd' are open", seen)


if __name__ == "__main__":
    unittest.main(verbosity=2)
