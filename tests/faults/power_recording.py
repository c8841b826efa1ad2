#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Recorded load on a cluster whose stores are on one disk, which somebody else logs: power_points.py.

  power_recording.py DEVICE STORES OUT SECONDS

Runs in a guest. STORES is on DEVICE, whose last MARK_BYTES are ours: a mark is written there every now and then, with
the time, so that the disk's log and the load's history can be put beside each other. OUT gets `history-1` and
`recording.json`.
"""

import json
import mmap
import os
import pathlib
import shutil
import struct
import sys
import tempfile
import threading
import time

from stand import Stand

MARK_BYTES = 4096
MARK = struct.Struct("<16sQQ")  # magic, number, time in ns
MAGIC = b"lunar power mark"
SECONDS_BETWEEN_MARKS = 0.05


class Marks:
    """A thread that writes marks to the end of a device."""

    def __init__(self, device):
        self.written = []  # of each mark: the time before and after, in ns
        self._device = os.open(device, os.O_WRONLY | os.O_DIRECT)
        self.offset = os.lseek(self._device, 0, os.SEEK_END) - MARK_BYTES
        self._block = mmap.mmap(-1, MARK_BYTES)  # O_DIRECT wants it aligned
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        while not self._is_over.wait(SECONDS_BETWEEN_MARKS):
            before = time.monotonic_ns()
            self._block[:MARK.size] = MARK.pack(MAGIC, len(self.written), before)
            os.pwrite(self._device, self._block, self.offset)
            self.written.append((before, time.monotonic_ns()))

    def stop(self):
        self._is_over.set()
        self._thread.join()
        os.close(self._device)


class RecordedStand(Stand):
    def __init__(self, folder, stores):
        self.cluster_options = {"osd_data": f"{stores}/osd.$id"}
        super().__init__(folder)

    def fault(self, choices, seconds):
        raise NotImplementedError("the power is cut when all is over")


def main():
    device, stores, out, seconds = sys.argv[1:]
    folder = pathlib.Path(tempfile.mkdtemp(prefix="lunar-"))
    stand = RecordedStand(folder, stores)
    try:
        stand.start()
        stand.image = "rbd/image"
        stand.reports = {}
        stand.make_image()
        load = stand.load(folder, stand.lun, 1, 1, float(seconds))
        stand.wait_for_writes([load])
        marks = Marks(device)
        try:
            stand.finish(load)
        finally:
            marks.stop()
        shutil.copy(folder / "history-1", out)
        recording = {"fsid": stand.cluster.fsid, "image": stand.image, "mark_offset": marks.offset,
                     "marks": marks.written}
        pathlib.Path(out, "recording.json").write_text(json.dumps(recording), encoding="utf-8")
        print(f"{len(marks.written)} marks; {stand.summary()}")
    finally:
        stand.stop()


if __name__ == "__main__":
    main()
