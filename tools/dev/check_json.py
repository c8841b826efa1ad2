#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks that text becomes JSON in one place, common/json.cc, where its size and depth are bounded.

A call of the parser of nlohmann's library anywhere else in the product is a finding: parse, accept, sax_parse, the
binary formats, >> into a value, and the literals _json.

  check_json.py [--root DIR]
"""

import argparse
import os
import re
import sys

from check_coroutines import blank_comments_and_strings
from check_names import in_product, line_of
from tracked import tracked

THE_PLACE = "common/json.cc"
PARSERS = re.compile(
    r"\b(?:\w*[Jj]son|basic_json<[^;]*>)\s*::\s*(?:parse|accept|sax_parse|from_\w+)\s*\(|"
    r"\b(?:cin|stream|file|in|input)\s*>>\s*\w*[Jj]son\w*|\"_json(?:_pointer)?\b")


def findings(root):
    for path in tracked(root, "*.cc", "*.h"):
        if not in_product(path) or path == THE_PLACE or not os.path.exists(os.path.join(root, path)):
            continue
        with open(os.path.join(root, path), encoding="utf-8") as file:
            text = file.read()
        if "json" not in text:
            continue
        for found in PARSERS.finditer(blank_comments_and_strings(text)):
            yield f"{path}:{line_of(text, found.start())}: JSON is parsed past its bounds; call parse_json() of " \
                  "common/json.h"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
    found = list(findings(parser.parse_args().root))
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
