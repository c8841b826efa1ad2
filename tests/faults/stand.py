# SPDX-License-Identifier: LGPL-2.1-or-later
"""A round of faults on real programs: recorded load, a fault, restart, more load, read-back, verdict."""

import collections
import pathlib
import random
import shutil
import subprocess
import time

from lunar_e2e import Cluster, Load, PrivateTgtd, admin_command, wait_until
from lunar_e2e.env import built, child_environment
from lunar_e2e.load import CLEAN

NUM_OSDS = 3
IMAGE_BYTES = 16 << 20
OBJECT_BYTES = 1 << 20
LAST_CLIENT = 9


class FaultError(AssertionError):
    """A round has found something, or did not end."""


class LoadEndedError(FaultError):
    """The machine was so slow that the load had ended before it was in full swing: says nothing."""


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

    def power_was_cut(self, client, text):
        """Of all servers, and the client's gateway with them."""
        self._put(f"p {text}")
        self.close_windows(client, "the power was cut")

    def losses_begin(self, text):
        """Acknowledged writes that are not flushed may go at any moment from here until losses_end()."""
        self._put(f"b {text}")

    def losses_end(self):
        self._put("e")

    def close_windows(self, client, text):
        """What the client has not had done by now is not done any more."""
        self._put(f"X {client} {text}")

    def close(self):
        self._file.close()


def judge(files):
    """(exit code, what it said) of history-check."""
    result = subprocess.run([str(built("history-check")), *map(str, files)], text=True, check=False,
                            capture_output=True, timeout=600, env=child_environment())
    return result.returncode, result.stdout + result.stderr


class Stand:
    """A cluster and a tgtd on which rounds are run, one image for each."""
    bsopts = None
    is_worn = False  # the next round needs a new stand

    # Of the kind: what differs from the stand's defaults.
    tgtd_uid = None
    num_osds = NUM_OSDS
    cluster_options = {"objecter_op_timeout": "5s"}

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.cluster = Cluster(self.folder / "cluster", num_osds=self.num_osds, options=self.cluster_options)
        self.tgtd = None
        self.target = None

    def start(self):
        self.cluster.start()
        self.tgtd = PrivateTgtd(self.folder / "tgt", with_lunar=True, environment=self.cluster.environment(),
                                uid=self.tgtd_uid)
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
        self.round_folder = folder
        self.reports = {}
        self.image = f"rbd/round-{number}"
        self.make_image()
        self.faults = FaultLog(folder / "faults")
        loads = []
        try:
            for client, lun in enumerate(self.luns(), 1):
                loads.append(self.load(folder, lun, client, seed + client - 1, seconds,
                                       **self.choose_load_options(choices)))
            self.wait_for_writes(loads)
            self.fault(choices, seconds)
            for load in loads:
                self.finish(load)
            self.read_back(folder, choices)
        finally:
            for load in loads:
                load.kill()
            self.faults.close()
        files = [*sorted(folder.glob("history-*")), self.faults.path]
        code, text = judge(files)
        if code != CLEAN:
            raise FaultError(f"{text}\nhistories: {' '.join(map(str, files))}")
        self.remove_image()
        shutil.rmtree(folder)
        return f"{text.strip()}; {self.summary()}"

    def read_back(self, folder, choices):
        """More load, and then all of it is read."""
        self.finish(self.load(folder, self.lun, LAST_CLIENT, choices.randrange(1 << 31), 0.3, final_pass=True))

    def make_image(self):
        self.cluster.create_image(self.image, f"{IMAGE_BYTES >> 20}M", object_size=f"{OBJECT_BYTES >> 20}M")
        self.lun = self.target.add_lun("lunar", self.image, bsopts=self.bsopts)

    def remove_image(self):
        self.lun.delete()
        # tgtd does not wait for the registration to be struck.
        wait_until(lambda: not self.cluster.lunar_json("info", self.image)["registrations"], 60,
                   "the image to be closed")
        self.cluster.lunar("rm", self.image)

    def luns(self):
        """One for each load that runs at the same time."""
        return [self.lun]

    def choose_load_options(self, _choices):
        return {}

    def summary(self):
        totals = collections.Counter()
        for report in self.reports.values():
            totals.update(report["outcomes"])
            totals.update(report["retries"])
            totals["resets"] += report["resets"]
        return ", ".join(f"{count} {what}" for what, count in totals.items() if count and what != "GOOD")

    def load(self, folder, lun, client, seed, seconds, final_pass=False, **more):
        options = {"history": folder / f"history-{client}", "client": client, "seed": seed,
                   "seconds": seconds, "connections": 3, "depth": 12, "retry_seconds": 90,
                   "span": "8M", "no_final_pass": not final_pass, "abort_timeout": 10, "timeout": 30, **more}
        load = Load("record", lun.url, folder / f"load-{client}.log", **options)
        load.client = client
        return load

    def finish(self, load):
        (self.reports[load.client],) = load.finish(timeout=200)

    def bytes_written(self):
        return sum(admin_command(socket, "perf dump")["gateway"]["wr_bytes"]
                   for socket in self.cluster.gateway_sockets())

    def wait_for_writes(self, loads):
        """Until the gateways have counted some: the load is in full swing."""
        def has_written():
            for load in loads:
                if not load.is_running():
                    raise LoadEndedError("the load ended early:\n" + load.log())
            return self.bytes_written() >= start + 65536
        start = self.bytes_written()
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
        self.kill_gateway(self.tgtd)
        self.faults.note("tgtd was killed")

    def kill_gateway(self, tgtd):
        pid = tgtd.process.pid
        tgtd.kill()
        for socket in self.cluster.gateway_sockets():
            if f".{pid}." in socket.name:
                socket.unlink()  # a killed process leaves it

    def start_tgtd(self):
        self.tgtd.start()
        self.target = self.tgtd.add_target()
        self.lun = self.target.add_lun("lunar", self.image, bsopts=self.bsopts)
        self.faults.note("tgtd was started again, with the LUN")
