#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a recorded 8 MiB WRITE and READ over RDMA have to show, and the excerpt of it in README.md.

    one_sided_trace.py check REPORT.json WRITE.json READ.json    `lunar-trace report --json`, … --io ID
    one_sided_trace.py excerpt WRITE.txt [--compare README.md]   `lunar-trace report --io ID`
"""

import argparse
import difflib
import json
import pathlib
import re
import sys

EXTENTS, EXTENT_BYTES, FRAGMENT_BYTES = 2, 4 << 20, 512 << 10
LAST_FRAGMENT = EXTENT_BYTES // FRAGMENT_BYTES - 1
# Lines of the tree that the excerpt has; of the pulls only the first and the last.
SHOWN = re.compile(r"cmd_start|cmd_done|io_split|io_done|op tid=|op_received|store_submit|store_done|"
                   rf"pull (0|{LAST_FRAGMENT})_|op_replied|op_reply")
TREE_LINE = re.compile(r"\s*(?:[\d.]+|-)  \S+ +\S")
NUMBERS = [(r"^\s*(?:[\d.]+|-)  ", "T  "), (r"tgtd\[\d+\] *", "tgtd "), (r"osd\.\d+ *", "osd.N "),
           (r"tid=\d+", "tid=N"), (r"pg=\d+\.\d+", "pg=N"), (r" +$", "")]


# --- the excerpt

def excerpt(report):
    """Lines of a tree, with "..." where pulls were left out."""
    lines = []
    for line in report.splitlines():
        if not TREE_LINE.match(line):
            continue
        if SHOWN.search(line):
            lines.append(line.rstrip())
        elif re.search(r" pull \d+_", line) and lines[-1] != "...":
            lines.append("...")
    return lines


def normalised(lines):
    """Without times, ids and placement."""
    out = []
    for line in lines:
        for pattern, replacement in NUMBERS:
            line = re.sub(pattern, replacement, line.strip("\n"))
        out.append(line)
    return out


def excerpt_in(document):
    """The indented block of the document that shows a WRITE of 8 MiB."""
    for block in re.findall(r"(?:^    .*\n)+", document, re.MULTILINE):
        if "cmd_start WRITE" in block:
            return [line[4:] for line in block.splitlines()]
    raise ValueError("there is no block with a cmd_start in it")


def compare(ours, document):
    """How the document's excerpt differs from ours, as lines of a diff."""
    return list(difflib.unified_diff(normalised(excerpt_in(document)), normalised(ours), "document",
                                     "recorded", lineterm=""))


# --- what the trace has to show

def expect(condition, what):
    if not condition:
        raise ValueError(what)


def check_recording(report):
    expect(report["lost"]["events"] == 0, f"events were lost: {report['lost']}")
    expect(report["reconciliation"]["percent"] == 100, str(report["reconciliation"]))


def check_io(report, name, is_push):
    """All of one IO is joined by its io_id: command, split, extents, ops, what servers moved."""
    io = report["io"]
    expect(io["command"]["name"] == name and io["command"]["status"] == 0, str(io["command"]))
    image_io = io["ios"][0]
    expect((image_io["split"], image_io["extents"]) == ("object_boundary", EXTENTS), str(image_io))
    expect([(each["length"], each["path"], each["reason"]) for each in io["extents"]] ==
           [(EXTENT_BYTES, "one_sided", "eligible")] * EXTENTS, str(io["extents"]))
    ops = {op["tid"]: op for op in io["ops"]}
    expect(set(ops) == {each["tid"] for each in io["extents"]}, f"ops {sorted(ops)}")
    for op in ops.values():
        expect(op["result"] == 0 and len(op["attempts"]) == 1, str(op))
        check_attempt(op["attempts"][0], is_push)


def check_attempt(attempt, is_push):
    """Every fragment began and ended at the server, and then the gateway had its reply."""
    expect(attempt["delivery"] == ["one_sided", "eligible"], str(attempt))
    expect(attempt["server"] == f"osd.{attempt['osd']}", str(attempt))
    fragments = attempt["fragments"]
    expect(sum(each["bytes"] for each in fragments) == EXTENT_BYTES, str(fragments))
    for each in fragments:
        expect(each["push"] == is_push and each["result"] == 0 and "at" in each and "ns" in each,
               str(each))
    expect(attempt["result"] == 0, str(attempt))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)
    check = commands.add_parser("check")
    for name in ("report", "write", "read"):
        check.add_argument(name, type=pathlib.Path)
    shown = commands.add_parser("excerpt")
    shown.add_argument("tree", type=pathlib.Path)
    shown.add_argument("--compare", type=pathlib.Path)
    options = parser.parse_args()
    if options.command == "check":
        check_recording(json.loads(options.report.read_text()))
        check_io(json.loads(options.write.read_text()), "WRITE", is_push=False)
        check_io(json.loads(options.read.read_text()), "READ", is_push=True)
        return 0
    ours = excerpt(options.tree.read_text())
    print("\n".join(ours))
    difference = compare(ours, options.compare.read_text()) if options.compare else []
    for line in difference:
        print(line)
    return 1 if difference else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ValueError as error:
        sys.exit(f"not so: {error}")
