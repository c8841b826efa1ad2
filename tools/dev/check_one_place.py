#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks that what is to be done in one place is done nowhere else in the product.

  json    text becomes JSON in common/json.cc, where its size and depth are bounded: no other call of the parser of
          nlohmann's library (parse, accept, sax_parse, the binary formats, >> into a value, literals).
  printed tools print by print_visible() of common/visible_text.h, which lets no control character of a peer through.
  errors  an Error and an error_code become failures by failure() of common/result.h, never by tl::unexpected.

  check_one_place.py [--root DIR]
"""

import argparse
import os
import re
import sys

from check_coroutines import blank_comments_and_strings
from check_names import in_product, line_of
from tracked import tracked

# Where it is done, what doing it elsewhere looks like, and what to do instead.
RULES = (
    ("common/json.cc",
     re.compile(r"\b(?:\w*[Jj]son|basic_json<[^;]*>)\s*::\s*(?:parse|accept|sax_parse|from_\w+)\s*\(|"
                r">>\s*\w*[Jj]son\w*|\"_json(?:_pointer)?\b"),
     "JSON is parsed past its bounds; call parse_json() of common/json.h"),
    ("common/visible_text.cc",
     re.compile(r"\bstd\s*::\s*(?:v?f?printf|f?puts|cout|cerr)\b|\b(?:std|fmt)\s*::\s*print(?:ln)?\b"),
     "it is printed as it is; call print_visible() of common/visible_text.h"),
    # As the type of what a function returns it is no call; other errors are those of two private types.
    ("common/result.h",
     re.compile(r"\btl::(?:unexpected\s*(?:<\s*(?:lunar::)?(?:Error|std::error_code)\s*>\s*)?[({](?!UnmapListError)|"
                r"make_unexpected\s*\()"),
     "an error is made past failure() of common/result.h; call that"),
)


def findings(root):
    for path in tracked(root, "*.cc", "*.h"):
        if not in_product(path) or not os.path.exists(os.path.join(root, path)):
            continue
        with open(os.path.join(root, path), encoding="utf-8") as file:
            text = blank_comments_and_strings(file.read())
        for place, pattern, advice in RULES:
            if path != place:
                for found in pattern.finditer(text):
                    yield f"{path}:{line_of(text, found.start())}: {advice}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
    found = list(findings(parser.parse_args().root))
    print("\n".join(found), end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
