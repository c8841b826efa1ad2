# SPDX-License-Identifier: LGPL-2.1-or-later
"""Rounds of faults on real programs: recorded load, a fault, restart, more load, read-back, verdict."""

import json
import pathlib
import random
import re
import shutil
import signal
import subprocess
import tempfile
import time

from lunar_e2e import Cluster, HarnessError, Load, PrivateTgtd, wait_until
from lunar_e2e.env import built, child_environment

NUM_OSDS = 3
IMAGE_BYTES = 16 << 20
OBJECT_BYTES = 1 << 20
CLEAN, VIOLATION = 0, 1


class FaultError(AssertionError):
    """A round has found something, or did not end."""


class FaultLog:
    """What the driver does, in a history of its own: shown in explanations."""

    def __init__(self, path):
        self.path = path
        self._file = open(path, "a", encoding="utf-8")  # pylint: disable=consider-using-with
        self._file.write("lunar-history 1\n")

    def _put(self, text):
        self._file.write(f"{time.monotonic_ns()} {text}\n")
        self._file.flush()

    def note(self, text):
        self._put(f"n {text}")

    def server_crashed(self, osd, loses_cache):
        self._put(f"s {osd} {int(loses_cache)}")

    def close(self):
        self._file.close()


def judge(files):
    """(exit code, what it said) of history-check."""
    result = subprocess.run([str(built("history-check")), *map(str, files)], text=True, check=False,
                            capture_output=True, timeout=600, env=child_environment())
    return result.returncode, result.stdout + result.stderr


class Stand:
    """A cluster and a tgtd on which rounds are run, one image for each."""

    # Of the kind: what differs from the stand's defaults.
    cluster_options = {"objecter_op_timeout": "5s"}
    load_options = {"timeout": 30}

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.cluster = Cluster(self.folder / "cluster", num_osds=NUM_OSDS, options=self.cluster_options)
        self.tgtd = None
        self.target = None

    def start(self):
        self.cluster.start()
        self.tgtd = PrivateTgtd(self.folder / "tgt", with_lunar=True, environment=self.cluster.environment())
        self.tgtd.start()
        self.target = self.tgtd.add_target()
        return self

    def stop(self):
        """Fails if a process has crashed."""
        try:
            if self.tgtd:
                self.tgtd.stop()
        finally:
            self.cluster.stop()

    # -- a round

    def run_round(self, number, seed, seconds):
        """A sentence about it; FaultError with the explanation if it found something."""
        choices = random.Random(seed)
        folder = self.folder / f"round-{number}"
        folder.mkdir()
        self.image = f"rbd/round-{number}"
        self.cluster.create_image(self.image, f"{IMAGE_BYTES >> 20}M", object_size=f"{OBJECT_BYTES >> 20}M")
        self.lun = self.target.add_lun("lunar", self.image)
        self.faults = FaultLog(folder / "faults")
        load = self.load(folder, client=1, seed=seed, seconds=seconds, final_pass=False)
        try:
            self.wait_for_writes(load)
            self.fault(choices, seconds)
            self.finish(load)
            more = self.load(folder, client=2, seed=seed + 1, seconds=0.3, final_pass=True)
            report = self.finish(more)
        finally:
            load.kill()
            self.faults.close()
        files = [folder / "history-1", folder / "history-2", self.faults.path]
        code, text = judge(files)
        if code != CLEAN:
            raise FaultError(f"{text}\nhistories: {' '.join(map(str, files))}")
        self.lun.delete()
        self.cluster.lunar("rm", self.image)
        shutil.rmtree(folder)
        first = self.last_reports[1]
        return (f"{text.strip()}; {first['outcomes']['UNKNOWN'] + report['outcomes']['UNKNOWN']} unknown, "
                f"{first['resets']} resets, retries {json.dumps(first['retries'])}")

    last_reports = {}

    def load(self, folder, client, seed, seconds, final_pass):
        options = {"history": folder / f"history-{client}", "client": client, "seed": seed,
                   "seconds": seconds, "connections": 3, "depth": 12, "retry_seconds": 90,
                   "span": "8M", "no_final_pass": not final_pass, "abort_timeout": 10,
                   **self.load_options}
        load = Load("record", self.lun.url, folder / f"load-{client}.log", **options)
        load.client = client
        return load

    def finish(self, load):
        (report,) = load.finish(timeout=200)
        self.last_reports = {**self.last_reports, load.client: report}
        return report

    def wait_for_writes(self, load):
        """Until the gateway has counted some: the load is in full swing."""
        def has_written():
            if not load.is_running():
                raise FaultError("the load ended early:\n" + load.log())
            return self.cluster.gateway_command("perf", "dump")["gateway"]["wr_bytes"] >= start + 65536
        start = self.cluster.gateway_command("perf", "dump")["gateway"]["wr_bytes"]
        wait_until(has_written, 60, "the load to write")

    # -- what faults are made of

    def fault(self, choices, seconds):
        raise NotImplementedError

    def pause(self, choices, most):
        """The moment of a fault is what is random about it."""
        time.sleep(choices.uniform(0, most))

    def kill_server(self, osd):
        self.cluster.kill_osd(osd)
        self.faults.server_crashed(osd, loses_cache=False)

    def start_server(self, osd):
        self.cluster.start_osd(osd)
        self.faults.note(f"server {osd} was started again")

    def kill_tgtd(self):
        self.tgtd.kill()
        for socket in self.cluster.gateway_sockets():
            socket.unlink()  # a killed process leaves it
        self.faults.note("tgtd was killed")

    def start_tgtd(self):
        self.tgtd.start()
        self.target = self.tgtd.add_target()
        self.lun = self.target.add_lun("lunar", self.image)
        self.faults.note("tgtd was started again, with the LUN")


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
    load_options = {"timeout": 1, "reset_seconds": 0.8}

    def run_round(self, number, seed, seconds):
        return super().run_round(number, seed, seconds + 4)

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
        for osd in victims:
            self.cluster.osds[osd].send(signal.SIGSTOP)
            self.faults.note(f"server {osd} is stopped")
        try:
            time.sleep(choices.uniform(2.2, 4.5))
        finally:
            for osd in victims:
                self.cluster.osds[osd].send(signal.SIGCONT)
                self.faults.note(f"server {osd} goes on")


def _name_of(kind):
    return re.sub(r"(?<!^)([A-Z])", r"-\1", kind.__name__).lower()


KINDS = {_name_of(kind): kind for kind in (KillServer, KillTgtd, KillBoth, StopServer)}


def run_rounds(kind, rounds, seed, seconds=1.5, keep=None, say=print):
    """Runs rounds of one kind on one stand, round i with seed + i. FaultError at the first that finds
    something; its folder is then kept, at `keep` or in /tmp."""
    folder = pathlib.Path(tempfile.mkdtemp(prefix="lunar-", dir=keep or "/tmp"))
    number = None
    try:
        stand = KINDS[kind](folder)
        try:
            stand.start()
            for number in range(rounds):
                text = stand.run_round(number, seed + number, seconds)
                say(f"{kind}: round {number}, seed {seed + number}: {text}")
        except BaseException:
            try:
                stand.stop()
            except (AssertionError, HarnessError, OSError, ValueError) as error:
                say(f"{kind}: at the end besides: {error}")
            raise
        stand.stop()
    except Exception as error:  # whatever ends a round, its folder says why
        which = "" if number is None else f" in round {number} (--rounds 1 --seed {seed + number})"
        raise FaultError(f"{kind}{which}: {error}\nkept: {folder}") from error
    shutil.rmtree(folder)
