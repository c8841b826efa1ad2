# SPDX-License-Identifier: LGPL-2.1-or-later
"""The kinds of faults, and rounds of them: stand.py."""

import ctypes
import fcntl
import json
import os
import pathlib
import re
import shutil
import signal
import struct
import subprocess
import tempfile
import threading
import time
import uuid

from lunar_e2e import LoadError, PrivateTgtd, TgtadmError, wait_until
from lunar_e2e.env import program
from lunar_e2e.load import COMMAND_FAILED, UNUSABLE
from disk_errors import DiskErrors, DiskErrorsXfs, DiskFails, DiskFailsXfs
from power_points import PowerPoint, PowerPointXfs
from stand import FaultError, LAST_CLIENT, LoadEndedError, NUM_OSDS, OBJECT_BYTES, Stand

CLONE_NEWNET = 0x40000000  # unshare(2), setns(2)
# How each file system is made. mkfs.xfs makes none below 300 MiB, but for tests.
MAKE = {"ext4": ("mkfs.ext4", "-q"), "xfs": ("mkfs.xfs", "-q", "--unsupported")}
LIBC = ctypes.CDLL(None, use_errno=True)


def make_file_system(kind, image, size):
    """In a new file of that size."""
    with open(image, "wb") as file:
        file.truncate(size)
    make, *options = MAKE[kind]
    subprocess.run([program(make), *options, str(image)], check=True, stdout=subprocess.DEVNULL)


def mount(image, folder):
    subprocess.run([program("mount"), "-o", "loop", str(image), str(folder)], check=True)


class KillServer(Stand):
    """kill -9 of one server, or of several, once or twice, under load."""

    def fault(self, choices, seconds):
        for _ in range(choices.randint(1, 2)):
            self.pause(choices, seconds / 3)
            victims = choices.sample(range(NUM_OSDS), choices.choice((1, 1, 2, 3)))
            for osd in victims:
                self.kill_server(osd)
            self.pause(choices, 0.3)
            for osd in sorted(victims):  # the authority first
                self.start_server(osd)


class KillTgtd(Stand):
    """kill -9 of tgtd under load; the new one exports the same LUN."""

    def fault(self, choices, seconds):
        self.pause(choices, seconds / 2)
        self.kill_tgtd()
        self.pause(choices, 0.3)
        self.start_tgtd()


class KillBoth(Stand):
    """kill -9 of tgtd and of servers, in any order."""

    def fault(self, choices, seconds):
        self.pause(choices, seconds / 2)
        victims = choices.sample(range(NUM_OSDS), choices.choice((1, 2, 3)))
        first = choices.choice(("tgtd", "servers"))
        if first == "tgtd":
            self.kill_tgtd()
            self.pause(choices, 0.05)
        for osd in victims:
            self.kill_server(osd)
        if first == "servers":
            self.pause(choices, 0.05)
            self.kill_tgtd()
        self.pause(choices, 0.3)
        for osd in sorted(victims):
            self.start_server(osd)
        self.start_tgtd()


class StopServer(Stand):
    """SIGSTOP of a server past the op timeout of 2 s, with SCSI aborts and LUN resets in flight."""

    cluster_options = {"objecter_op_timeout": "2s"}

    def run_round(self, number, seed, seconds):
        return super().run_round(number, seed, seconds + 4)

    def choose_load_options(self, choices):
        # Either the initiator is the first to lose patience, or the gateway.
        return choices.choice(({"timeout": 1, "reset_seconds": 0.8}, {"timeout": 1}, {"timeout": 30},
                               {"timeout": 3, "reset_seconds": 2}))

    def stop(self):
        # tgtd forgets a task management function when a second one aborts the same command (abort_cmd in
        # usr/target.c overwrites cmd->mreq); the session that waits for it then keeps tgtd from an orderly end.
        try:
            if self.tgtd:
                report = self.tgtd.process.crash_report()
                if report or not self.tgtd.is_running():
                    raise AssertionError(report or f"tgtd was gone ({self.tgtd.process.exit_code()})")
                self.tgtd.kill()
        finally:
            self.cluster.stop()

    def fault(self, choices, seconds):
        self.pause(choices, 0.5)
        victims = choices.sample(range(NUM_OSDS), choices.choice((1, 1, 2)))
        try:
            for osd in victims:
                self.cluster.osds[osd].send(signal.SIGSTOP)
                self.faults.note(f"server {osd} is stopped")
            time.sleep(choices.uniform(2.2, 4.5))
        finally:
            for osd in victims:
                self.cluster.osds[osd].send(signal.SIGCONT)
                self.faults.note(f"server {osd} goes on")


