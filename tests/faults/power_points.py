#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Power cuts at any point of a recorded load: a guest's disk, whose writes QEMU logs, as a cut leaves it.

  power_points.py FILE_SYSTEM FOLDER    only records; for check_power_points.py
"""

import bisect
import json
import os
import pathlib
import random
import shutil
import subprocess
import sys
import time

from lunar_e2e import Cluster, PrivateTgtd
from lunar_e2e.env import build_dir, program
from lunar_e2e.load import CLEAN
from power_recording import MARK, MAGIC
from stand import FaultError, FaultLog, LAST_CLIENT, NUM_OSDS, Stand, judge
from write_log import WriteLog

VM = pathlib.Path(__file__).resolve().parents[1] / "vm"
DISK_BYTES = 256 << 20
LOAD_SECONDS = 20
GUEST_SECONDS = 600
LOG, OUT = "disk.log", "guest"  # in the folder of a recording
STEP = 0.6180339887  # of the golden ratio: rounds spread evenly, however many there are


def record(file_system, folder):
    """Has a guest record into `folder`."""
    disk, log = folder / "disk.img", folder / LOG
    for path, size in ((disk, DISK_BYTES), (log, 0)):
        with open(path, "wb") as file:
            file.truncate(size)
    nodes = (f"driver=file,filename={disk},node-name=disk_file", f"driver=file,filename={log},node-name=log_file",
             "driver=blklogwrites,node-name=logged,file=disk_file,log=log_file,log-sector-size=512")
    arguments = [*(f"-blockdev {node}" for node in nodes),
                 "-device virtio-blk-pci,drive=logged,discard=off,write-zeroes=off"]
    environment = {**os.environ, "LUNAR_VM_OUT": str(folder / OUT), "LUNAR_VM_TIMEOUT": str(GUEST_SECONDS),
                   "LUNAR_VM_QEMU_ARGS": " ".join(arguments), "LUNAR_BUILD_DIR": str(build_dir())}
    ended = subprocess.run([str(VM / "run_guest.sh"), str(VM / "guest" / "power_recording.sh"), file_system,
                            str(LOAD_SECONDS)], env=environment, text=True, capture_output=True, check=False)
    if ended.returncode != 0:
        raise FaultError(f"the recording on {file_system} failed:\n{ended.stdout}{ended.stderr}")
    disk.unlink()


class Recording:
    """What record() has left: the log of the disk, the history of the load, and when each mark was written."""

    def __init__(self, folder):
        self.log = WriteLog(folder / LOG)
        self.history = (folder / OUT / "history-1").read_text(encoding="utf-8").splitlines()
        about = json.loads((folder / OUT / "recording.json").read_text(encoding="utf-8"))
        self.fsid, self.image, self.marks = about["fsid"], about["image"], about["marks"]
        self._marked_at = self.log.writes_to(about["mark_offset"])
        try:
            self._compare_marks()
        except FaultError:
            self.log.close()
            raise
        # Between two of them a cut may lose something.
        flushes = self.log.flushes(self._marked_at[0], self._marked_at[-1])
        self.gaps = [(begin, end) for begin, end in zip(flushes, flushes[1:]) if end - begin > 1]

    def _compare_marks(self):
        if len(self._marked_at) != len(self.marks):
            raise FaultError(f"{len(self.marks)} marks were written, and the log has {len(self._marked_at)}")
        for number, at in enumerate(self._marked_at):
            found = MARK.unpack(self.log.data(self.log.entries[at])[:MARK.size])
            if found != (MAGIC, number, self.marks[number][0]):
                raise FaultError(f"the log has another mark than {number} at its entry {at}")

    def choose_cut(self, where, choices):
        """A number of entries, between two flushes; `where` from 0 to 1 says which two."""
        begin, end = self.gaps[int(where * len(self.gaps))]
        return choices.randint(begin + 2, end)

    def history_until(self, cut, now_ns):
        """The history of what a power cut behind so many entries interrupts, moved so that it ends at `now_ns`.
        What was acknowledged before the last mark that the log has there was acknowledged before the cut; what
        begins after the next mark begins after it; of what is between nobody knows."""
        after = bisect.bisect_left(self._marked_at, cut)
        sure, over = self.marks[after - 1][0], self.marks[after][1]
        lines = [self.history[0]]
        for line in self.history[1:]:
            time_ns, kind, rest = line.split(" ", 2)
            if int(time_ns) > over:
                break
            if int(time_ns) <= sure or kind == "i":
                lines.append(f"{int(time_ns) - over + now_ns} {kind} {rest}")
        return "\n".join(lines) + "\n"


class PowerPoint(Stand):
    """Servers on an ext4 as a power cut leaves it at some point of a load that a guest has recorded, part of what was
    not flushed lost. Needs root, for the mount, and QEMU."""

    file_system = "ext4"
    cut_back = 0  # so many entries of the log are lost besides, by a disk that lies

    def __init__(self, folder, recording=None):
        self.recording = recording
        self.disk = pathlib.Path(folder) / "disk"
        self.cluster_options = {"objecter_op_timeout": "10s", "osd_data": f"{self.disk}/osd.$id"}
        super().__init__(folder)

    def start(self):
        self.disk.mkdir()
        if self.recording is None:
            record(self.file_system, self.folder)
            self.recording = Recording(self.folder)
        return self

    def stop(self):
        if self.recording:
            self.recording.log.close()

    def fault(self, choices, seconds):
        raise NotImplementedError("the fault was before")

    def run_round(self, number, seed, seconds):
        choices = random.Random(seed)
        self.round_folder = folder = self.folder / f"round-{number}"
        folder.mkdir()
        self.reports = {}
        cut = self.recording.choose_cut(seed * STEP % 1, choices)
        disk = folder / "disk.img"
        with open(disk, "wb") as file:
            file.truncate(DISK_BYTES)
            for offset, data in self.recording.log.left_by_a_cut(cut - self.cut_back, choices):
                file.seek(offset)
                file.write(data)
        now_ns = time.monotonic_ns()
        history = folder / "history-1"
        history.write_text(self.recording.history_until(cut, now_ns), encoding="utf-8")
        self.faults = FaultLog(folder / "faults")
        self.faults.power_was_cut(1, f"at entry {cut} of the disk's log")
        subprocess.run([program("mount"), "-o", "loop", str(disk), str(self.disk)], check=True)
        try:
            self._read_back(folder, choices)
        finally:
            self.faults.close()
            subprocess.run([program("umount"), "-l", str(self.disk)], check=False)
        files = [*sorted(folder.glob("history-*")), self.faults.path]
        code, text = judge(files)
        if code != CLEAN:
            raise FaultError(f"{text}\nhistories: {' '.join(map(str, files))}")
        shutil.rmtree(folder)
        return f"cut at entry {cut} of {len(self.recording.log.entries)}: {text.strip()}; {self.summary()}"

    def _read_back(self, folder, choices):
        self.cluster = Cluster(folder / "cluster", num_osds=NUM_OSDS, options=self.cluster_options)
        self.cluster.fsid = self.recording.fsid
        try:
            self.cluster.start_again()
            self.tgtd = PrivateTgtd(folder / "tgt", with_lunar=True, environment=self.cluster.environment())
            self.tgtd.start()
            try:
                # The guest's gateway has the image open still.
                self.lun = self.tgtd.add_target().add_lun("lunar", self.recording.image, bsopts="lock=takeover")
                self.finish(self.load(folder, self.lun, LAST_CLIENT, choices.randrange(1 << 31), 0.3,
                                      final_pass=True))
            finally:
                self.tgtd.stop()
        finally:
            self.cluster.stop()


class PowerPointXfs(PowerPoint):
    """As power-point, on xfs."""
    file_system = "xfs"


if __name__ == "__main__":
    record(sys.argv[1], pathlib.Path(sys.argv[2]))
