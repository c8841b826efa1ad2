#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""check_tracepoints.py finds what a disabled tracepoint would cost, and lets values at hand through."""

import os
import subprocess
import sys
import unittest

DEV = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tools", "dev")
sys.path.insert(0, DEV)
sys.dont_write_bytecode = True

import check_tracepoints  # noqa: E402


def complaints(body):
    return [message for _, message in
            check_tracepoints.check_text("a.cc", "void f(const Op& op) {\n" + body + "\n}\n")]


class TracepointsTest(unittest.TestCase):
    def test_values_at_hand_pass(self):
        self.assertEqual(complaints("""
  LUNAR_TRACE(lunar_objecter, op_done, op.request.io_id, op->tid(), error.value(),
              static_cast<uint32_t>(frame.front.size()), uint8_t{kTraceWaitMap}, peer.c_str());"""), [])

    def test_making_text_is_found(self):
        for argument in ("peer.to_string().c_str()", "fmt::format(\"{}\", x).c_str()",
                         "std::string(name).c_str()", "count_of(op)"):
            with self.subTest(argument=argument):
                self.assertTrue(complaints(f"  LUNAR_TRACE(lunar_msgr, link_up, id_, {argument});"))

    def test_the_same_passes_under_enabled(self):
        self.assertEqual(complaints("""
  if (LUNAR_TRACE_ENABLED(lunar_msgr, link_up)) {
    const std::string text = peer.to_string();
    LUNAR_TRACE(lunar_msgr, link_up, id_, peer.to_string().c_str());
  }"""), [])

    def test_enabled_of_another_event_does_not_cover(self):
        (message,) = complaints("""
  if (LUNAR_TRACE_ENABLED(lunar_msgr, link_down)) {
    LUNAR_TRACE(lunar_msgr, link_up, id_, peer.to_string().c_str());
  }""")
        self.assertIn("another event", message)

    def test_a_local_computed_for_a_tracepoint_alone_is_found(self):
        (message,) = complaints("""
  const std::string text = peer.to_string();
  LUNAR_TRACE(lunar_msgr, link_up, id_, text.c_str());""")
        self.assertIn("'text' is computed (to_string)", message)

    def test_a_local_that_is_used_elsewhere_passes(self):
        self.assertEqual(complaints("""
  const std::string text = peer.to_string();
  LUNAR_TRACE(lunar_msgr, link_up, id_, text.c_str());
  log(text);"""), [])

    def test_arithmetic_for_a_tracepoint_passes(self):
        self.assertEqual(complaints("""
  const int64_t offset = static_cast<int64_t>(twice) / 2;
  LUNAR_TRACE(lunar_msgr, keepalive, id_, offset);"""), [])

    def test_comments_and_texts_are_not_calls(self):
        self.assertEqual(complaints("""
  LUNAR_TRACE(lunar_scsi, cmd_start, io_id_, image_ ? name : "none (yet)", 1 /* of(it) */);"""), [])

    def test_the_tree_follows_the_rule(self):
        done = subprocess.run([sys.executable, "-B", os.path.join(DEV, "check_tracepoints.py")],
                              capture_output=True, text=True, check=False)
        self.assertEqual((done.returncode, done.stdout), (0, ""))


if __name__ == "__main__":
    unittest.main(verbosity=2)
