#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Takes mends back, one at a time, and asks whether the simulator notices.

    tests/sim/mutate.py [--seeds N] [NAME...]
    tests/sim/mutate.py --check       whether each can still be applied, and names a script that is there

Each file tests/sim/mutations/NAME.patch undoes one mend. Its head says what has to be found, and under which faults:

    # finds: REGEX        one of the faults that the simulator names has to match
    # script: NAME        of tests/sim/scripts; without one the faults are made from the seeds
    # seeds: N            how many runs at most

The patches are applied to this tree, which must have no changes, and are taken back whatever happens; lunar-sim is
built in build/release, where only what is patched is compiled, and at the end once more as it should be. The exit
code is 0 if each mutation was found.
"""
import argparse
import contextlib
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
MUTATIONS = ROOT / "tests/sim/mutations"


def head_of(patch):
    head = {"seeds": "200"}
    for line in patch.read_text().splitlines():
        if not line.startswith("#"):
            break
        found = re.match(r"# (finds|script|seeds): (.*)", line)
        if found:
            head[found[1]] = found[2].strip()
    return head


@contextlib.contextmanager
def taken_back(patch):
    """Within it the tree is without the mend."""
    subprocess.run(["git", "apply", str(patch)], cwd=ROOT, check=True)
    try:
        yield
    finally:
        subprocess.run(["git", "apply", "--reverse", str(patch)], cwd=ROOT, check=True)


def build():
    environment = dict(os.environ, CCACHE_BASEDIR=str(ROOT), CCACHE_NOHASHDIR="1",
                       CCACHE_SLOPPINESS="pch_defines,time_macros")
    subprocess.run(["ninja", "-C", "build/release", "lunar-sim"], cwd=ROOT, env=environment, check=True,
                   stdout=subprocess.DEVNULL)
    return ROOT / "build/release/tests/sim/lunar-sim"


def is_found(simulator, head, seeds):
    command = [str(simulator), "--seed", "1", "--runs", str(seeds), "--jobs", "2"]
    if "script" in head:
        command += ["--script", str(ROOT / "tests/sim/scripts" / head["script"])]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    wrong = [line.strip() for line in done.stdout.splitlines() if re.match(r"  \S", line)]
    for line in wrong:
        if re.search(head["finds"], line):
            return line
    return None


def check():
    """Those that have to be made anew since the code around them has changed."""
    stale = 0
    for patch in sorted(MUTATIONS.glob("*.patch")):
        head = head_of(patch)
        applied = subprocess.run(["git", "apply", "--check", str(patch)], cwd=ROOT, check=False, text=True,
                                 stderr=subprocess.PIPE)
        problem = applied.stderr.strip()
        if "finds" not in head:
            problem = "its head does not say what has to be found"
        elif "script" in head and not (ROOT / "tests/sim/scripts" / head["script"]).exists():
            problem = f"there is no script {head['script']}"
        if problem:
            stale += 1
            print(f"{patch.stem}: {problem}")
    return 1 if stale else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, help="runs at most, instead of what the mutation says")
    parser.add_argument("names", nargs="*", help="of mutations; all without any")
    parser.add_argument("--check", action="store_true", help="build and run nothing")
    given = parser.parse_args()
    if given.check:
        return check()
    patches = sorted(MUTATIONS.glob("*.patch"))
    if given.names:
        patches = [MUTATIONS / f"{name}.patch" for name in given.names]
    changed = subprocess.run(["git", "status", "--porcelain", "--untracked-files=no"], cwd=ROOT, check=True,
                             stdout=subprocess.PIPE, text=True)
    if changed.stdout:
        parser.error("the tree has changes; commit them, so that the patches can be applied and taken back")
    missed = 0
    try:
        for patch in patches:
            head = head_of(patch)
            with taken_back(patch):
                line = is_found(build(), head, given.seeds or int(head["seeds"]))
            missed += line is None
            print(f"{patch.stem}: {'found: ' + line[:140] if line else 'MISSED'}", flush=True)
    finally:
        build()
    print(f"{len(patches)} mutations, {missed} missed")
    return 1 if missed or not patches else 0


if __name__ == "__main__":
    sys.exit(main())
