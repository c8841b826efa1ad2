#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The command-line tool as its users type it, and what an interruption leaves."""

import filecmp
import os
import pty
import signal
import subprocess
import unittest

from lunar_e2e import TestCase, wait_until
from lunar_e2e.env import built, child_environment

MIB = 1 << 20
SIGNALLED = 128


class CliTestCase(TestCase):
    def setUp(self):
        super().setUp()
        self.cluster = self.start_cluster()

    def start(self, *words, **options):
        """A command that goes on; it is ended with the test."""
        command = [str(word) for word in (built("lunar"), "-c", self.cluster.conf, *words)]
        running = subprocess.Popen(command, env=child_environment(self.cluster.environment()),
                                   stderr=subprocess.PIPE, **{"stdout": subprocess.PIPE, **options})
        def end():
            running.kill()
            running.communicate()
        self.addCleanup(end)
        return running

    def end_by(self, running, number):
        """Sends the signal; what the command has said on stdout and stderr after that."""
        running.send_signal(number)
        said, errors = running.communicate(timeout=60)
        self.assertEqual(running.returncode, SIGNALLED + number, errors)
        return (said or b"").decode(), errors.decode()

    def random_source(self, num_bytes):
        path = self.folder / "source"
        path.write_bytes(os.urandom(num_bytes))
        return path


class InterruptedTest(CliTestCase):
    def start_export(self):
        """One that has begun to write, and that a silent server keeps from its end."""
        self.cluster.lunar("import", self.random_source(64 * MIB), "rbd/a")
        header = self.cluster.lunar_json("info", "rbd/a")["id"] + ".header"
        needed = {self.cluster.lunar_json("osd", "map", "rbd", name)["osd"] for name in ("lunar_id.a", header)}
        silent = next(process for osd, process in self.cluster.osds.items() if osd not in needed)
        silent.send(signal.SIGSTOP)
        self.addCleanup(silent.send, signal.SIGCONT)
        folder = self.folder / "copies"
        folder.mkdir()
        running = self.start("export", "rbd/a", folder / "copy")
        wait_until(lambda: list(folder.iterdir()), 60, "the export to begin")
        return running, folder, silent

    def test_an_export_that_is_ended_leaves_no_file(self):
        running, folder, silent = self.start_export()
        running.send_signal(signal.SIGTERM)
        silent.send(signal.SIGCONT)
        _, errors = running.communicate(timeout=60)
        self.assertEqual(running.returncode, SIGNALLED + signal.SIGTERM, errors)
        self.assertIn("export interrupted by SIGTERM; no file was made", errors.decode())
        self.assertEqual(list(folder.iterdir()), [])

    def test_an_export_that_is_killed_leaves_nothing_that_looks_like_a_copy(self):
        running, folder, _ = self.start_export()
        running.kill()
        running.wait()
        (left,) = folder.iterdir()
        self.assertRegex(left.name, r"^copy\.partial-")

    def test_an_import_that_is_ended_leaves_no_image(self):
        running = self.start("import", "-", "rbd/a", "--size", "64M", stdin=subprocess.PIPE)
        running.stdin.write(bytes(MIB))
        running.stdin.flush()
        wait_until(lambda: self.cluster.lunar("ls", "rbd") == "a\n", 60, "the image")
        _, errors = self.end_by(running, signal.SIGINT)
        self.assertIn("import interrupted by SIGINT; no image was made", errors)
        self.assertEqual(self.cluster.lunar("ls", "rbd"), "")

    def test_a_bench_that_is_ended_reports_and_gives_up_its_lock(self):
        self.cluster.lunar("create", "rbd/a", "--size", "64M")
        running = self.start("bench", "rbd/a", "--io-type", "write", "--io-total", "1T")
        wait_until(lambda: self.cluster.lunar_json("lock", "ls", "rbd/a"), 60, "the lock")
        said, errors = self.end_by(running, signal.SIGTERM)
        self.assertIn("IOPS", said)
        self.assertIn("interrupted by SIGTERM", errors)
        self.assertEqual(self.cluster.lunar_json("lock", "ls", "rbd/a"), [])


class TransferTest(CliTestCase):
    def test_export_replaces_a_file_only_if_told(self):
        source = self.random_source(MIB)
        self.cluster.lunar("import", source, "rbd/a")
        there = self.folder / "there"
        there.write_text("mine")
        _, sentence = self.cluster.lunar_fails("export", "rbd/a", there)
        self.assertIn("--overwrite", sentence)
        self.assertEqual(there.read_text(), "mine")
        self.cluster.lunar("export", "rbd/a", there, "--overwrite")
        self.assertTrue(filecmp.cmp(source, there, shallow=False))

    def test_export_writes_to_a_named_pipe(self):
        source = self.random_source(MIB)
        self.cluster.lunar("import", source, "rbd/a")
        pipe = self.folder / "pipe"
        os.mkfifo(pipe)
        running = self.start("export", "rbd/a", pipe)
        read = subprocess.run(["cat", pipe], check=True, capture_output=True, timeout=60).stdout
        self.assertEqual(read, source.read_bytes())
        _, errors = running.communicate(timeout=60)
        self.assertEqual(running.returncode, 0, errors)

    def test_the_progress_of_a_sparse_import_ends_at_its_end(self):
        source = self.sparse_file("source", 64 * MIB)
        with open(source, "r+b") as file:
            file.write(os.urandom(4096))
        ours, theirs = pty.openpty()
        self.addCleanup(os.close, ours)
        command = [str(built("lunar")), "-c", str(self.cluster.conf), "import", str(source), "rbd/a"]
        subprocess.run(command, check=True, timeout=60, stderr=theirs,
                       env=child_environment(self.cluster.environment()))
        os.close(theirs)
        self.assertRegex(os.read(ours, 10000).decode(), r"importing 100%\s*$")


if __name__ == "__main__":
    unittest.main(verbosity=2)
