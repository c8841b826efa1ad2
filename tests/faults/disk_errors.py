# SPDX-License-Identifier: LGPL-2.1-or-later
"""A server's disk that fails what is written, or what is read too, for a while."""

import os
import pathlib
import subprocess

from lunar_e2e import wait_until
from lunar_e2e.env import program
from stand import FaultError, LoadEndedError, NUM_OSDS, Stand

DISK_BYTES = 256 << 20
SECTOR = 512
# What the file system needs for itself is here, and is written without errors: one whose journal fails gives up.
GOOD_BYTES = 64 << 20
MAKE = {"ext4": ("mkfs.ext4", "-q", "-E", "packed_meta_blocks=1"),
        "xfs": ("mkfs.xfs", "-q", "--unsupported", "-d", "agcount=4", "-l", "agnum=0")}


def _run(*words):
    # Without udev dmsetup makes the device nodes itself.
    ended = subprocess.run([program(words[0]), *map(str, words[1:])], text=True, capture_output=True, check=False,
                           env={**os.environ, "DM_DISABLE_UDEV": "1"})
    if ended.returncode != 0:
        raise FaultError(f"{' '.join(map(str, words))}: {ended.stderr.strip()}")
    return ended.stdout.strip()


class Disk:
    """A device of the device mapper over a file, with a file system, mounted at `folder`."""

    def __init__(self, image, folder, file_system):
        self.folder = folder
        self._name = f"lunar-{os.getpid()}"
        with open(image, "wb") as file:
            file.truncate(DISK_BYTES)
        self._loop = _run("losetup", "--find", "--show", image)
        _run("dmsetup", "create", self._name, "--table", self._table(None))
        self.device = f"/dev/mapper/{self._name}"
        _run(*MAKE[file_system], self.device)
        self.mount()

    def _table(self, failing):
        good, all_of_it = GOOD_BYTES // SECTOR, DISK_BYTES // SECTOR
        # Up for 0 s and down for an hour: all of it fails, or what the feature says.
        rest = f"linear {self._loop} {good}"
        if failing:
            rest = f"flakey {self._loop} {good} 0 3600" + (" 1 error_writes" if failing == "writes" else "")
        return f"0 {good} linear {self._loop} 0\n{good} {all_of_it - good} {rest}"

    def fail(self, failing):
        """"writes", "reads and writes", or None: the disk is well again."""
        _run("dmsetup", "suspend", "--noflush", "--nolockfs", self._name)
        _run("dmsetup", "reload", self._name, "--table", self._table(failing))
        _run("dmsetup", "resume", self._name)

    def mount(self):
        _run("mount", self.device, self.folder)

    def unmount(self):
        wait_until(lambda: subprocess.run([program("umount"), str(self.folder)], check=False,
                                          capture_output=True).returncode == 0, 20, "the disk to be free")

    def has_given_up(self):
        """The file system is read-only since an error of its own, or takes nothing any more."""
        probe = self.folder / "probe"
        try:
            probe.write_text("")
            probe.unlink()
        except OSError:
            return True
        return False

    def remove(self):
        subprocess.run([program("umount"), "-l", str(self.folder)], check=False)
        _run("dmsetup", "remove", "--deferred", self._name)
        _run("losetup", "--detach", self._loop)


class DiskErrors(Stand):
    """Writes to the data of a server's ext4 fail, until an initiator is told of a loss. Afterwards that server is
    killed, or loses the memory of its host too, or goes on. Needs root, and the device mapper with dm-flakey."""

    file_system = "ext4"
    failing = "writes"
    VICTIM = 1
    is_worn = True  # folders are among what the disk has not taken: later ones may be found damaged at any time

    def __init__(self, folder):
        self.disks = pathlib.Path(folder) / "disks"
        self.disk = None
        self.cluster_options = {"objecter_op_timeout": "10s", "osd_data": f"{self.disks}/$id/osd"}
        super().__init__(folder)

    def start(self):
        for osd in range(NUM_OSDS):
            (self.disks / str(osd)).mkdir(parents=True)
        self.disk = Disk(self.folder / "disk.img", self.disks / str(self.VICTIM), self.file_system)
        super().start()
        # tgtd has a mount namespace of its own, and with it the disk: it could not be unmounted.
        _run("nsenter", "--mount", "--target", self.tgtd.process.pid, "umount", self.disk.folder)
        return self

    def stop(self):
        try:
            super().stop()
        finally:
            if self.disk:
                self.disk.remove()

    def run_round(self, number, seed, seconds):
        return super().run_round(number, seed, seconds + 15)

    def choose_load_options(self, _choices):
        # While a loss goes on, what is in flight on a block may be on disk in any order: of a dozen commands on one
        # block, history-check finds too many states to judge it.
        return {"connections": 2, "depth": 4}

    def fault(self, choices, seconds):
        self.pause(choices, 0.5)
        self.faults.losses_begin(f"{self.failing} of server {self.VICTIM} fail")
        self.disk.fail(self.failing)
        try:
            self.wait_until_noticed()
        finally:
            self.disk.fail(None)
        self.pause(choices, 0.5)
        what = choices.choice(("goes on", "is killed", "loses its memory"))
        if self.disk.has_given_up():
            what = "loses its memory"
        self.faults.note(f"server {self.VICTIM} {what}")
        if what != "goes on":
            self.cluster.kill_osd(self.VICTIM)
        if what == "loses its memory":
            self.disk.unmount()
            self.disk.mount()
        self.faults.losses_end()
        if what != "goes on":
            self.start_server(self.VICTIM)

    def wait_until_noticed(self):
        wait_until(lambda: self.has_ended("flush", "lost"), 60, "a flush to tell of a loss")

    def has_ended(self, command, outcome):
        """Whether a command of the first load has ended so."""
        begun = set()
        with (self.faults.path.parent / "history-1").open(encoding="utf-8") as lines:
            for line in lines:
                words = line.split()
                if words[1:2] == ["i"] and words[4:5] == [command]:
                    begun.add(words[2])
                elif words[1:2] == ["c"] and words[3:4] == [outcome] and words[2] in begun:
                    return True
        if not self.first_load.is_running():
            raise LoadEndedError(f"the load ended before a {command} ended as {outcome}:\n" + self.first_load.log())
        return False

    def load(self, folder, lun, client, seed, seconds, final_pass=False, **more):
        load = super().load(folder, lun, client, seed, seconds, final_pass, **more)
        if client == 1:
            self.first_load = load
        return load

    def remove_image(self):
        # The image stays: each `lunar rm` is a new client, is told of the loss, and so never ends well.
        self.lun.delete()


class DiskErrorsXfs(DiskErrors):
    """As disk-errors, on xfs."""
    file_system = "xfs"


class DiskFails(DiskErrors):
    """Reads of data fail too, and the host has none of it in memory."""
    failing = "reads and writes"

    def wait_until_noticed(self):
        def has_read_failed():
            pathlib.Path("/proc/sys/vm/drop_caches").write_text("1\n")  # what was read meanwhile from the others
            return self.has_ended("read", "unknown")
        wait_until(has_read_failed, 60, "a read to fail")
        super().wait_until_noticed()


class DiskFailsXfs(DiskFails):
    """As disk-fails, on xfs."""
    file_system = "xfs"
