#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""tools/dev/trace_excerpt.py on lines as babeltrace2 prints them."""

import pathlib
import sys
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools" / "dev"))
import trace_excerpt  # noqa: E402 (needs the path)

NAMES = {"10": "tgtd", "11": "osd.0"}


def line(nanoseconds, pid, event, fields):
    return (f"[1700000000.{nanoseconds:09d}] host {event}: {{ cpu_id = 1 }}, {{ vpid = {pid} }}, "
            f"{{ {fields} }}")


GATEWAY = [
    line(900, 10, "lunar_scsi:cmd_start", 'io_id = 0x6, lun = "a", opcode = 0x2A, bytes = 512'),
    line(1000, 10, "lunar_scsi:cmd_start", 'io_id = 0x7, lun = "a, b", opcode = 0x8A, bytes = 8192'),
    line(2000, 10, "lunar_gateway:io_split",
         'io_id = 0x7, reason = ( "object_boundary" : container = 1 ), extents = 2'),
    line(3000, 10, "lunar_gateway:extent_path", "io_id = 0x7, index = 0"),
    line(4000, 10, "lunar_objecter:op_submit", "io_id = 0x7, tid = 3, osd = 0"),
    line(5000, 10, "lunar_gateway:extent_path", "io_id = 0x7, index = 1"),
    line(6000, 10, "lunar_objecter:op_submit", "io_id = 0x7, tid = 4, osd = 1"),
    line(90000, 10, "lunar_scsi:cmd_done", "io_id = 0x7, status = 0x0"),
]
SERVER = [line(8000, 11, "lunar_osd:op_received", "io_id = 0x7, tid = 3, bytes = 4096"),
          line(8500, 11, "lunar_osd:op_received", "io_id = 0x6, tid = 9, bytes = 512")]


class TraceExcerptTest(unittest.TestCase):
    def excerpt(self, lines):
        io = trace_excerpt.of_largest_command(trace_excerpt.read_events(lines))
        return trace_excerpt.excerpt(io, NAMES)

    def test_it_shows_the_largest_command_and_one_op_of_it_on_both_sides(self):
        text = "\n".join(self.excerpt(GATEWAY + SERVER))
        self.assertIn("8 events have io_id 0x7", text)
        self.assertRegex(text, r"1  tgtd +lunar_gateway:io_split +reason=object_boundary extents=2")
        self.assertRegex(text, r"7  osd\.0 +lunar_osd:op_received +bytes=4096")
        self.assertEqual(text.count("extent_path"), 2)
        self.assertEqual(text.count("op_submit"), 1)
        self.assertNotIn("bytes=512", text)

    def test_text_fields_may_hold_commas(self):
        self.assertIn("lun=a, b", "\n".join(self.excerpt(GATEWAY + SERVER)))

    def test_a_trace_without_the_server_is_refused(self):
        with self.assertRaisesRegex(ValueError, "no object server"):
            self.excerpt(GATEWAY)

    def test_other_lines_are_passed_over(self):
        self.assertEqual(trace_excerpt.read_events(["", "[warning] something"]), [])
        self.assertEqual(trace_excerpt.of_largest_command([]), [])


if __name__ == "__main__":
    unittest.main(verbosity=2)
