#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""io_cost.py: that it reads callgrind's files rightly, and when it fails."""

import pathlib
import tempfile
import unittest

import io_cost

DUMP = """# callgrind format
desc: Trigger: Client Request: write 1
events: Ir
ob=(1) /build/io_cost
fl=(1) a.cc
fn=(1) ours()
10 100
+2 20
+1 
cob=(2) /lib/libc.so.6
cfn=(2) malloc
calls=3 0
* 900
* 5
ob=(2)
fn=(2)
1 900
ob=(1)
fn=(3) also_ours()
cfn=(1)
calls=1 10
7 125
8 1
"""


class IoCostTest(unittest.TestCase):
    def test_own_instructions_and_allocations_are_read(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "out"
            path.write_text(DUMP)
            self.assertEqual(io_cost.read_dump(path, "/build/io_cost"), ("write 1", 126, 3))

    def test_more_than_the_margin_above_the_budget_is_told(self):
        budget = {"write 1": {"instructions": 1000, "system_calls": 5.0, "allocations": 10}}
        within = {"write 1": {"instructions": 1030, "system_calls": 5.15, "allocations": 9}}
        above = {"write 1": {"instructions": 1031, "system_calls": 5.16, "allocations": 11}}
        self.assertEqual(io_cost.risen(within, budget), [])
        self.assertEqual(io_cost.risen(above, budget), [
            "write 1: 1031 instructions per IO, 1000 are the budget",
            "write 1: 5.16 system calls per IO, 5.0 are the budget",
            "write 1: 11 allocations per IO, 10 are the budget"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
