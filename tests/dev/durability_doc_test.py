#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every test that docs/durability.md names exists, and every section of it names one."""

import pathlib
import re
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "durability.md"
NAME = re.compile(r"`(\w+Test(?:/\w+)?\.\w+)`")
SCRIPT = re.compile(r"`((?:tests|tools)/[\w./-]+\.(?:py|sh))`")


def tests_of_sources():
    """`Suite.Name` of every test in C++ and Python, as the document writes them."""
    found = set()
    for path in (ROOT / "tests").rglob("*_test.cc"):
        for suite, name in re.findall(r"^(?:TYPED_)?TEST(?:_F|_P)?\(\s*(\w+),\s*(\w+)\s*\)",
                                      path.read_text(), re.MULTILINE):
            found.add(f"{suite}.{name}")
    for path in (ROOT / "tests").rglob("*.py"):
        suite = None
        for line in path.read_text().splitlines():
            if begins := re.match(r"class (\w+)", line):
                suite = begins.group(1)
            elif method := re.match(r"    def (test_\w+)", line):
                found.add(f"{suite}.{method.group(1)}")
    return found


def missing(text, tests, exists):
    """What the text names and is not there."""
    names = [name for name in NAME.findall(text) if name not in tests]
    return names + [script for script in SCRIPT.findall(text) if not exists(script)]


def sections_without_tests(text):
    parts = re.split(r"^## (.*)$", text, flags=re.MULTILINE)[1:]
    return [title for title, body in zip(parts[::2], parts[1::2])
            if not NAME.search(body) and not SCRIPT.search(body)]


class DurabilityDocumentTest(unittest.TestCase):
    maxDiff = None

    def test_every_test_that_it_names_exists(self):
        self.assertEqual(missing(DOCUMENT.read_text(), tests_of_sources(), lambda path: (ROOT / path).is_file()),
                         [])

    def test_every_section_names_one(self):
        self.assertEqual(sections_without_tests(DOCUMENT.read_text()), [])

    def test_what_is_missing_is_found(self):
        text = "## One\n`AbcTest.Here` `AbcTest.Gone` `tests/gone.py`\n## Two\nnothing\n"
        self.assertEqual(missing(text, {"AbcTest.Here"}, lambda path: False), ["AbcTest.Gone", "tests/gone.py"])
        self.assertEqual(sections_without_tests(text), ["Two"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
