#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""check_comments.py finds a public header that says too little, and no other."""

import os
import subprocess
import sys
import tempfile
import unittest

DEV = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tools", "dev")
sys.path.insert(0, DEV)
sys.dont_write_bytecode = True

import check_comments  # noqa: E402

SPDX = "// SPDX-License-Identifier: LGPL-2.1-or-later\n"


class Ratio(unittest.TestCase):
    def test_lines_of_comment_and_behind_code_are_counted(self):
        self.assertEqual(check_comments.ratio(SPDX + "#pragma once\n\n// a\n/* b\n   c */\nint x;  // d\n"), 2.0)
        self.assertEqual(check_comments.ratio("int x;\nint y;\n"), 0)

    def test_the_licence_and_empty_lines_count_as_nothing(self):
        self.assertEqual(check_comments.ratio(SPDX + "\n\nint x;\n"), 0)


class Checker(unittest.TestCase):
    def run_on(self, *words, **files):
        with tempfile.TemporaryDirectory() as root:
            for name, text in files.items():
                path = os.path.join(root, name.replace("__", "/") + ".h")
                os.makedirs(os.path.dirname(path), exist_ok=True)
                with open(path, "w", encoding="utf-8") as out:
                    out.write(text)
            return subprocess.run([sys.executable, os.path.join(DEV, "check_comments.py"), "--root", root, *words],
                                  capture_output=True, text=True)

    def test_a_public_header_that_says_too_little_is_found(self):
        done = self.run_on(msgr__a="// a\nint x;\n", msgr__b="int x;\nint y;\n")
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stdout, "msgr/b.h:1: comment : code is 0.00, a public header reaches 0.6\n")

    def test_a_header_of_a_subfolder_is_private(self):
        self.assertEqual(self.run_on(msgr__wire__b="int x;\n").returncode, 0)
        self.assertEqual(self.run_on(objecter__protocol__b="int x;\n").returncode, 1)

    def test_all_prints_the_table(self):
        self.assertEqual(self.run_on("--all", msgr__a="// a\nint x;\n", osd__b="// a\n// b\nint x;\n").stdout,
                         "1.00  msgr/a.h\n2.00  osd/b.h\n")


if __name__ == "__main__":
    unittest.main()
