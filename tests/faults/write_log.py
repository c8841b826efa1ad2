# SPDX-License-Identifier: LGPL-2.1-or-later
"""The log of a disk, as QEMU's blklogwrites and the kernel's dm-log-writes write it: what a power cut at any of its
entries leaves."""

import bisect
import collections
import struct

MAGIC = 0x6a736677736872
VERSION = 1
FLUSH, FUA, DISCARD, MARK = 1, 2, 4, 8
SUPER = struct.Struct("<QQQI")  # magic, version, number of entries, bytes of a sector
ENTRY = struct.Struct("<QQQQ")  # sector, number of sectors, flags, bytes of a mark
PIECE_BYTES = 4096  # what a disk writes whole, or not at all

# `offset` and `length` are of the disk, `at` is where the data is in the log; all in bytes.
Entry = collections.namedtuple("Entry", "offset length flags at")


class WriteLogError(Exception):
    """The file is no such log, or has what this reader does not know."""


class WriteLog:
    def __init__(self, path):
        self._file = open(path, "rb")  # pylint: disable=consider-using-with
        try:
            self._read(path)
        except BaseException:
            self.close()
            raise

    def _read(self, path):
        magic, version, count, sector_bytes = SUPER.unpack(self._file.read(SUPER.size))
        if magic != MAGIC or version != VERSION or sector_bytes < 512:
            raise WriteLogError(f"{path} is no log of writes of version {VERSION}")
        self.entries = []
        at = sector_bytes
        for _ in range(count):
            self._file.seek(at)
            sector, sectors, flags, _ = ENTRY.unpack(self._file.read(ENTRY.size))
            if flags & (DISCARD | MARK):
                raise WriteLogError(f"{path} has discards or marks, which are not expected")
            at += sector_bytes
            length = sectors * sector_bytes
            self.entries.append(Entry(sector * sector_bytes, length, flags, at))
            at += length
        self._flushes = [i for i, entry in enumerate(self.entries) if entry.flags & FLUSH]

    def close(self):
        self._file.close()

    def data(self, entry):
        self._file.seek(entry.at)
        return self._file.read(entry.length)

    def flushes(self, begin, end):
        """The numbers of the flushes among the entries [begin, end)."""
        return self._flushes[bisect.bisect_left(self._flushes, begin):bisect.bisect_left(self._flushes, end)]

    def writes_to(self, offset):
        """The numbers of the entries that begin there."""
        return [i for i, entry in enumerate(self.entries) if entry.length and entry.offset == offset]

    def left_by_a_cut(self, cut, choices):
        """What the disk has of the entries [0, cut), as pairs of an offset and bytes, in order: all up to the last
        flush, and what was written through; of the rest each piece or not, as `choices` says."""
        before = self.flushes(0, cut)
        flushed = before[-1] if before else -1
        # Now and then a disk writes nothing, or all of it.
        kept = choices.choice((0, 0.2, 0.5, 0.5, 0.8, 1))
        for number, entry in enumerate(self.entries[:cut]):
            if entry.length == 0:
                continue
            data = self.data(entry)
            if number <= flushed or entry.flags & FUA:
                yield entry.offset, data
                continue
            for begin in range(0, len(data), PIECE_BYTES):
                if choices.random() < kept:
                    yield entry.offset + begin, data[begin:begin + PIECE_BYTES]
