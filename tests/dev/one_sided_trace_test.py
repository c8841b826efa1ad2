#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""README.md's excerpt of an 8 MiB WRITE, as far as that can be said without a guest."""

import pathlib
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "vm" / "guest"))
import one_sided_trace  # noqa: E402 (needs the path)

README = (ROOT / "README.md").read_text()


class OneSidedTraceTest(unittest.TestCase):
    def setUp(self):
        self.shown = one_sided_trace.excerpt_in(README)

    def test_the_readme_shows_split_paths_pulls_and_replies(self):
        text = "\n".join(self.shown)
        for what in ("io_split object_boundary, 2 extents", "pull 0_start", "pull 7_done", "op_replied"):
            self.assertIn(what, text)
        self.assertEqual(text.count("one_sided: eligible"), 2)

    def test_times_and_ids_do_not_matter(self):
        other = "\n".join(self.shown)
        for old, new in (("osd.0", "osd.1"), ("tid=1", "tid=4"), ("tgtd[2", "tgtd[31")):
            self.assertIn(old, other)
            other = other.replace(old, new)
        other = [line.replace("   0.0 ", "  17.3 ") for line in other.splitlines()]
        self.assertEqual(one_sided_trace.compare(other, README), [])

    def test_another_path_is_a_difference(self):
        other = [line.replace("one_sided: eligible", "inline: no_key") for line in self.shown]
        self.assertNotEqual(one_sided_trace.compare(other, README), [])

    def test_a_lost_line_is_a_difference(self):
        other = [line for line in self.shown if "pull 0_done" not in line]
        self.assertNotEqual(one_sided_trace.compare(other, README), [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
