#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Rounds of faults on real programs, judged by the history checker.

  run.py [--rounds N] [--seed S] [--seconds T] [KIND...]
  run.py --full [--seed S] [KIND...]

Every round: recorded load, the fault, restart, re-login, more load, full read-back, verdict. The seed of a round is
printed; the choices of a round depend on it alone, the moments at which the kernel runs whom do not.
Without KIND: all that need no root. With --full: the kinds of faults.FULL, as often as it says, some hours; what a
round finds does not keep the others from being run. At the end is said how many rounds of each kind were clean.
"""

import argparse
import os
import pathlib
import random
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))
sys.path.insert(0, str(HERE))
os.environ.setdefault("LUNAR_BUILD_DIR", str(HERE.parent.parent / "build" / "release"))

import faults  # noqa: E402  pylint: disable=wrong-import-position


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", metavar="KIND", nargs="*", default=[],
                        help="; ".join(f"{name}: {kind.__doc__}" for name, kind in faults.KINDS.items()))
    parser.add_argument("--rounds", type=int, default=10, help="of each kind")
    parser.add_argument("--full", action="store_true", help="as many rounds of each kind as a full run has")
    parser.add_argument("--seed", type=int, help="of the first round; default: a random one")
    parser.add_argument("--seconds", type=float, default=1.5, help="of load in a round")
    parser.add_argument("--go-on", action="store_true",
                        help="after a round that found something, go on with a new cluster")
    arguments = parser.parse_args()
    unknown = set(arguments.kinds) - set(faults.KINDS)
    if unknown:
        parser.error(f"no such kind: {', '.join(sorted(unknown))}; there are {', '.join(faults.KINDS)}")
    first = arguments.seed if arguments.seed is not None else random.SystemRandom().randrange(1 << 31)
    print(f"seed {first}", flush=True)
    goes_on = arguments.go_on or arguments.full
    kinds = arguments.kinds or (list(faults.FULL) if arguments.full
                                else [name for name in faults.KINDS if name not in faults.NEED_ROOT])
    if os.geteuid() != 0 and set(kinds) & set(faults.NEED_ROOT):
        parser.error(f"these need root: {', '.join(name for name in kinds if name in faults.NEED_ROOT)}")
    results = []
    for kind in kinds:
        rounds = faults.FULL.get(kind, arguments.rounds) if arguments.full else arguments.rounds
        done, found = run_kind(kind, rounds, first, arguments.seconds, goes_on)
        results.append(f"{kind}: {done} rounds, " + (f"{found} found something" if found else "clean"))
        if found and not goes_on:
            break
    print("\n".join(results))
    return 0 if all(text.endswith("clean") for text in results) else 1


def run_kind(kind, rounds, seed, seconds, goes_on):
    """How many rounds were run, and how many found something; the first of these is the last if not `goes_on`."""
    done = num_found = 0

    def say(text):
        nonlocal done
        done += ": round " in text
        print(text, flush=True)

    while done < rounds:
        try:
            faults.run_rounds(kind, rounds - done, seed + done, seconds, say=say)
        except faults.FaultError as error:
            num_found += 1
            done += 1
            print(f"FOUND: {error}", flush=True)
            if not goes_on or isinstance(error, faults.StandError):
                break
    return done, num_found


if __name__ == "__main__":
    sys.exit(main())