class KillGatewayOfTwo(Stand):
    """kill -9 of one of two tgtds that share an image, both under load; half of the time a server stalls meanwhile,
    with commands of the dead one before it."""
    bsopts = "lock=shared"
    other = None

    def start(self):
        super().start()
        self.other = PrivateTgtd(self.folder / "other", with_lunar=True, environment=self.cluster.environment())
        self.other.start()
        self.other_target = self.other.add_target()
        return self

    def stop(self):
        try:
            if self.other:
                self.other.stop()
        finally:
            super().stop()

    def make_image(self):
        super().make_image()
        self.other_lun = self.other_target.add_lun("lunar", self.image, bsopts=self.bsopts)

    def remove_image(self):
        self.other_lun.delete()
        super().remove_image()

    def luns(self):
        return [self.lun, self.other_lun]

    def fault(self, choices, seconds):
        self.pause(choices, seconds / 2)
        stalls = choices.choice((True, False))
        osd = choices.randrange(NUM_OSDS)
        if stalls:
            self.cluster.osds[osd].send(signal.SIGSTOP)
            self.faults.note(f"server {osd} is stopped")
            self.pause(choices, 0.2)
        self.kill_tgtd()

        def go_on():
            self.cluster.osds[osd].send(signal.SIGCONT)
            self.faults.note(f"server {osd} goes on")
        timer = threading.Timer(choices.uniform(0.1, 1.5), go_on)
        if stalls:
            timer.start()
        try:
            self.start_tgtd()
        finally:
            if stalls:
                timer.join()


class TakeOver(KillGatewayOfTwo):
    """One of two tgtds has an image, under load, and loses it to the other: it is killed, hangs, or goes on working.
    What it does when it goes on changes nothing."""
    bsopts = None
    cluster_options = {**Stand.cluster_options, "lunar_lock_timeout": "2s", "lunar_lun_open_wait": "30s",
                       "ms_keepalive_interval": "500ms", "ms_keepalive_timeout": "2s"}
    MOST_SECONDS = 20  # until the other one has it

    def hang(self):
        self.tgtd.process.send(signal.SIGSTOP)

    def go_on(self):
        self.tgtd.process.send(signal.SIGCONT)

    def do_nothing(self):
        pass

    # What becomes of the first tgtd: how that begins and ends, and with which bsopts the other one gets the image;
    # without any it waits until the first one is dead.
    hows = {
        "is killed": (Stand.kill_tgtd, do_nothing, None),
        "hangs": (hang, go_on, "lock=takeover"),
        "hangs, and is waited for": (hang, go_on, None),
        "is alive": (do_nothing, do_nothing, "lock=takeover"),
    }

    def make_image(self):
        Stand.make_image(self)
        self.other_lun = None
        self.longest = 0

    def remove_image(self):
        Stand.remove_image(self)

    def luns(self):
        return [self.lun]

    def choose_load_options(self, _choices):
        # What is refused is tried again for so long, which keeps others from being begun, and has ended
        # when the first one has the image again.
        return {"retry_seconds": 2, "connections": 2, "depth": 6}

    def load(self, folder, lun, client, seed, seconds, final_pass=False, **more):
        load = super().load(folder, lun, client, seed, seconds, final_pass, **more)
        if client == 1:
            self.first_load = load
        return load

    def finish(self, load):
        try:
            super().finish(load)
        except LoadError as error:
            if load.client != 1 or error.code not in (COMMAND_FAILED, UNUSABLE):
                raise
            self.reports.pop(load.client, None)

    def fault(self, choices, seconds):
        self.pause(choices, seconds / 2)
        how = choices.choice(list(self.hows))
        begin, end, bsopts = self.hows[how]
        self.faults.note(f"the first tgtd {how}")
        try:
            begin(self)
            began = time.monotonic()
            self._export_there(bsopts)
            took = time.monotonic() - began
            self.faults.close_windows(1, f"the second tgtd has the image after {took:.1f} s")
            if took > self.MOST_SECONDS:
                raise FaultError(f"the takeover took {took:.1f} s: the first tgtd {how}")
            load = self.load(self.round_folder, self.other_lun, 2, choices.randrange(1 << 31), seconds,
                             connections=2, depth=6)
            self.pause(choices, 0.5)
        finally:
            end(self)
        self.finish(load)
        self.finish(self.first_load)
        self.longest = max(self.longest, took)
        if self.tgtd.process:
            self.kill_tgtd()
        self.tgtd.start()
        self.target = self.tgtd.add_target()
        self.lun = self.target.add_lun("lunar", self.image, bsopts="lock=takeover")
        self.faults.note("the first tgtd has the image again")
        self.kill_gateway(self.other)  # it is fenced
        self.other.start()
        self.other_target = self.other.add_target()

    def _export_there(self, bsopts):
        def is_exported():
            try:
                self.other_lun = self.other_target.add_lun("lunar", self.image, bsopts=bsopts)
            except TgtadmError as error:
                if "is open by" not in error.log:
                    raise
                return False
            return True
        wait_until(is_exported, self.MOST_SECONDS + 10, "the second tgtd to have the image")

    def run_round(self, number, seed, seconds):
        return f"{super().run_round(number, seed, seconds)}; taken over after {self.longest:.1f} s"


