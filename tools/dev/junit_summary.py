#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Counts what a ctest run says in its JUnit file: prints `PASSED FAILED`, then a line for each
failure. A test that was skipped, disabled or not run, in whole or in part, has failed: what a
machine lacks must be seen. With --said instead what those that failed have said last.

  junit_summary.py [--said] FILE
"""

import sys
import xml.etree.ElementTree as ElementTree

MAX_LINES = 40  # of what a test said
MAX_COLUMNS = 300
SKIPPED = "[  SKIPPED ]"  # GoogleTest, inside a test that passed


def summarise(text):
    """(passed, [why a test failed...]) of a JUnit document."""
    passed, failures = 0, []
    for case in ElementTree.fromstring(text).iter("testcase"):
        name, status = case.get("name"), case.get("status")
        output = "".join(out.text or "" for out in case.iter("system-out"))
        if status == "run" and case.find("failure") is None and case.find("skipped") is None:
            if SKIPPED in output:
                failures.append(f"{name} (skips some of its cases)")
            else:
                passed += 1
        elif status == "fail" or case.find("failure") is not None:
            failures.append(name)
        else:
            failures.append(f"{name} (was not run)")
    return passed, failures


def what_was_said(text):
    """Lines: the end of the output of each test of a JUnit document that failed."""
    lines = []
    for case in ElementTree.fromstring(text).iter("testcase"):
        if case.get("status") != "fail" and case.find("failure") is None:
            continue
        output = "".join(out.text or "" for out in case.iter("system-out")).splitlines()
        lines.append(f"{case.get('name')} said last:")
        lines.extend("  " + line[:MAX_COLUMNS] for line in output[-MAX_LINES:])
    return lines


def main():
    with open(sys.argv[-1], encoding="utf-8", errors="replace") as source:
        text = source.read()
    if "--said" in sys.argv:
        for line in what_was_said(text):
            print(line)
        return
    passed, failures = summarise(text)
    print(passed, len(failures))
    for failure in failures:
        print(f"  {failure}")


if __name__ == "__main__":
    main()
