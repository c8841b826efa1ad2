#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks that a public header says what somebody from outside needs: comment : code is at least 0.6.

A public header is one in the root of a folder, and in the libraries inside one. Comment: lines that are comment, and
lines of code with one behind them. Code: the lines that are not empty and not comment, #include and #pragma among
them. The line of the licence counts as neither. The number is a floor, not an aim: what restates a name is no
comment.

  check_comments.py [--root DIR] [--all] [FILE...]    --all prints every public header with its ratio
"""

import argparse
import os
import sys

from tracked import tracked

LEAST = 0.6
FOLDERS = ("common", "tracing", "msgr", "objecter", "objecter/protocol", "objecter/cluster", "gateway",
           "bstore_plugin", "osd")
# path: why it need not reach the ratio.
PROVIDER = "macros of lttng-ust; tracing/README.md is the catalogue of their events"
BODIES = "most of it is bodies of inline functions; what a caller needs is said above the class"
EXEMPT = {
    **{f"tracing/lunar_{layer}_tp.h": PROVIDER for layer in ("gateway", "msgr", "objecter", "osd", "scsi")},
    "tracing/trace_enums.h": PROVIDER,
    **{f"common/{name}.h": BODIES for name in ("bytes", "coroutine_slot", "inline_function", "perf_counters",
                                               "run_in_time", "task", "unique_function")},
}  # fmt: skip


def is_public(path):
    return path.endswith(".h") and os.path.dirname(path) in FOLDERS and path not in EXEMPT


def ratio(text):
    """(lines of comment + lines of code with one behind them) / lines of code; of no code at all: infinite."""
    comment = trailing = code = 0
    in_block = False
    for line in text.split("\n"):
        line = line.strip()
        if not line or "SPDX-License-Identifier" in line:
            continue
        if in_block:
            comment += 1
            in_block = "*/" not in line
        elif line.startswith("//"):
            comment += 1
        elif line.startswith("/*"):
            comment += 1
            in_block = "*/" not in line
        else:
            code += 1
            trailing += "//" in line or "/*" in line
    return (comment + trailing) / code if code else float("inf")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", default=os.path.join(os.path.dirname(__file__), "..", ".."))
    parser.add_argument("--all", action="store_true", help="print every public header, the sparsest first")
    parser.add_argument("files", nargs="*", help="paths from the root; default: all tracked")
    args = parser.parse_args()
    ratios = {}
    for path in args.files or tracked(args.root, "*.h"):
        full = os.path.join(args.root, path)
        if (args.files or is_public(path)) and os.path.isfile(full):
            with open(full, encoding="utf-8") as source:
                ratios[path] = ratio(source.read())
    # Rounded as it is printed: 0.60 passes.
    bad = {path for path, value in ratios.items() if round(value, 2) < LEAST}
    for path, value in sorted(ratios.items(), key=lambda item: (item[1], item[0])):
        if args.all:
            print(f"{value:.2f}  {path}")
        elif path in bad:
            print(f"{path}:1: comment : code is {value:.2f}, a public header reaches {LEAST}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
