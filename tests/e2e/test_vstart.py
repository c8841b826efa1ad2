#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""lunar-vstart: makes, stops and starts a cluster, and gives a reason when it refuses."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import unittest

from lunar_e2e import TestCase, build_dir, wait_until
from lunar_e2e.env import built, child_environment

ROOT = pathlib.Path(__file__).resolve().parents[2]


class VstartTest(TestCase):
    def setUp(self):
        super().setUp()
        self.dir = self.folder / "v"
        self.addCleanup(self.vstart, "stop", check=False)

    def vstart(self, command, *options, check=True, directory=None):
        words = [ROOT / "tools" / "lunar-vstart", command, "--dir", directory or self.dir,
                 "--bin-dir", build_dir(), *options]
        result = subprocess.run([str(word) for word in words], text=True, capture_output=True,
                                timeout=300, check=False, env=child_environment())
        if check:
            self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        return result

    def refused(self, *arguments, **options):
        """The one sentence that it prints."""
        result = self.vstart(*arguments, check=False, **options)
        self.assertEqual(result.returncode, 1, result.stdout + result.stderr)
        (line,) = result.stderr.splitlines()
        self.assertTrue(line.startswith("lunar-vstart: "), line)
        return line

    def lunar(self, *words):
        done = subprocess.run([str(word) for word in
                               [built("lunar"), "-c", self.dir / "lunar.conf", *words]], text=True,
                              capture_output=True, timeout=120, check=False,
                              env=child_environment())
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout

    def pid(self, osd):
        return int((self.dir / "run" / f"osd.{osd}.pid").read_text().split()[0])

    def test_a_cluster_outlives_stop_and_start(self):
        said = self.vstart("start", "-n", "3", "--pg-num", "16").stdout
        self.assertIn(f"export LUNAR_CONF={self.dir}/lunar.conf", said)
        self.assertEqual((self.dir / "keyring").stat().st_mode & 0o777, 0o600)
        self.assertEqual(json.loads(self.lunar("--format", "json", "status"))["num_up_osds"], 3)
        pool = json.loads(self.lunar("--format", "json", "pool", "get", "rbd"))
        self.assertEqual((pool["pg_num"], len(pool["osds"])), (16, 3))
        self.lunar("create", "rbd/disk1", "--size", "64M")
        self.assertEqual(self.vstart("status").stdout.count("up, process"), 3)

        self.vstart("stop")
        self.assertEqual(self.vstart("status", check=False).returncode, 1)
        self.vstart("start")
        self.assertEqual(self.lunar("ls", "rbd").split(), ["disk1"])
        self.vstart("stop", "--remove")
        self.assertFalse(self.dir.exists())

    def test_a_server_that_died_is_started_again_alone(self):
        self.vstart("start", "-n", "2")
        kept, lost = self.pid(0), self.pid(1)
        os.kill(lost, signal.SIGKILL)
        wait_until(lambda: self.vstart("status", check=False).returncode == 1, 30, "the death to show")
        self.vstart("start")
        self.assertEqual(self.pid(0), kept)
        self.assertNotEqual(self.pid(1), lost)
        self.assertEqual(self.vstart("status").returncode, 0)

    def test_a_mem_cluster_without_keys(self):
        self.vstart("start", "-n", "1", "--store", "mem", "--no-auth", "--pool", "fast")
        self.assertFalse((self.dir / "keyring").exists())
        self.assertEqual(self.lunar("pool", "ls").split(), ["fast"])

    def test_a_port_in_use_is_passed_over(self):
        with socket.socket() as taken:
            self.vstart("start", "-n", "1")
            port = json.loads((self.dir / "vstart.json").read_text())["ports"][0]
            self.vstart("stop")
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind(("127.0.0.1", port))
            taken.listen()
            self.vstart("start")
            self.assertNotEqual(json.loads((self.dir / "vstart.json").read_text())["ports"], [port])
            self.assertEqual(json.loads(self.lunar("--format", "json", "status"))["num_up_osds"], 1)

    def test_a_lost_store_is_told_and_the_others_are_kept(self):
        self.vstart("start", "-n", "3")
        self.lunar("create", "rbd/disk1", "--size", "64M")
        self.vstart("stop")
        for lost in (0, 1):
            aside = self.folder / "aside"
            (self.dir / f"osd.{lost}").rename(aside)
            self.assertIn(f"there is no store in {self.dir}/osd.{lost}", self.refused("start"))
            self.assertFalse((self.dir / f"osd.{lost}").exists())
            aside.rename(self.dir / f"osd.{lost}")
        self.vstart("start")
        self.assertEqual(self.lunar("ls", "rbd").split(), ["disk1"])

    def test_an_interrupted_first_start_is_begun_again(self):
        self.vstart("start", "-n", "2")
        self.vstart("stop")
        state = json.loads((self.dir / "vstart.json").read_text())
        self.assertTrue(state["has_stores"])
        # As if it had ended between the second store and the note that there are two.
        (self.dir / "vstart.json").write_text(json.dumps({**state, "has_stores": False}))
        self.vstart("start")
        self.assertEqual(json.loads(self.lunar("--format", "json", "status"))["num_up_osds"], 2)

    def test_a_mem_cluster_that_lost_one_server_keeps_the_others(self):
        self.vstart("start", "-n", "2", "--store", "mem", "--no-auth")
        kept, lost = self.pid(0), self.pid(1)
        os.kill(lost, signal.SIGKILL)
        wait_until(lambda: self.vstart("status", check=False).returncode == 1, 30, "the death to show")
        self.assertIn("osd.1 ended, and with it the objects", self.refused("start"))
        self.assertTrue(pathlib.Path("/proc", str(kept)).exists())
        self.vstart("stop")
        self.vstart("start")

    def test_removing_leaves_what_it_did_not_make(self):
        self.vstart("start", "-n", "1")
        (self.dir / "thesis.txt").write_text("mine")
        self.assertIn("thesis.txt", self.vstart("stop", "--remove").stderr)
        self.assertEqual([entry.name for entry in self.dir.iterdir()], ["thesis.txt"])

    def test_only_its_own_processes_are_ended(self):
        self.vstart("start", "-n", "1")
        pid_file = self.dir / "run" / "osd.0.pid"
        pid, ticks = pid_file.read_text().split()
        with subprocess.Popen(["sleep", "300"]) as stranger:
            pid_file.write_text(f"{stranger.pid} {ticks}\n")  # as if the number were used again
            self.vstart("stop")
            self.assertIsNone(stranger.poll())
            stranger.kill()
        os.kill(int(pid), signal.SIGTERM)
        wait_until(lambda: not pathlib.Path("/proc", pid).exists(), 60, "the server to end")

    def test_what_it_refuses(self):
        self.dir.mkdir()
        (self.dir / "thesis.txt").write_text("mine")
        self.assertIn("is not empty (it has 'thesis.txt')", self.refused("start"))
        self.assertIn("there is no cluster in", self.refused("stop", "--remove"))
        self.assertEqual((self.dir / "thesis.txt").read_text(), "mine")
        self.assertIn("too long for the unix sockets",
                      self.refused("start", directory=self.folder / ("d" * 90)))

        other = self.folder / "w"
        self.addCleanup(self.vstart, "stop", check=False, directory=other)
        self.vstart("start", "-n", "1", directory=other)
        self.assertIn("was made with osds = 1", self.refused("start", "-n", "3", directory=other))
        self.assertIn("nonsense", self.refused("start", "-o", "debug_osd=nonsense", directory=self.folder / "x"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
