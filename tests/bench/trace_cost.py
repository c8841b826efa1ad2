#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What tracepoints cost: built in but off, and on, against a build without LTTng.

    trace_cost.py --with BUILD --without BUILD [--rounds N] [--seconds S] [--instructions] [--json FILE]

BUILDs are folders with tgtd's plugin, lunar-osd and the load generator, built with -DLUNAR_LTTNG=ON and
=OFF. Both systems stand side by side, each a tgtd and a server with a store in memory, and are loaded by turns
(4 KiB random writes by iSCSI), in changing order: a pair is a second or two apart, so what else the machine
does meets both. Printed are the medians of the ratios of pairs and their quartiles; of IOPS, and of the CPU
time of tgtd and server per IO, which neighbours disturb less. --instructions counts those of `lunar bench`
per IO by callgrind, which repeats: two runs of different length, so that the start cancels.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import tempfile

from lunar_e2e import Cluster, Load, PrivateTgtd
from lunar_e2e.env import built, child_environment, program

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tracing"))
from private_lttng import PrivateRecording  # noqa: E402 (needs the path)

MIB = 1 << 20
SPAN = 64 * MIB
DEPTH = 32
KINDS = ("without", "off", "on")


class System:
    """A cluster of one server, a tgtd and a LUN of one build."""

    def __init__(self, folder, build, environment):
        self.folder = folder
        self.build = build
        self.environment = environment

    def use(self):
        os.environ["LUNAR_BUILD_DIR"] = str(self.build)

    def __enter__(self):
        self.use()
        self.folder.mkdir()
        self.cluster = Cluster(self.folder / "cluster", num_osds=1, store="mem",
                               extra_environment=self.environment).start()
        self.tgtd = PrivateTgtd(self.folder / "tgt", with_lunar=True,
                                environment=self.cluster.environment()).start()
        self.cluster.create_image("rbd/cost", str(SPAN))
        self.url = self.tgtd.add_target().add_lun("lunar", "rbd/cost").url
        self.load(ops=SPAN // MIB, size="1M", access="write")
        return self

    def __exit__(self, *_):
        self.tgtd.stop()
        self.cluster.stop()

    def cpu_ns(self):
        """CPU time of tgtd and server so far, all threads."""
        total = 0
        for pid in (self.tgtd.process.pid, self.cluster.osds[0].pid):
            for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                total += int((task / "schedstat").read_text().split()[0])
        return total

    def load(self, **options):
        self.use()
        load = Load("bench", self.url, self.folder / "load.log", depth=DEPTH, span=SPAN, **options)
        return load.finish(300)[0]

    def measure(self, seconds):
        """(IOPS, CPU ns per IO)."""
        ops = max(int(seconds * self.guess), 100) if hasattr(self, "guess") else 2000
        before = self.cpu_ns()
        report = self.load(access="randwrite", size="4K", ops=ops)
        self.guess = report["iops"]
        return report["iops"], (self.cpu_ns() - before) / ops


class Recorder:
    """Switches the recording of all our events on and off."""

    def __init__(self, recording):
        self.recording = recording

    def lttng(self, *words):
        subprocess.run(self.recording.command("lttng", "--no-sessiond", *words), check=True,
                       env=self.recording.environment(), stdout=subprocess.DEVNULL)

    def start(self):
        self.lttng("create", "cost", f"--output={self.recording.folder}/cost")
        self.lttng("enable-channel", "--userspace", "--session=cost", "--discard", "--subbuf-size=1M",
                   "--num-subbuf=8", "lunar")
        self.lttng("enable-event", "--userspace", "--session=cost", "--channel=lunar", "lunar_*")
        self.lttng("add-context", "--userspace", "--session=cost", "--channel=lunar", "--type=vpid",
                   "--type=procname")
        self.lttng("start", "cost")

    def stop(self):
        self.lttng("destroy", "cost")
        shutil.rmtree(self.recording.folder / "cost", ignore_errors=True)


def spread(values):
    """Median and quartiles."""
    low, middle, high = statistics.quantiles(values, n=4)
    return {"median": middle, "low": low, "high": high, "rounds": len(values)}


def shown(what, values):
    found = spread(values)
    print(f"{what:58} {found['median']:.4f}  ({found['low']:.4f} to {found['high']:.4f}, "
          f"{found['rounds']} pairs)")
    return found


def run_rounds(options, folder, recording):
    recorder = Recorder(recording)
    rounds = []
    with System(folder / "with", options.with_build, recording.program_environment()) as traced, \
         System(folder / "without", options.without_build, {}) as plain:
        for number in range(-1, options.rounds):  # the first warms up
            one = {}
            for step in range(3):
                kind = KINDS[(number + step) % 3]
                if kind == "on":
                    recorder.start()
                one[kind] = (plain if kind == "without" else traced).measure(options.seconds)
                if kind == "on":
                    recorder.stop()
            if number >= 0:
                rounds.append(one)
    return rounds


def conclude(rounds):
    found = {}
    print(f"{'4 KiB random writes, depth 32':58} median  (quartiles)")
    for kind in KINDS:
        iops = statistics.median(one[kind][0] for one in rounds)
        cpu = statistics.median(one[kind][1] for one in rounds)
        print(f"  {kind:10} {iops:9.0f} IOPS   {cpu:9.0f} ns of CPU per IO (tgtd and server)")
        found[kind] = {"iops": iops, "cpu_ns_per_io": cpu}
    found["iops_off"] = shown("IOPS, built in but off / without", [
        one["off"][0] / one["without"][0] for one in rounds])
    found["cpu_off"] = shown("CPU per IO, built in but off / without", [
        one["off"][1] / one["without"][1] for one in rounds])
    found["iops_on"] = shown("IOPS, recording / built in but off", [
        one["on"][0] / one["off"][0] for one in rounds])
    found["cpu_on"] = shown("CPU per IO, recording / built in but off", [
        one["on"][1] / one["off"][1] for one in rounds])
    found["ns_on"] = shown("CPU ns per IO that recording adds", [
        one["on"][1] - one["off"][1] for one in rounds])
    found["wall_ns_on"] = shown("ns between completions that recording adds", [
        1e9 / one["on"][0] - 1e9 / one["off"][0] for one in rounds])
    return found


def instructions_of(folder, cluster, ios):
    """Instructions of one `lunar bench` of so many IOs."""
    out = folder / "callgrind.out"
    words = [program("valgrind"), "--tool=callgrind", f"--callgrind-out-file={out}", built("lunar"), "-c",
             cluster.conf, "--objecter-op-timeout", "60s", "bench", "rbd/cost", "--io-type", "write",
             "--io-pattern", "rand", "--io-size", "4K", "--io-total", ios * 4096, "--io-depth", "1",
             "--seed", "7"]
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, check=False,
                          env=child_environment(cluster.environment()))
    if done.returncode != 0:
        raise SystemExit(done.stdout + done.stderr)
    return int(re.search(r"^(?:summary|totals): (\d+)", out.read_text(), re.MULTILINE).group(1))


