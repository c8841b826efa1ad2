#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks that classes stay small: docs/style.md, "Classes".

A class of the product has one header and is defined in at most two .cc files, and has neither more data members nor
more functions than the limits below. Functions are counted as declared; those of nested types are not.

  check_classes.py [--root DIR] [--table [CLASS...]]

--table prints members, functions and .cc files of the classes that are named, or of the fifty largest.
"""

import argparse
import collections
import os
import re
import sys

from check_coroutines import blank_comments_and_strings, matching
from check_names import in_product, line_of
from tracked import tracked

MAX_MEMBERS = 24
MAX_FUNCTIONS = 48
MAX_SOURCES = 2
# Classes that are larger, each with the reason.
LARGER = {
    "TraceReport": "a member for each table of the report; one pass over a trace fills all of them",
}
# What has hardly any function is a value, a set of options or of counters: it has a member for each thing to say.
FUNCTIONS_OF_A_VALUE = 3

CLASS = re.compile(r"\b(?:class|struct)\s+(?:\[\[\w+\]\]\s*)?(?:[A-Z_]+\([^)]*\)\s*)?(?P<name>[A-Z]\w*)\s*"
                   r"(?:final\s*)?(?::(?!:)[^;{}()]*)?\{")
ACCESS = re.compile(r"\b(?:public|private|protected)\s*$")
NO_ITEM = re.compile(r"(?:using|typedef|friend|static_assert|enum|class|struct|union|static constexpr)\b|#")
TEMPLATE_ARGUMENTS = re.compile(r"<(?:[^<>()]|\([^()]*\)|<(?:[^<>]|<[^<>]*>)*>)*>")
ANNOTATION = re.compile(r"\b(?:GUARDED_BY|REQUIRES|EXCLUDES|LUNAR_\w+)\s*\([^)]*\)")
# A member function's definition, at the beginning of a line.
DEFINITION = re.compile(r"^\S[^\n;{}()]*?\b(?P<name>[A-Z]\w*)(?:<[^<>]*>)?(?:::[A-Z]\w*)*::~?\w+\s*\(", re.MULTILINE)

ROOT = os.path.realpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))

ClassSize = collections.namedtuple("ClassSize", "name path line members functions sources")


def items_of(text, begin, end):
    """The declarations of a class body, without what is in braces behind a function's head."""
    at = start = begin
    while at < end:
        if text[at] in "([":
            at = matching(text, at)
        elif text[at] == "{":
            at = matching(text, at)
            behind = re.compile(r"\s*").match(text, at + 1).end()
            if text[behind:behind + 1] == ";":
                yield text[start:behind]
                at, start = behind, behind + 1
            elif text[behind:behind + 1] != ",":
                yield text[start:at + 1]
                start = at + 1
        elif text[at] == ";":
            yield text[start:at]
            start = at + 1
        elif text[at] == ":" and text[at + 1] != ":" and ACCESS.search(text, start, at):
            start = at + 1
        at += 1


def is_function(item):
    plain = ANNOTATION.sub("", TEMPLATE_ARGUMENTS.sub("", item))
    return "(" in (plain if "operator" in plain else re.split(r"[={]", plain, maxsplit=1)[0])


def sizes(root):
    """The classes of the product, as ClassSize."""
    texts = {}
    for path in tracked(root, "*.cc", "*.h"):
        full = os.path.join(root, path)
        if in_product(path) and os.path.isfile(full):
            with open(full, encoding="utf-8") as file:
                texts[path] = blank_comments_and_strings(file.read())
    sources = collections.defaultdict(set)
    for path, text in texts.items():
        if path.endswith(".cc"):
            for found in DEFINITION.finditer(text):
                sources[found.group("name")].add(path)
    for path, text in sorted(texts.items()):
        for found in CLASS.finditer(text):
            kinds = collections.Counter(
                is_function(item)
                for item in map(str.strip, items_of(text, found.end(), matching(text, found.end() - 1)))
                if item and not NO_ITEM.match(item))
            # Another folder's class may have the same name for a nested type of its own.
            name = found.group("name")
            own = sorted(source for source in sources[name] if source.split("/")[0] == path.split("/")[0])
            yield ClassSize(name, path, line_of(text, found.start()), kinds[False], kinds[True], own)


def findings(root):
    used = set()
    for size in sizes(root):
        over = [f"{count} {what}, at most {limit}" for count, what, limit in (
            (size.members if size.functions > FUNCTIONS_OF_A_VALUE else 0, "members", MAX_MEMBERS),
            (size.functions, "functions", MAX_FUNCTIONS),
            (len(size.sources), ".cc files", MAX_SOURCES)) if count > limit]
        if over and size.name in LARGER:
            used.add(size.name)
        elif over:
            yield f"{size.path}:{size.line}: class {size.name} has {'; '.join(over)}"
    for name in sorted(set(LARGER) - used if root == ROOT else ()):
        yield f"check_classes.py: LARGER has a row for {name}, which needs none"


def print_table(root, names):
    rows = [size for size in sizes(root) if not names or size.name in names]
    rows.sort(key=lambda size: -(size.members + size.functions))
    for size in rows if names else rows[:50]:
        print(f"{size.name:24} {size.members:3} members {size.functions:3} functions {len(size.sources)} .cc  "
              f"{size.path}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", default=ROOT)
    parser.add_argument("--table", nargs="*", metavar="CLASS")
    options = parser.parse_args()
    if options.table is not None:
        print_table(options.root, options.table)
        return 0
    found = list(findings(options.root))
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
