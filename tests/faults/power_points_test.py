#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a power cut leaves of a log of writes, and of a history, on logs that are made up."""

import json
import pathlib
import random
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "e2e")]

# pylint: disable=wrong-import-position
from power_points import LOG, OUT, Recording  # noqa: E402
from power_recording import MAGIC, MARK  # noqa: E402
from stand import FaultError  # noqa: E402
from write_log import DISCARD, ENTRY, FLUSH, FUA, PIECE_BYTES, SUPER, VERSION  # noqa: E402
from write_log import MAGIC as LOG_MAGIC, WriteLog, WriteLogError  # noqa: E402

SECTOR = 512


class LogTestCase(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="lunar-")
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def write(self, *entries, magic=LOG_MAGIC):
        """Of each entry: offset, data and flags."""
        with open(self.folder / LOG, "wb") as file:
            file.write(SUPER.pack(magic, VERSION, len(entries), SECTOR).ljust(SECTOR, b"\0"))
            for offset, data, flags in entries:
                header = ENTRY.pack(offset // SECTOR, len(data) // SECTOR, flags, 0)
                file.write(header.ljust(SECTOR, b"\0") + data)

    def log(self, *entries, **more):
        self.write(*entries, **more)
        log = WriteLog(self.folder / LOG)
        self.addCleanup(log.close)
        return log


class WriteLogTest(LogTestCase):
    def test_what_was_flushed_or_written_through_is_left_and_of_the_rest_each_piece_or_not(self):
        flushed, through, loose = b"f" * SECTOR, b"t" * SECTOR, b"l" * PIECE_BYTES + b"L" * PIECE_BYTES
        log = self.log((0, flushed, 0), (0, b"", FLUSH), (8192, loose, 0), (4096, through, FUA), (1 << 20, loose, 0))
        seen = set()
        for seed in range(100):
            left = list(log.left_by_a_cut(4, random.Random(seed)))
            self.assertEqual(left[0], (0, flushed))
            self.assertEqual(left[-1], (4096, through))
            seen.add(tuple((offset, data[:1], len(data)) for offset, data in left[1:-1]))
        pieces = ((8192, b"l", PIECE_BYTES), (8192 + PIECE_BYTES, b"L", PIECE_BYTES))
        self.assertEqual(seen, {(), pieces[:1], pieces[1:], pieces})

    def test_flushes_and_writes_to_a_place_are_found(self):
        log = self.log((0, b"", FLUSH), (512, b"a" * SECTOR, 0), (0, b"", FLUSH), (512, b"b" * SECTOR, 0))
        self.assertEqual(log.flushes(0, 4), [0, 2])
        self.assertEqual(log.flushes(1, 2), [])
        self.assertEqual(log.writes_to(512), [1, 3])

    def test_what_is_no_such_log_is_refused(self):
        with self.assertRaisesRegex(WriteLogError, "is no log of writes"):
            self.log(magic=1)
        with self.assertRaisesRegex(WriteLogError, "has discards or marks"):
            self.log((0, b"x" * SECTOR, DISCARD))


class RecordingTest(LogTestCase):
    """Marks at 100, 200 and 300 ns, each of which takes 10 ns."""

    MARK_OFFSET = 1 << 20

    def recording(self, times=(100, 200, 300)):
        entries = []
        for number, begins in enumerate(times):
            mark = MARK.pack(MAGIC, number, begins).ljust(4096, b"\0")
            entries += [(self.MARK_OFFSET, mark, 0), (0, b"", FLUSH), (0, b"d" * SECTOR, 0), (0, b"", FLUSH)]
        self.write(*entries)
        (self.folder / OUT).mkdir()
        (self.folder / OUT / "recording.json").write_text(json.dumps(
            {"fsid": "f", "image": "rbd/image", "mark_offset": self.MARK_OFFSET,
             "marks": [[begins, begins + 10] for begins in (100, 200, 300)]}), encoding="utf-8")
        (self.folder / OUT / "history-1").write_text(
            "lunar-history 1\n90 i 1 1 flush 0 0 0\n99 c 1 good\n120 i 2 1 flush 0 0 0\n150 c 2 good\n"
            "205 i 3 1 flush 0 0 0\n215 i 4 1 flush 0 0 0\n", encoding="utf-8")
        recording = Recording(self.folder)
        self.addCleanup(recording.log.close)
        return recording

    def test_what_ended_about_the_time_of_the_cut_has_an_unknown_end_and_what_began_later_is_left_out(self):
        recording = self.recording()
        self.assertEqual(recording.history_until(2, 1210),  # between the first mark and the second
                         "lunar-history 1\n1090 i 1 1 flush 0 0 0\n1099 c 1 good\n1120 i 2 1 flush 0 0 0\n"
                         "1205 i 3 1 flush 0 0 0\n")

    def test_cuts_are_between_two_flushes_with_something_to_lose(self):
        recording = self.recording()
        self.assertEqual(recording.gaps, [(1, 3), (3, 5), (5, 7)])
        for seed in range(20):
            self.assertEqual(recording.choose_cut(0.4, random.Random(seed)), 5)

    def test_a_log_that_does_not_fit_the_marks_is_refused(self):
        with self.assertRaisesRegex(FaultError, "another mark than 1"):
            self.recording(times=(100, 250, 300))


if __name__ == "__main__":
    unittest.main()