def count_instructions(options, folder):
    found = {}
    for kind, build in (("without", options.without_build), ("off", options.with_build)):
        os.environ["LUNAR_BUILD_DIR"] = str(build)
        place = folder / f"count-{kind}"
        place.mkdir()
        with Cluster(place / "cluster", num_osds=1, store="mem") as cluster:
            cluster.create_image("rbd/cost", str(SPAN))
            few, many = 500, 2500
            counts = []
            for _ in range(3):
                difference = (instructions_of(place, cluster, many) - instructions_of(place, cluster, few))
                counts.append(difference / (many - few))
        found[kind] = {"median": statistics.median(counts), "low": min(counts), "high": max(counts)}
        print(f"instructions of the gateway side per IO, {kind:8} {found[kind]['median']:.0f} "
              f"({found[kind]['low']:.0f} to {found[kind]['high']:.0f})")
    found["ratio"] = found["off"]["median"] / found["without"]["median"]
    print(f"instructions, built in but off / without                   {found['ratio']:.4f}")
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--with", dest="with_build", type=pathlib.Path, required=True)
    parser.add_argument("--without", dest="without_build", type=pathlib.Path, required=True)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--instructions", action="store_true")
    parser.add_argument("--json", type=pathlib.Path)
    options = parser.parse_args()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="lunar-cost-", dir="/tmp"))
    try:
        found = {}
        if options.instructions:
            found["instructions"] = count_instructions(options, folder)
        if options.rounds > 1:
            with PrivateRecording(pattern=None) as recording:
                found.update(conclude(run_rounds(options, folder, recording)))
        if options.json:
            options.json.write_text(json.dumps(found, indent=1) + "\n")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
