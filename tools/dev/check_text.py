#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks of plain text: the licence line of each source, paths or hosts of one machine, and long lines.

  check_text.py spdx|machine|columns [--root DIR] [FILE...]    without files: everything git tracks
"""

import argparse
import os
import re
import sys

from tracked import tracked

SOURCES = re.compile(r"(\.(h|c|cc|py|sh|cmake)|/?CMakeLists\.txt)$")
LICENCES = (("bstore_plugin/", "GPL-2.0-only"), ("", "LGPL-2.1-or-later"))
# Folders of build machines, and mirrors: setup takes those from the machine it runs on.
MACHINE = re.compile(
    r"(?<![\w.~}\])])/(?:work|farm|root)/|/tmp/[bkw]/|\b(?:deb|security|snapshot)[.]debian[.]org\b"
)
COLUMNS = 118
# A link cannot be cut; the texts of licences and drawings are not ours to lay out. record_test.py has lines as
# babeltrace2 prints them, page.html rules of style and markup, one to a line, the dashboard a query.
LINK = re.compile(r"\S*\s*\S*https?://\S+")
NO_COLUMNS = re.compile(r"^LICENSES/|\.svg$|^tests/tracing/record_test\.py$|^tracing/analysis/page\.html$"
                        r"|^packaging/monitoring/lunar-dashboard\.json$")


def check_spdx(path, text):
    """Yields (line, message)."""
    if not SOURCES.search(path):
        return
    lines = text.split("\n", 2)
    at = 1 if lines[0].startswith("#!") else 0
    licence = next(name for folder, name in LICENCES if path.startswith(folder))
    line = lines[at] if at < len(lines) else ""
    if not re.search(rf"SPDX-License-Identifier: {re.escape(licence)}(\s*\*/)?$", line):
        yield at + 1, f"expected 'SPDX-License-Identifier: {licence}' on this line"


def check_machine(path, text):
    """Yields (line, message)."""
    if path.startswith("LICENSES/"):
        return
    for number, line in enumerate(text.split("\n"), 1):
        found = MACHINE.search(line)
        if found:
            yield number, f"'{found.group()}' belongs to one machine"


def check_columns(path, text):
    """Yields (line, message)."""
    if NO_COLUMNS.search(path):
        return
    for number, line in enumerate(text.split("\n"), 1):
        if len(line) > COLUMNS and not LINK.fullmatch(line.strip()):
            yield number, f"{len(line)} columns; at most {COLUMNS}"


CHECKS = {"spdx": check_spdx, "machine": check_machine, "columns": check_columns}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("check", choices=CHECKS)
    parser.add_argument("--root", default=os.path.join(os.path.dirname(__file__), "..", ".."))
    parser.add_argument("files", nargs="*", help="paths from the root; default: all tracked")
    args = parser.parse_args()
    files = args.files or tracked(args.root)
    bad = 0
    for path in files:
        full = os.path.join(args.root, path)
        if not os.path.isfile(full):
            continue
        try:
            with open(full, encoding="utf-8") as source:
                text = source.read()
        except UnicodeDecodeError:
            continue  # pictures and the like
        for line, message in CHECKS[args.check](path, text):
            print(f"{path}:{line}: {message}")
            bad += 1
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
