#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""What tracepoints cost: built in but off, and on, against a build without LTTng.

    trace_cost.py --with BUILD --without BUILD [--rounds N] [--seconds S] [--instructions] [--json FILE]

BUILDs are folders with tgtd's plugin, lunar-osd and the load generator, built with -DLUNAR_LTTNG=ON and
=OFF. Both systems stand side by side, each a tgtd and a server with a store in memory, and are loaded by turns
(4 KiB random writes by iSCSI), in changing order: a pair is a second or two apart, so what else the machine
does meets both. Printed are the medians of the ratios of pairs, their quartiles and the 95 % interval of the
median (order statistics); of IOPS, and of the CPU time of tgtd and server per IO, which neighbours disturb less.
The build without is also paired with itself: what those pairs show is the machine. --instructions counts those of
tgtd and of the server per IO by callgrind, which repeats.
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


class System:
    """A cluster of one server, a tgtd and a LUN of one build. Both run under `wrapper`."""

    def __init__(self, folder, build, environment, wrapper=()):
        self.folder = folder
        self.build = build
        self.environment = environment
        self.wrapper = list(wrapper)

    def use(self):
        os.environ["LUNAR_BUILD_DIR"] = str(self.build)

    def __enter__(self):
        self.use()
        self.folder.mkdir()
        # Under valgrind the program of the process is valgrind's: the plugin cannot tell tgtd's version.
        options = {"lunar_tgt_version_check": "warn"} if self.wrapper else {}
        self.cluster = Cluster(self.folder / "cluster", num_osds=1, store="mem", options=options,
                               wrapper=self.wrapper, extra_environment=self.environment).start()
        self.tgtd = PrivateTgtd(self.folder / "tgt", with_lunar=True, wrapper=self.wrapper,
                                environment=self.cluster.environment()).start()
        self.cluster.create_image("rbd/cost", str(SPAN))
        self.url = self.tgtd.add_target().add_lun("lunar", "rbd/cost").url
        if not self.wrapper:
            self.load(ops=SPAN // MIB, size="1M", access="write")
        return self

    def __exit__(self, *_):
        self.tgtd.stop()
        self.cluster.stop()

    def pids(self):
        return {"tgtd": self.tgtd.process.pid, "server": self.cluster.osds[0].pid}

    def cpu_ns(self):
        """CPU time of tgtd and server so far, all threads."""
        total = 0
        for pid in self.pids().values():
            for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                total += int((task / "schedstat").read_text().split()[0])
        return total

    def load(self, **options):
        self.use()
        load = Load("bench", self.url, self.folder / "load.log", span=SPAN, **{"depth": DEPTH, **options})
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
    """Median, quartiles, and the 95 % interval of the median: order statistics, normal approximation."""
    ordered = sorted(values)
    low, middle, high = statistics.quantiles(values, n=4)
    reach = 0.98 * len(ordered) ** 0.5
    first = max(int(len(ordered) / 2 - reach), 0)
    return {"median": middle, "low": low, "high": high, "rounds": len(values),
            "median_95": [ordered[first], ordered[len(ordered) - 1 - first]]}


def shown(what, values):
    found = spread(values)
    print(f"{what:50} {found['median']:.4f}  95 %: {found['median_95'][0]:.4f} to {found['median_95'][1]:.4f}"
          f"  ({found['low']:.4f} to {found['high']:.4f}, {found['rounds']} pairs)")
    return found


def run_pairs(options, traced, plain):
    """Off against without, and without against itself, in changing order."""
    pairs = {"off": [], "control": []}
    for number in range(-2, options.rounds):  # the first two warm up
        order = ["off", "without", "again"] if number % 2 else ["again", "without", "off"]
        one = {kind: (traced if kind == "off" else plain).measure(options.seconds) for kind in order}
        if number >= 0:
            pairs["off"].append((one["off"], one["without"]))
            pairs["control"].append((one["again"], one["without"]))
    return pairs


def run_recording(options, traced, recorder):
    pairs = []
    for _ in range(options.recording_rounds):
        off = traced.measure(options.seconds)
        recorder.start()
        pairs.append((traced.measure(options.seconds), off))
        recorder.stop()
    return pairs


def run_rounds(options, folder, recording):
    with System(folder / "with", options.with_build, recording.program_environment()) as traced, \
         System(folder / "without", options.without_build, {}) as plain:
        pairs = run_pairs(options, traced, plain)
        pairs["on"] = run_recording(options, traced, Recorder(recording))
    return pairs


def conclude(pairs):
    found = {}
    plain = [pair[1] for pair in pairs["off"]]
    iops, cpu_ns = (statistics.median(each[i] for each in plain) for i in (0, 1))
    print(f"4 KiB random writes, depth {DEPTH}, without tracepoints: {iops:.0f} IOPS, "
          f"{cpu_ns:.0f} ns of CPU per IO (tgtd and server)")
    print(f"{'ratios of pairs':50} median, its 95 % interval, quartiles")
    for kind, what in (("control", "without / without"), ("off", "built in but off / without"),
                       ("on", "recording / built in but off")):
        if len(pairs[kind]) < 2:
            continue
        for index, unit in enumerate(("IOPS", "CPU per IO")):
            found[f"{kind}_{'cpu' if index else 'iops'}"] = shown(f"{unit}, {what}", [
                first[index] / second[index] for first, second in pairs[kind]])
    if len(pairs["on"]) >= 2:
        found["on_ns"] = shown("CPU ns per IO that recording adds", [
            on[1] - off[1] for on, off in pairs["on"]])
    return found


def counted(folder, pid):
    """Instructions in the newest dump that callgrind made of a process."""
    dumps = sorted(folder.glob(f"callgrind.{pid}.*"), key=lambda path: path.stat().st_mtime_ns)
    return int(re.search(r"^(?:summary|totals): (\d+)", dumps[-1].read_text(), re.MULTILINE).group(1))


def instructions_per_io(folder, build):
    """Of tgtd and of the server, three counts each. One IO at a time: how many are answered at once would vary."""
    ios = 4000
    wrapper = [program("valgrind"), "--tool=callgrind", "--trace-children=yes",  # tgtd is behind env(1)
               f"--callgrind-out-file={folder}/callgrind.%p"]
    with System(folder / "system", build, {}, wrapper) as system:
        found = {name: [] for name in system.pids()}
        system.load(access="randwrite", size="4K", ops=ios, depth=1)  # makes the objects
        for _ in range(3):
            for pid in system.pids().values():
                subprocess.run(["callgrind_control", "--zero", str(pid)], check=True,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            system.load(access="randwrite", size="4K", ops=ios, depth=1)
            for name, pid in system.pids().items():
                subprocess.run(["callgrind_control", "--dump", str(pid)], check=True,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                found[name].append(counted(folder, pid) / ios)
    return found


def count_instructions(options, folder):
    found = {}
    for kind, build in (("without", options.without_build), ("off", options.with_build)):
        place = folder / f"count-{kind}"
        place.mkdir()
        for name, counts in instructions_per_io(place, build).items():
            found.setdefault(name, {})[kind] = counts
    totals = {kind: sum(statistics.median(each[kind]) for each in found.values()) for kind in ("off", "without")}
    for name, each in found.items():
        off, without = (statistics.median(each[kind]) for kind in ("off", "without"))
        print(f"instructions of the {name} per IO, off / without: {off:.0f} / {without:.0f} = {off / without:.4f} "
              f"(runs: {', '.join(f'{count:.0f}' for count in each['off'])}; "
              f"{', '.join(f'{count:.0f}' for count in each['without'])})")
    found["ratio"] = totals["off"] / totals["without"]
    print(f"both: {found['ratio']:.4f}")
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--with", dest="with_build", type=pathlib.Path, required=True)
    parser.add_argument("--without", dest="without_build", type=pathlib.Path, required=True)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--recording-rounds", type=int, default=15)
    parser.add_argument("--seconds", type=float, default=0.5)
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