class CutOff(TakeOver):
    """As take-over, of a tgtd that is cut off from the servers and not from its initiator: it can send them nothing,
    and what it has sent arrives when the other one has the image. Needs root, for a network of its own."""

    tgtd_uid = 65432  # by which the kernel tells its packets from those of others
    outside = None  # a descriptor of the network from before

    def cut(self):
        for port in self.cluster.ports.values():
            self._ip("rule", "add", "pref", "50", "uidrange", f"{self.tgtd_uid}-{self.tgtd_uid}", "ipproto", "tcp",
                     "dport", port, "unreachable")

    def heal(self):
        while "50:" in self._ip("rule", "show", "pref", "50"):
            self._ip("rule", "del", "pref", "50")

    hows = {
        "is cut off": (cut, heal, "lock=takeover"),
        "is cut off, and is waited for": (cut, heal, None),
    }

    def start(self):
        outside = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        if LIBC.unshare(CLONE_NEWNET) != 0:
            raise FaultError(f"no network of our own: {os.strerror(ctypes.get_errno())}")
        self.outside = outside
        self._ip("link", "set", "lo", "up")
        # Rules come in the order of their numbers, and that of loopback is the first.
        self._ip("rule", "add", "pref", "100", "lookup", "local")
        self._ip("rule", "del", "pref", "0")
        return super().start()

    def stop(self):
        try:
            super().stop()
        finally:
            if self.outside is not None:
                if LIBC.setns(self.outside, CLONE_NEWNET) != 0:
                    raise FaultError(f"no way back to the network: {os.strerror(ctypes.get_errno())}")
                os.close(self.outside)

    @staticmethod
    def _ip(*words):
        return subprocess.run([program("ip"), *map(str, words)], check=True, stdout=subprocess.PIPE, text=True).stdout


