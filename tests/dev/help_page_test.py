#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Manual pages and the completion of bash, made from the help of a program that has a command with two names."""

import os
import subprocess
import sys
import tempfile
import unittest

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")

# As CLI11 does: a command that it does not know shows the help of the program itself.
PROGRAM = """#!/bin/sh
case $1 in
  mv) printf 'Give a thing another name\\n\\nUsage: tool mv [OPTIONS] name\\n' ;;
  *) printf 'tool - Things.\\nUsage: tool [OPTIONS] SUBCOMMAND\\n\\nSubcommands:\\n'
     printf '  mv, rename                  give a thing another name\\n'
     printf '  ls                          list the things\\n' ;;
esac
"""


class HelpPageTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.program = os.path.join(folder.name, "tool")
        with open(self.program, "w", encoding="utf-8") as file:
            file.write(PROGRAM.replace("  mv)", "  ls) printf 'List the things\\n' ;;\n  mv)"))
        os.chmod(self.program, 0o755)

    def test_a_command_with_two_names_is_asked_for_its_help_by_the_first(self):
        page = subprocess.run(
            [sys.executable, "-B", os.path.join(ROOT, "packaging", "man", "help_page.py"), "--page", "tool.1",
             "--version", "1", "--", self.program],
            text=True, capture_output=True, timeout=60, check=True).stdout
        self.assertIn('.SS "mv, rename"\nGive a thing another name', page)

    def test_both_names_are_completed(self):
        script = (f'. {ROOT}/packaging/completion/lunar; COMP_WORDS=({self.program} ""); COMP_CWORD=1; _lunar; '
                  'echo "${COMPREPLY[*]}"')
        words = subprocess.run(["bash", "-c", script], text=True, capture_output=True, timeout=60, check=True).stdout
        self.assertEqual(words.split(), ["mv", "rename", "ls"])


if __name__ == "__main__":
    unittest.main()
