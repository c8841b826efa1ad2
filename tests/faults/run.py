#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Rounds of faults on real programs, judged by the history checker.

  run.py [--rounds N] [--seed S] [--seconds T] [KIND...]

Every round: recorded load, the fault, restart, re-login, more load, full read-back, verdict. The seed of a round is
printed; the choices of a round depend on it alone, the moments at which the kernel runs whom do not.
Without KIND: all but cut-off, full-disk and power-cut, which need root.
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
    num_found = 0
    for kind in arguments.kinds or [name for name in faults.KINDS if name not in faults.NEED_ROOT]:
        done = 0

        def say(text):
            nonlocal done
            done += ": round " in text
            print(text, flush=True)

        while done < arguments.rounds:
            try:
                faults.run_rounds(kind, arguments.rounds - done, first + done, arguments.seconds, say=say)
            except faults.FaultError as error:
                num_found += 1
                done += 1
                print(f"FOUND: {error}", flush=True)
                if not arguments.go_on:
                    return 1
    return 1 if num_found else 0


if __name__ == "__main__":
    sys.exit(main())