class FullDisk(Stand):
    """A server with its store on an ext4 of 64 MiB that load fills; half of the time it is killed when it is full.
    Then space is freed by UNMAP, and IO goes on. Needs root, for the mount."""

    num_osds = 1
    file_system = "ext4"
    span = "96M"

    def __init__(self, folder):
        self.disk = pathlib.Path(folder) / "disk"
        self.cluster_options = {"objecter_op_timeout": "5s", "osd_reserve_bytes": "8M",
                                "osd_data": f"{self.disk}/osd.$id"}
        super().__init__(folder)

    def start(self):
        self.disk.mkdir()
        make_file_system(self.file_system, self.folder / "disk.img", 64 << 20)
        mount(self.folder / "disk.img", self.disk)
        return super().start()

    def stop(self):
        try:
            super().stop()
        finally:
            subprocess.run([program("umount"), "-l", str(self.disk)], check=False)

    def make_image(self):
        self.cluster.create_image(self.image, "128M", object_size=f"{OBJECT_BYTES >> 20}M")
        self.lun = self.target.add_lun("lunar", self.image, bsopts=self.bsopts)

    def choose_load_options(self, _choices):
        return {"span": self.span, "max_op": "1M", "no_discards": True}

    def run_round(self, number, seed, seconds):
        return super().run_round(number, seed, seconds + 8)

    def fault(self, choices, seconds):
        wait_until(self._is_full, 400, "the disk to be full")
        self.faults.note("the disk is full")
        if choices.choice((True, False)):
            self.kill_server(0)
            self.pause(choices, 0.3)
            self.start_server(0)

    def _is_full(self):
        """Commands fail for want of space, one after the other."""
        history = self.faults.path.parent / "history-1"
        return sum(line.endswith(" unknown\n") for line in history.open(encoding="utf-8")) >= 20

    def read_back(self, folder, choices):
        full = self.reports[1]["outcomes"]["UNKNOWN"]
        if full < 20:
            raise FaultError(f"only {full} commands found the disk full")
        freeing = self.load(folder, self.lun, LAST_CLIENT - 1, choices.randrange(1 << 31), 0.5, span=self.span,
                            max_op="512K", first_discard="8M", no_final_pass=True)
        self.finish(freeing)
        last = self.load(folder, self.lun, LAST_CLIENT, choices.randrange(1 << 31), 0.5, final_pass=True)
        self.finish(last)
        if self.reports[LAST_CLIENT]["outcomes"]["UNKNOWN"] > 0:
            raise FaultError(f"space was freed, and commands still fail: {self.reports[LAST_CLIENT]}")


class FullDiskXfs(FullDisk):
    """As full-disk, on an xfs of 64 MiB."""
    file_system = "xfs"


class PowerCut(Stand):
    """Servers lose what their ext4 has not on its disk, as in a power cut, and find another boot id. Needs root, for
    the mounts."""

    SHUTDOWN = 0x8004587d  # EXT4_IOC_SHUTDOWN and XFS_IOC_GOINGDOWN
    NO_LOG_FLUSH = 2
    file_system = "ext4"

    def __init__(self, folder):
        self.disks = pathlib.Path(folder) / "disks"
        self.cluster_options = {"objecter_op_timeout": "10s", "osd_data": f"{self.disks}/$id/osd"}
        super().__init__(folder)

    def start(self):
        for osd in range(NUM_OSDS):
            (self.disks / str(osd)).mkdir(parents=True)
            make_file_system(self.file_system, self._image_of(osd), 256 << 20)
            self._mount(osd)
        super().start()
        # tgtd has a mount namespace of its own, and with it the disks: they could not be unmounted.
        for osd in range(NUM_OSDS):
            subprocess.run([program("nsenter"), "--mount", "--target", str(self.tgtd.process.pid),
                            program("umount"), str(self.disks / str(osd))], check=True)
        return self

    def _image_of(self, osd):
        return self.folder / f"disk.{osd}"

    def _mount(self, osd):
        mount(self._image_of(osd), self.disks / str(osd))

    def stop(self):
        try:
            super().stop()
        finally:
            for osd in range(NUM_OSDS):
                subprocess.run([program("umount"), "-l", str(self.disks / str(osd))], check=False)

    def fault(self, choices, seconds):
        self.pause(choices, seconds / 2)
        victims = choices.sample(range(NUM_OSDS), choices.choice((1, 2, 3)))
        for osd in victims:
            self.cut_power(osd)
        self.pause(choices, 0.3)
        for osd in sorted(victims):
            self.start_server(osd)

    def remove_image(self):
        # The image stays: each `lunar rm` is a new client, is told of the loss, and so never ends well.
        self.lun.delete()

    def cut_power(self, osd):
        process = self.cluster.osds[osd]
        process.send(signal.SIGSTOP)  # it acknowledges nothing while its disk goes
        stat = pathlib.Path(f"/proc/{process.pid}/stat")
        wait_until(lambda: stat.read_text().rsplit(")", 1)[1].split()[0] == "T", 10, "the server to stop")
        folder = self.disks / str(osd)
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, self.SHUTDOWN, struct.pack("I", self.NO_LOG_FLUSH))
        finally:
            os.close(descriptor)
        self.faults.server_crashed(osd, loses_cache=True)
        self.cluster.kill_osd(osd)
        wait_until(lambda: subprocess.run([program("umount"), str(folder)], check=False,
                                          capture_output=True).returncode == 0, 20, "the disk to be free")
        self._mount(osd)
        record = folder / "osd" / "runtime.json"
        runtime = json.loads(record.read_text())
        runtime["boot_id"] = str(uuid.uuid4())
        record.write_text(json.dumps(runtime))


