#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""tools/quickstart.sh with a finished build: it works, shows what it promises, and leaves nothing."""

import os
import pathlib
import re
import signal
import subprocess
import unittest

from lunar_e2e import TestCase, build_dir, wait_until
from lunar_e2e.env import child_environment

ROOT = pathlib.Path(__file__).resolve().parents[2]


class QuickstartTest(TestCase):
    def words(self, *options):
        return [str(ROOT / "tools" / "quickstart.sh"), *[str(option) for option in options]]

    def environment(self):
        return child_environment({"TMPDIR": str(self.folder), "LUNAR_QUICKSTART_BYTES": "32M"})

    def quickstart(self, *options, check=True):
        result = subprocess.run(self.words(*options), text=True, capture_output=True, timeout=500,
                                check=False, env=self.environment())
        if check:
            self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        return result

    def left_behind(self):
        """Folders of it, and processes that were started in one."""
        folders = list(self.folder.glob("lunar-quickstart.*"))
        mine = []
        for process in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                environ = (process / "environ").read_bytes()
            except OSError:
                continue
            if f"LTTNG_HOME={self.folder}/lunar-quickstart".encode() in environ:
                mine.append(process.name)
        return folders + mine

    def test_it_shows_what_it_promises_and_leaves_nothing(self):
        said = self.quickstart("--bin-dir", build_dir()).stdout
        self.assertIn("no mismatch", said)
        self.assertEqual(len(re.findall(r"IOPS .* MB/s", said)), 4)
        self.assertRegex(said, r"tgtd +lunar_gateway:io_split +reason=object_boundary extents=3")
        self.assertEqual(len(re.findall(r"lunar_gateway:extent_path", said)), 3)
        self.assertRegex(said, r"osd\.\d +lunar_osd:op_received")
        self.assertEqual(len(re.findall(r"lunar_gateway:extent_path .* path=one_sided reason=eligible", said)), 3)
        self.assertRegex(said, r"osd\.\d +lunar_osd:pull_done .* result=0")
        self.assertRegex(said, r"iscsiadm --mode node --targetname \S+ --portal \S+:\d+ --login")
        self.assertEqual(self.left_behind(), [])

    def test_keep_and_stop(self):
        said = self.quickstart("--bin-dir", build_dir(), "--keep", "--chap").stdout
        self.assertRegex(said, r"--name node.session.auth.password --value [0-9a-f]{12}")
        self.assertIn("no mismatch", said)
        (stop,) = re.findall(r"tools/quickstart.sh (--stop \S+)", said)
        self.assertNotEqual(self.left_behind(), [])
        self.quickstart(*stop.split())
        self.assertEqual(self.left_behind(), [])

    def test_an_interrupted_run_leaves_nothing(self):
        with subprocess.Popen(self.words("--bin-dir", build_dir()), text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, env=self.environment(),
                              start_new_session=True) as running:
            for line in running.stdout:
                if "Verified IO" in line:
                    break
            os.killpg(running.pid, signal.SIGINT)
            running.stdout.read()
            self.assertNotEqual(running.wait(120), 0)
        wait_until(lambda: not self.left_behind(), 30, "all of it to end")

    def test_a_run_that_fails_leaves_nothing(self):
        broken = self.folder / "broken"  # whose servers end at once
        for part in ("tools/lunar", "osd/lunar-osd", "bstore_plugin/bs_lunar.so",
                     "tests/e2e/iscsi_load/lunar-iscsi-load"):
            (broken / part).parent.mkdir(parents=True, exist_ok=True)
            (broken / part).symlink_to(build_dir() / part)
        (broken / "osd/lunar-osd").unlink()
        (broken / "osd/lunar-osd").symlink_to("/bin/false")
        result = self.quickstart("--bin-dir", broken, check=False)
        self.assertNotEqual(result.returncode, 0)
        self.assertIn("it did not work", result.stderr)
        self.assertEqual(self.left_behind(), [])

    def test_a_folder_of_somebody_else_is_not_removed(self):
        (self.folder / "quickstart").write_text("mine")
        result = self.quickstart("--stop", self.folder, check=False)
        self.assertIn("was not made by", result.stderr)
        self.assertEqual((self.folder / "quickstart").read_text(), "mine")

    def test_what_it_refuses(self):
        for options, sentence in ((["--nonsense"], "unknown argument '--nonsense'"),
                                  (["--bin-dir", self.folder], "tools/lunar: build it, or leave out"),
                                  (["--stop", self.folder], "was not made by"),
                                  (["--listen"], "needs a value")):
            with self.subTest(options=options):
                result = self.quickstart(*options, check=False)
                self.assertNotEqual(result.returncode, 0)
                self.assertIn(sentence, result.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
