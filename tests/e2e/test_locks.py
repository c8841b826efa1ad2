#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""One writer at a time: who has an image, who is told, who takes over from whom."""

import collections
import concurrent.futures
import errno
import json
import os
import random
import re
import signal
import subprocess
import time
import unittest

from lunar_e2e import LunarTestCase, TestCase, TgtadmError, wait_until
from lunar_e2e.env import built, child_environment

NOT_READY = 2
LOCK_TIMEOUT = 2  # seconds
BLOCKS = 16


class LockTest(LunarTestCase):
    def setUp(self):
        super().setUp()
        self.start_lunar(options={"lunar_lock_timeout": f"{LOCK_TIMEOUT}s", "lunar_lun_open_wait": "30s"})
        self.lun = self.new_lun()

    def start_other(self):
        return self.start_tgtd("other", with_lunar=True, environment=self.cluster.environment())

    def write(self, lun, byte):
        source = self.folder / f"bytes-{byte}"
        source.write_bytes(bytes([byte]) * (BLOCKS * 512))
        return self.command(lun.url, "write", **{"in": source}, lba=0, blocks=BLOCKS)

    def content(self, lun):
        found = self.folder / "found"
        self.assert_good(self.command(lun.url, "read", out=found, lba=0, blocks=BLOCKS))
        return set(found.read_bytes())

    def holders(self):
        return self.cluster.lunar_json("lock", "ls", "rbd/image")

    # -- one tgtd

    def test_two_luns_of_one_image_are_closed_one_by_one(self):
        second = self.export("rbd/image")
        self.assertEqual(len(self.holders()), 2)
        self.lun.delete()
        wait_until(lambda: len(self.holders()) == 1, 30, "the first LUN to be closed")
        self.assert_good(self.write(second, 1))
        self.assertEqual(self.content(second), {1})

    def test_two_files_in_one_tgtd_do_not_fence_each_other(self):
        copy = self.folder / "copy.conf"
        copy.write_text(self.cluster.conf.read_text())
        self.cluster.create_image("rbd/other", "64M")
        other = self.export("rbd/other", bsopts=f"conf={copy}")
        self.assert_good(self.write(self.lun, 1))
        self.assert_good(self.write(other, 2))
        self.assert_good(self.write(self.lun, 3))
        self.assertEqual((self.content(self.lun), self.content(other)), ({3}, {2}))

    # -- two

    def test_a_second_tgtd_is_told_who_has_it_and_gets_it_after_that(self):
        (holder,) = self.holders()
        self.assertEqual((holder["lock"], holder["state"]), ("exclusive", "connected"))
        target = self.start_other().add_target()
        with self.assertRaises(TgtadmError) as refused:
            self.export("rbd/image", target)
        self.assertIn(holder["instance"], refused.exception.log)
        self.assertIn(holder["instance"], self.cluster.lunar("status", "rbd/image"))
        self.lun.delete()
        wait_until(lambda: not self.holders(), 30, "the LUN to be closed")
        self.assert_good(self.write(self.export("rbd/image", target), 1))

    def test_shared_luns_stand_beside_each_other(self):
        self.lun.delete()
        wait_until(lambda: not self.holders(), 30, "the LUN to be closed")
        first = self.export("rbd/image", bsopts="lock=shared")
        second = self.export("rbd/image", self.start_other().add_target(), bsopts="lock=shared")
        self.assert_good(self.write(first, 1))
        self.assertEqual(self.content(second), {1})

    def test_the_lock_of_a_killed_tgtd_is_taken_over_by_itself(self):
        self.assert_good(self.write(self.lun, 1))
        target = self.start_other().add_target()
        self.tgtd.kill()
        began = time.monotonic()
        later = self.export("rbd/image", target)
        took = time.monotonic() - began
        print(f"the lock of a killed tgtd was taken over after {took:.1f} s")
        self.assertLess(took, LOCK_TIMEOUT + 10)
        self.assertEqual(self.content(later), {1})
        self.assert_good(self.write(later, 2))
        (holder,) = self.holders()
        self.assertEqual(holder["state"], "connected")

    def test_one_that_hung_changes_nothing_when_it_goes_on(self):
        self.assert_good(self.write(self.lun, 1))
        target = self.start_other().add_target()
        self.tgtd.process.send(signal.SIGSTOP)
        try:
            later = self.export("rbd/image", target, bsopts="lock=takeover")
            self.assert_good(self.write(later, 2))
        finally:
            self.tgtd.process.send(signal.SIGCONT)
        self.assert_sense(self.write(self.lun, 3), NOT_READY, 0x04, 0x03)
        self.assert_sense(self.command(self.lun.url, "read", out=self.folder / "none", lba=0, blocks=BLOCKS),
                          NOT_READY, 0x04, 0x03)
        self.assertEqual(self.content(later), {2})

    def test_one_that_was_taken_over_comes_back_after_a_restart(self):
        target = self.start_other().add_target()
        later = self.export("rbd/image", target, bsopts="lock=takeover")
        self.assert_sense(self.write(self.lun, 3), NOT_READY, 0x04, 0x03)
        self.tgtd.kill()
        self.tgtd.start()
        self.target = self.tgtd.add_target()
        back = self.export("rbd/image", bsopts="lock=takeover")
        self.assert_good(self.write(back, 4))
        self.assert_sense(self.write(later, 5), NOT_READY, 0x04, 0x03)
        self.assertEqual(self.content(back), {4})

    def test_one_whose_clock_was_put_back_comes_back_at_once(self):
        (who,) = self.holders()
        self.tgtd.kill()
        tomorrow = int((time.time() + 86400) * 1e6)  # what a start of a clock that was ahead has left
        self.cluster.lunar("osd", "fence", who["entity"], who["instance"], tomorrow)
        self.tgtd.start()
        self.target = self.tgtd.add_target()
        back = self.export("rbd/image")
        self.assert_good(self.write(back, 6))
        self.assertEqual(self.content(back), {6})

    def test_one_that_an_operator_fenced_goes_on_when_it_is_let_in_again(self):
        (who,) = self.holders()
        self.assert_good(self.write(self.lun, 7))
        self.cluster.lunar("osd", "fence", who["entity"], who["instance"], who["nonce"])
        self.assert_sense(self.write(self.lun, 8), NOT_READY, 0x04, 0x03)
        self.cluster.lunar("osd", "unfence", who["entity"], who["instance"])
        wait_until(lambda: self.write(self.lun, 9)["status"] == "GOOD", 30, "the gateway to go on")
        self.assertEqual(self.content(self.lun), {9})

    def test_an_entity_that_is_fenced_is_out_with_its_later_starts_too(self):
        (who,) = self.holders()
        self.assert_good(self.write(self.lun, 10))
        for words in ((who["entity"],), (who["entity"], "", who["nonce"])):  # as of a variable that is not set
            code, sentence = self.cluster.lunar_fails("osd", "fence", *words)
            self.assertEqual((code, "--all" in sentence), (errno.EINVAL, True), sentence)
        code, sentence = self.cluster.lunar_fails("osd", "fence", who["entity"], "", who["nonce"], "--all")
        self.assertEqual((code, "a nonce is of one client" in sentence), (errno.EINVAL, True), sentence)
        self.assert_good(self.write(self.lun, 10))
        self.cluster.lunar("osd", "fence", who["entity"], "--all")
        self.assert_sense(self.write(self.lun, 11), NOT_READY, 0x04, 0x03)
        self.tgtd.kill()
        self.tgtd.start()
        self.target = self.tgtd.add_target()
        with self.assertRaises(TgtadmError):
            self.export("rbd/image", bsopts="lock=takeover")
        self.cluster.lunar("osd", "unfence", who["entity"], "--all")
        back = self.export("rbd/image", bsopts="lock=takeover")
        self.assertEqual(self.content(back), {10})
        self.assert_good(self.write(back, 12))

    # -- tools

    def test_a_bench_or_an_import_does_not_write_what_is_exported(self):
        for words in (("bench", "rbd/image", "--io-type", "write", "--overwrite"), ("rm", "rbd/image")):
            code, sentence = self.cluster.lunar_fails(*words)
            self.assertEqual(code, errno.EBUSY, sentence)
            self.assertIn("is open by", sentence)

    def assert_is_being_imported(self, image):
        """So nobody takes it for a whole one."""
        self.assertIn("being imported", self.cluster.lunar("info", image))
        for words in (("export", image, "-"), ("bench", image, "--io-type", "read"), ("mv", image, "other"),
                      ("resize", image, "--size", "128M")):
            code, sentence = self.cluster.lunar_fails(*words)
            self.assertEqual((code, "is being imported" in sentence), (errno.EBUSY, True), (words, sentence))

    def test_an_import_that_was_interrupted_leaves_an_image_that_can_be_removed(self):
        with subprocess.Popen([str(built("lunar")), "-c", str(self.cluster.conf), "import", "-", "rbd/cut",
                               "--size", "64M"], stdin=subprocess.PIPE,
                              env=child_environment(self.cluster.environment())) as importing:
            importing.stdin.write(os.urandom(1 << 20))
            importing.stdin.flush()
            wait_until(lambda: "cut" in self.cluster.lunar("ls", "rbd").split()
                       and self.cluster.lunar_json("info", "rbd/cut")["registrations"], 60, "the import")
            self.assert_is_being_imported("rbd/cut")
            importing.send_signal(signal.SIGKILL)
            importing.wait(30)
        self.assert_is_being_imported("rbd/cut")
        self.assertIn("half-imported:", self.cluster.try_lunar("scrub", "rbd/cut")[1])
        self.cluster.lunar("rm", "rbd/cut")
        self.assertNotIn("cut", self.cluster.lunar("ls", "rbd").split())

    def test_a_nonce_that_is_no_number_is_refused(self):
        code, sentence = self.cluster.lunar_fails("osd", "fence", "client.admin", "gone", "12x")
        self.assertEqual((code, "'12x' is not a nonce" in sentence), (errno.EINVAL, True), sentence)

    def test_what_is_no_entity_is_not_fenced(self):
        code, sentence = self.cluster.lunar_fails("osd", "fence", "nonsense", "--all")
        self.assertEqual((code, "'nonsense' is no entity" in sentence), (errno.EINVAL, True), sentence)

    def test_a_fence_that_fails_says_where(self):
        _, sentence = self.cluster.lunar_fails("osd", "fence", "client admin", "gone", 12)
        self.assertRegex(sentence, r"osd\.0(, osd\.\d)*: name the client")