class PowerCutXfs(PowerCut):
    """As power-cut, on xfs."""
    file_system = "xfs"


def _name_of(kind):
    return re.sub(r"(?<!^)([A-Z])", r"-\1", kind.__name__).lower()


KINDS = {_name_of(kind): kind
         for kind in (KillServer, KillTgtd, KillBoth, StopServer, KillGatewayOfTwo, TakeOver, CutOff, FullDisk,
                      FullDiskXfs, PowerCut, PowerCutXfs, PowerPoint, PowerPointXfs, DiskErrors, DiskErrorsXfs,
                      DiskFails, DiskFailsXfs)}
NEED_ROOT = ("cut-off", "full-disk", "full-disk-xfs", "power-cut", "power-cut-xfs", "power-point", "power-point-xfs",
             "disk-errors", "disk-errors-xfs", "disk-fails", "disk-fails-xfs")
# Rounds of a full run. Not every kernel has what disk-errors needs; that of the VM lane has it.
FULL = {"kill-server": 200, "kill-tgtd": 200, "kill-both": 200, "stop-server": 50, "kill-gateway-of-two": 50,
        "take-over": 50, "cut-off": 20, "full-disk": 10, "full-disk-xfs": 10, "power-cut": 50, "power-cut-xfs": 50,
        "power-point": 60, "power-point-xfs": 60}


class StandError(FaultError):
    """There was no round at all."""


def _run_round(stand, number, seed, seconds):
    """Once more with longer load if the machine was too slow for a short one."""
    try:
        return stand.run_round(number, seed, seconds)
    except LoadEndedError:
        return stand.run_round(f"{number}-again", seed, seconds * 8)


def run_rounds(kind, rounds, seed, seconds=1.5, keep=True, say=print):
    """Runs rounds of one kind, a name in KINDS or a class, on one stand, round i with seed + i; fewer if the stand is
    worn before. FaultError at the first that finds something; its folder is then kept, if not told otherwise."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="lunar-", dir="/tmp"))
    number = None
    try:
        stand = KINDS.get(kind, kind)(folder)
        try:
            stand.start()
            for number in range(rounds):
                text = _run_round(stand, number, seed + number, seconds)
                say(f"{kind}: round {number}, seed {seed + number}: {text}")
                if stand.is_worn:
                    break
        except BaseException:
            try:
                stand.stop()
            except Exception as error:
                say(f"{kind}: at the end besides: {error}")
            raise
        stand.stop()
    except Exception as error:  # whatever ends a round, its folder says why
        which = "" if number is None else f" in round {number} (--rounds 1 --seed {seed + number})"
        where = f"kept: {folder}" if keep else ""
        kind_of_error = StandError if number is None else FaultError
        raise kind_of_error(f"{kind}{which}: {error}\n{where}") from error
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
    shutil.rmtree(folder, ignore_errors=True)
