#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The path of a write in the top README: each file, function and trace event is where it says."""

import pathlib
import re
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROW = re.compile(r"^\| (\d+) \| `([^`]+)` \| `([^`]+)` \| (?:`(\w+):(\w+)`)? ?\|", re.MULTILINE)


def hops():
    """[(file, function, provider, event)], provider and event empty where there is none."""
    return [row[1:] for row in ROW.findall((ROOT / "README.md").read_text())]


def body_of(text, function):
    """The definition of a function that begins a line, to the brace that closes it; None if absent."""
    match = re.search(rf"^(?:[\w:<>*&]+ )*[*&]?{re.escape(function)}\([^;]*?\{{\n.*?^\}}", text,
                      re.MULTILINE | re.DOTALL)
    return match.group() if match else None


class ReadmePathTest(unittest.TestCase):
    def test_the_table_is_there(self):
        numbers = [int(row[0]) for row in ROW.findall((ROOT / "README.md").read_text())]
        self.assertEqual(numbers, list(range(1, len(numbers) + 1)))
        self.assertGreaterEqual(len(numbers), 12)

    def test_it_leads_from_the_plugin_to_the_store_and_back(self):
        files = [file for file, *_ in hops()]
        self.assertEqual(files[0], "bstore_plugin/bs_lunar.c")
        self.assertEqual(files[-1], "bstore_plugin/bs_lunar.c")
        self.assertTrue(any(file.startswith("osd/store/") for file in files))

    def test_each_function_is_defined_where_it_says_and_records_its_event(self):
        for file, function, provider, event in hops():
            with self.subTest(file=file, function=function):
                path = ROOT / file
                self.assertTrue(path.is_file(), f"{file} is not there")
                body = body_of(path.read_text(), function)
                self.assertIsNotNone(body, f"{function} is not defined in {file}")
                if event:
                    self.assertRegex(body, rf"LUNAR_TRACE\({provider}, {event},")


class FoldersTest(unittest.TestCase):
    def test_every_folder_of_the_map_has_a_readme(self):
        readme = (ROOT / "README.md").read_text()
        folders = re.findall(r"^\| `(\w+)/` \|", readme, re.MULTILINE)
        self.assertGreaterEqual(len(folders), 10)
        for folder in folders:
            with self.subTest(folder=folder):
                self.assertTrue((ROOT / folder / "README.md").is_file())

    def test_files_that_the_documents_name_are_there(self):
        for document in [ROOT / "README.md", *ROOT.glob("docs/*.md")]:
            for name in re.findall(r"`((?:[a-z_0-9]+/)+[\w.-]+\.\w+)`", document.read_text()):
                with self.subTest(document=document.name, name=name):
                    self.assertTrue((ROOT / name).is_file(), f"{name} is not there")


if __name__ == "__main__":
    unittest.main(verbosity=2)