class RaceTest(TestCase):
    """Many processes open, resize, rename, remove and make the same few images, and some of them are killed."""

    NAMES = ("rbd/a", "rbd/b", "rbd/c")
    ALLOWED = (0, errno.EBUSY, errno.ENOENT, errno.EEXIST, errno.EPERM)

    def setUp(self):
        super().setUp()
        self.cluster = self.start_cluster(options={"lunar_lock_timeout": "1s", "osd_client_watch_timeout": "2s"})
        self.failures = []
        self.counts = collections.Counter()

    def command(self, choices):
        name = choices.choice(self.NAMES)
        return choices.choice((
            ["create", name, "--size", "16M", "--object-size", "1M"],
            ["rm", name],
            ["mv", name, choices.choice(self.NAMES)],
            ["mv", name, choices.choice(self.NAMES)],
            ["resize", name, "--size", f"{choices.randint(1, 32)}M", "--allow-shrink"],
            ["bench", name, "--io-type", "write", "--io-total", "256K", "--io-size", "64K", "--overwrite"],
            ["bench", name, "--io-type", "read", "--io-total", "256K", "--io-size", "64K"],
            ["info", name]))

    def work(self, seed, until):
        choices = random.Random(seed)
        while time.monotonic() < until:
            words = self.command(choices)
            with subprocess.Popen([str(built("lunar")), "-c", str(self.cluster.conf), *words], text=True,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                  env=child_environment(self.cluster.environment())) as running:
                try:
                    if choices.random() < 0.15:
                        try:
                            running.wait(choices.uniform(0.02, 0.2))
                        except subprocess.TimeoutExpired:
                            running.kill()
                            running.wait(30)
                            self.counts["killed"] += 1
                            continue
                    _, said = running.communicate(timeout=100)
                except subprocess.TimeoutExpired:
                    running.kill()
                    said = "did not end"
                self.counts[words[0], running.returncode] += 1
                if running.returncode not in self.ALLOWED:
                    self.failures.append((words, running.returncode, said))

    def findings(self):
        code, said, errors = self.cluster.try_lunar("--format", "json", "scrub", "rbd")
        self.assertIn(code, (0, errno.EUCLEAN), errors)
        return [each["name"] for each in json.loads(said)["findings"]]

    def finish_renamings(self):
        """What a killed 'mv' has left: either of its names leads to the image, and the header says the rest."""
        for name in self.cluster.lunar("ls", "rbd").split():
            code, said, errors = self.cluster.try_lunar("--format", "json", "info", f"rbd/{name}")
            if code != 0:
                self.assertIn("no image", errors)
                continue
            header = json.loads(said)
            if header["state"] not in ("renaming", "renamed"):
                continue
            self.counts["half renamed"] += 1
            code, _, errors = self.cluster.try_lunar("mv", "rbd/" + header["name"], header["rename_to"])
            self.assertIn(code, (0, errno.EEXIST), errors)

    def assert_one_name_each(self):
        names = collections.defaultdict(list)
        for each in self.cluster.lunar_json("ls", "rbd"):
            names[each["id"]].append(each["name"])
        for image, (name, *others) in names.items():
            self.assertEqual(others, [], image)
            code, said, errors = self.cluster.try_lunar("--format", "json", "info", f"rbd/{name}")
            if code != 0:  # a removal has left its name
                self.assertIn("no image", errors)
                self.assertNotIn("left over", errors)
                continue
            header = json.loads(said)
            self.assertEqual((header["id"], header["name"]), (image, name))
        self.assertEqual([each for each in self.findings() if re.match("two-names|half-renamed|unnamed", each)], [])

    def test_no_image_is_lost_or_stuck(self):
        seed = random.randrange(1 << 31)
        seconds = float(os.environ.get("LUNAR_RACE_SECONDS", "15"))
        print(f"seed {seed}")
        until = time.monotonic() + seconds
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            for done in [pool.submit(self.work, seed + each, until) for each in range(8)]:
                done.result()
        print(dict(self.counts))
        self.assertEqual(self.failures, [])
        self.finish_renamings()
        self.assert_one_name_each()
        for name in self.cluster.lunar("ls", "rbd").split():
            code, _, errors = self.cluster.try_lunar("bench", f"rbd/{name}", "--io-type", "write",
                                                     "--io-total", "64K", "--io-size", "64K", "--overwrite")
            if code != 0:  # its removal was interrupted
                self.assertRegex(errors, "is being removed|no image")
            self.cluster.lunar("rm", f"rbd/{name}")
        self.assertEqual(self.cluster.lunar("ls", "rbd"), "")
        # What a killed 'create' leaves is a header without a name, and nothing else is left.
        self.assertEqual([each for each in self.findings() if not each.startswith("half-made:")], [])
        self.cluster.lunar("repair", "rbd", "--all")
        self.assertEqual(self.findings(), [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
