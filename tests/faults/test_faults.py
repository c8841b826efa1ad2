#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A short form of run.py: a few rounds of every kind of fault, under the history checker."""

import pathlib
import random
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

import faults  # noqa: E402  pylint: disable=wrong-import-position


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

    def test_stop_server(self):
        self.run_rounds("stop-server", rounds=1)


if __name__ == "__main__":
    unittest.main(verbosity=2)
