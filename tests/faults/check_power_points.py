#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A short form of power-point on a recording that is there, and a disk that lies, which must be found.

  check_power_points.py FOLDER ROUNDS
"""

import pathlib
import sys
import tempfile

from power_points import PowerPoint, Recording
from stand import FaultError


class LyingDisk(PowerPoint):
    """It loses what was flushed."""
    cut_back = 250


def main():
    recording = Recording(pathlib.Path(sys.argv[1]))
    rounds = int(sys.argv[2])
    print(f"{len(recording.log.entries)} writes and flushes, {len(recording.gaps)} intervals to cut in")
    if len(recording.gaps) < 50:
        raise FaultError("there are too few for 50 cuts")
    with tempfile.TemporaryDirectory(prefix="lunar-") as folder:
        stand = PowerPoint(folder, recording).start()
        for seed in range(1, rounds + 1):
            print(f"seed {seed}:", stand.run_round(seed, seed, 0), flush=True)
    with tempfile.TemporaryDirectory(prefix="lunar-") as folder:
        try:
            LyingDisk(folder, recording).start().run_round(1, 1, 0)
        except FaultError as error:
            if "not explained" not in str(error):
                raise
            print("a disk that loses what was flushed is found:", str(error).splitlines()[1])
        else:
            raise FaultError("a disk that loses what was flushed is not found")


if __name__ == "__main__":
    main()
