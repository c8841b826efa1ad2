#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What an IO of 4 KiB costs on the object path, gateway and server together, in counts that repeat.

    io_cost.py PROGRAM [--budget FILE] [--update]

Runs io_cost (one thread, time stands still) under callgrind. Counted per IO, at depth 1 and 32: instructions of our
own code, which is all that is linked into PROGRAM, inlined library code included; system calls; allocations. Fails
if one of them is more than 3 % above the figure in the budget, which is for g++ 12 and the release preset. --update
writes what was counted into the budget: for the commit that changes it, which says why.
"""

import argparse
import collections
import json
import pathlib
import re
import subprocess
import sys
import tempfile

MARGIN = 0.03
BUDGET = pathlib.Path(__file__).resolve().with_name("io_cost.json")
COUNTS = ("instructions", "system_calls", "allocations")
# Their instructions depend on the processor, and they are not ours: only how often they are called counts.
ALLOCATORS = re.compile(r"(malloc|calloc|realloc|memalign|posix_memalign|aligned_alloc)$")
MARK = "sys_getppid"


def read_dump(path, program):
    """(what triggered the dump, own instructions, allocations) of a file of callgrind's.

    Lines of costs follow the function ("fn=") and the object ("ob=") that they are of; the one behind "calls=" is the
    cost of what was called, which is counted there. Names are given once, then by number.
    """
    names = {}
    own = allocations = 0
    trigger = None
    is_own = is_call = False

    def name_of(text):
        number, _, name = text.partition(" ")
        if name:
            names[number] = name
        return names[number]

    for line in path.read_text().splitlines():
        key, is_assignment, value = line.partition("=")
        if line.startswith("desc: Trigger:"):
            trigger = line.rpartition(": ")[2]
        elif is_assignment and key == "ob":
            is_own = name_of("ob" + value) == str(program)
        elif is_assignment and key == "cob":
            name_of("ob" + value)
        elif is_assignment and key in ("fn", "cfn"):
            called = name_of("fn" + value)
        elif is_assignment and key == "calls":
            is_call = True
            if ALLOCATORS.match(called):
                allocations += int(value.split()[0])
        elif line[:1].isdigit() or line[:1] in "+-*":
            _, _, cost = line.partition(" ")
            if is_own and not is_call and cost:  # none if it is 0
                own += int(cost)
            is_call = False
    return trigger, own, allocations


def run_counted(program, folder):
    """(standard output of the program, its system calls between marks, in order)"""
    command = ["valgrind", "--tool=callgrind", "--trace-syscalls=yes", f"--log-file={folder}/log",
               f"--callgrind-out-file={folder}/out", str(program), str(folder)]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=600).stdout
    calls = [collections.Counter()]
    for name in re.findall(r"^SYSCALL\[.*?\) ?(sys_\w+)", (folder / "log").read_text(errors="replace"), re.MULTILINE):
        if name == MARK:
            calls.append(collections.Counter())
        else:
            calls[-1][name] += 1
    return output, calls[1::2]


def count(program):
    """workload -> counts per IO"""
    with tempfile.TemporaryDirectory(prefix="lunar-", dir="/tmp") as name:
        folder = pathlib.Path(name)
        output, calls = run_counted(program, folder)
        dumps = {}
        for path in folder.glob("out*"):
            trigger, instructions, allocations = read_dump(path, program)
            dumps[trigger] = instructions, allocations
    found = {}
    for line, made in zip(output.splitlines(), calls, strict=True):
        workload, _, ios = line.rpartition(" ")
        instructions, allocations = dumps[workload]
        found[workload] = {"instructions": round(instructions / int(ios), 1),
                           "system_calls": round(made.total() / int(ios), 3),
                           "allocations": round(allocations / int(ios), 2)}
        print(f"{workload:9}", *(f"{value:9} {kind.replace('_', ' ')}" for kind, value in found[workload].items()),
              dict(made.most_common(4)))
    return found


def risen(found, budget):
    """A sentence for each count that is above its budget."""
    return [f"{workload}: {found[workload][kind]} {kind.replace('_', ' ')} per IO, {allowed[kind]} are the budget"
            for workload, allowed in budget.items() for kind in COUNTS
            if found[workload][kind] > allowed[kind] * (1 + MARGIN)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("--budget", type=pathlib.Path, default=BUDGET)
    parser.add_argument("--update", action="store_true", help="write what is counted into the budget")
    options = parser.parse_args()
    found = count(options.program.resolve())
    if options.update:
        options.budget.write_text(json.dumps(found, indent=1) + "\n")
        return 0
    too_much = risen(found, json.loads(options.budget.read_text()))
    for sentence in too_much:
        print(f"io_cost.py: {sentence}", file=sys.stderr)
    if too_much:
        print("io_cost.py: take it out again, or run with --update and say in the commit what it is for",
              file=sys.stderr)
    return 1 if too_much else 0


if __name__ == "__main__":
    sys.exit(main())
