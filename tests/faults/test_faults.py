#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A short form of run.py: a few rounds of every kind of fault, under the history checker."""

import pathlib
import random
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import faults  # noqa: E402  pylint: disable=wrong-import-position


class LoseBlocks(faults.Stand):
    """A server whose store comes back with zeroes: what the rounds must find."""

    def fault(self, choices, seconds):
        for osd in range(faults.NUM_OSDS):
            self.kill_server(osd)
            for path in self.cluster.store_folder(osd).rglob("*"):
                if path.is_file() and path.stat().st_size > faults.OBJECT_BYTES // 2:
                    with open(path, "r+b") as data:
                        data.write(bytes(path.stat().st_size))
            self.start_server(osd)


class FaultRoundsTest(unittest.TestCase):
    def run_rounds(self, kind, rounds=2):
        seed = random.SystemRandom().randrange(1 << 31)
        print(f"{kind}: seed {seed}", flush=True)
        faults.run_rounds(kind, rounds, seed, seconds=1)

    def test_kill_server(self):
        self.run_rounds("kill-server")

    def test_kill_tgtd(self):
        self.run_rounds("kill-tgtd")

    def test_kill_both(self):
        self.run_rounds("kill-both")

    def test_kill_gateway_of_two(self):
        self.run_rounds("kill-gateway-of-two", rounds=1)

    def test_take_over(self):
        self.run_rounds("take-over")

    def test_stop_server(self):
        self.run_rounds("stop-server", rounds=1)

    def test_load_that_is_over_before_the_fault_is_repeated(self):
        faults.run_rounds("kill-server", 1, 1, seconds=0.01)

    def test_blocks_that_vanish_are_found(self):
        with self.assertRaisesRegex(faults.FaultError, "unexplained read"):
            faults.run_rounds(LoseBlocks, 1, 1, seconds=1, keep=False, say=lambda _: None)


if __name__ == "__main__":
    unittest.main(verbosity=2)
