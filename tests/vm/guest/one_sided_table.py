#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Inline against one-sided IO through the object path (gateway library, Objecter, two lunar-osd with
stores in memory), on one RDMA device beside perftest with as many queue pairs. IOs are at random
places of an image that is spread over the servers, as an image is.

Two parts. "speed": bandwidth, latency and payload copies, runs alternating; for the bounds several
rounds of which the median counts. "instructions": the same IOs with gateway and server under
callgrind, which counts what user space executes in all threads; counting begins when buffers are
filled and connections stand. Data lies in registered memory on both ways of travelling."""

import argparse
import json
import os
import pathlib
import re
import shutil
import socket
import statistics
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from rdma_ratios import PerfMsgr, Perftest, wait_until  # noqa: E402 (needs the path)

ROOT = pathlib.Path(__file__).resolve().parents[3]
KIB, MIB = 1 << 10, 1 << 20
IMAGE_BYTES = 64 * MIB  # of so many objects that each server has its share
IMAGE = "lunar/table"
SIZES = [4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB, 4 * MIB]
KINDS = ("write", "read")
THRESHOLDS = {"inline": "1TiB", "one-sided": "4K"}
# Bounds without checksums: of bandwidth at 1 MiB, of instructions from there on.
SPEEDUP, OF_PERFTEST, INSTRUCTIONS = 1.3, 0.8, 0.5
NO_COPY = 0.01  # of the payload: the image's header is looked at now and then


def depth_of(size):
    """IOs in flight to each server."""
    return max(2, min(16, 4 * MIB // size))


def ops_of(size, mebibytes):
    """As much data as is asked for, but no more than some thousand operations, nor too few to be in
    flight together."""
    return max(2 * depth_of(size), min(2000, mebibytes * MIB // size))


def size_name(size):
    return f"{size // MIB}M" if size >= MIB else f"{size // KIB}K"


# --- instructions

# valgrind counts each byte of a "rep movsb" as an instruction: the C library is to copy by vectors.
CALLGRIND = ["env", "GLIBC_TUNABLES=glibc.cpu.x86_rep_movsb_threshold=0x7fffffff:"
             "glibc.cpu.x86_rep_stosb_threshold=0x7fffffff",
             "valgrind", "--tool=callgrind", "--vgdb-poll=1000000000"]


class Counted:
    """A process under callgrind, by its id and the file it dumps to."""

    def __init__(self, pid, out):
        self.pid, self.out = pid, out

    def _tell(self, *words):
        told = subprocess.run(["vgdb", f"--pid={self.pid}", "--wait=60", *words], timeout=120,
                              capture_output=True, text=True, check=False)
        if told.returncode != 0:
            sys.exit(f"vgdb {words}: {told.stdout}{told.stderr}")

    def begin(self):
        self._tell("zero")

    def end(self):
        """Instructions since begin()."""
        for old in self._dumps():
            old.unlink()
        self._tell("dump")
        wait_until(lambda: any("totals:" in path.read_text() for path in self._dumps()), "dump")
        return sum(int(value) for path in self._dumps()
                   for value in re.findall(r"^totals: (\d+)", path.read_text(), re.MULTILINE))

    def _dumps(self):
        return list(self.out.parent.glob(self.out.name + ".*"))


# --- the system

class Cluster:
    """Servers with stores in memory, and an image that is written all over."""

    def __init__(self, options, crc, is_counted):
        self.folder = pathlib.Path(f"/run/table-{'crc' if crc else 'plain'}{'-counted' * is_counted}")
        self.bin_dir = options.bin_dir if not is_counted else self._wrapped(options.bin_dir)
        self._vstart("start", "-n", str(options.servers), "--store", "mem", "--bin-dir",
                     self.bin_dir, "--pool", "lunar", "--address", options.address, "-o", "ms_type=async+rdma",
                     "-o", "ms_async_rdma_fallback=false", "-o", f"ms_crc_data={str(crc).lower()}",
                     "-o", "objecter_op_timeout=120s", "-o", "ms_keepalive_timeout=10m",
                     "-o", "ms_connection_ready_timeout=60s",
                     *(word for setting in options.option for word in ("-o", setting)))
        self.conf = self.folder / "lunar.conf"
        self.lunar = options.bin_dir / "tools" / "lunar"
        self._run("create", IMAGE, "--size", str(IMAGE_BYTES))
        self._run("bench", IMAGE, "--io-type", "write", "--io-size", "1M", "--io-depth", "4",
                  "--io-total", str(IMAGE_BYTES))
        self.counted = []
        if is_counted:
            self.counted = [Counted(pid, self._out(pid)) for pid in self._pids()]

    def _run(self, *words):
        subprocess.run([self.lunar, "-c", self.conf, *words], check=True)

    def _pids(self):
        return [int(path.read_text().split()[0])
                for path in sorted((self.folder / "run").glob("osd.*.pid"))]

    def _out(self, pid):
        return self.folder.parent / f"{self.folder.name}.{pid}.callgrind"

    def _wrapped(self, bin_dir):
        """Programs of the same names, the servers under callgrind."""
        folder = self.folder.parent / f"{self.folder.name}.bin"
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "osd").mkdir(parents=True)
        (folder / "tools").symlink_to(bin_dir / "tools")
        wrapper = folder / "osd" / "lunar-osd"
        wrapper.write_text(f"#!/bin/sh\nexec {' '.join(CALLGRIND)} --callgrind-out-file={self._out('%p')} "
                           f"{stripped(bin_dir / 'osd' / 'lunar-osd')} \"$@\"\n")
        wrapper.chmod(0o755)
        return folder

    def _vstart(self, command, *words):
        subprocess.run([ROOT / "tools" / "lunar-vstart", command, "--quiet", "--dir", self.folder,
                        *words], check=True)

    def perf(self):
        """The counters of each server."""
        return [perf_dump(path) for path in sorted((self.folder / "run").glob("*osd.*.asok"))]

    def stop(self):
        self._vstart("stop", "--remove")


def perf_dump(path):
    with socket.socket(socket.AF_UNIX) as admin:
        admin.connect(str(path))
        admin.sendall(b'{"prefix": "perf dump"}\0')
        length = int.from_bytes(admin.recv(4, socket.MSG_WAITALL), "big")
        return json.loads(admin.recv(length, socket.MSG_WAITALL))


def stripped(program):
    """A copy without debug information, which valgrind would read for minutes."""
    copy = pathlib.Path("/run") / program.name
    if not copy.exists():
        subprocess.run(["strip", "-o", copy, program], check=True)
    return copy


class Load:
    """One gateway process that does what it is told: tests/bench/one_sided_load.cc."""

    def __init__(self, options, cluster, mode):
        self.cluster, self.mode, self.servers = cluster, mode, options.servers
        program = options.bin_dir / "tests" / "bench" / "one_sided_load"
        out = pathlib.Path(f"/run/{cluster.folder.name}-{mode}.load")
        words = [program]
        if cluster.counted:
            words = [*CALLGRIND, f"--callgrind-out-file={out}", stripped(program)]
        words += [IMAGE, "-c", cluster.conf, "--lunar-one-sided-threshold", THRESHOLDS[mode]]
        log = open(options.out / f"{out.name}.log", "w", encoding="utf-8")
        self.process = subprocess.Popen([str(word) for word in words], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=log, text=True)
        self.counted = Counted(self.process.pid, out) if cluster.counted else None

    def _tell(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit(f"one_sided_load ended at '{line}'")
        return answer

    def run(self, kind, size, mebibytes):
        """Figures of one run in which all went as it should: what is sent again when a link ends goes
        inline, and links end when the emulated device does not answer for half a second."""
        for _ in range(5):
            found, moved = self._try(kind, size, mebibytes)
            if moved == 1:
                return found
            print(f"  again: {moved:.3f} of {kind} {size} was {self.mode}", flush=True)
        sys.exit(f"{kind} {size} was not {self.mode}")

    def _try(self, kind, size, mebibytes):
        ops = ops_of(size, mebibytes)
        self._tell(f"prepare {kind} {size} {depth_of(size) * self.servers} {ops}")
        server_before = self.cluster.perf()
        for counted in [*filter(None, [self.counted]), *self.cluster.counted]:
            counted.begin()
        self._tell("run")
        amount = ops * size / MIB
        found = {}
        if self.counted:
            found["gateway_instructions"] = self.counted.end() / amount
            found["server_instructions"] = sum(
                counted.end() for counted in self.cluster.counted) / amount
        report = json.loads(self._tell("report"))
        servers = [difference(*pair) for pair in zip(server_before, self.cluster.perf())]
        moved = report["bytes_one_sided"] if self.mode == "one-sided" else report["bytes_inline"]
        found.update(copies(kind, report, servers, ops * size))
        found.update(mib_s=report["bytes_per_second"] / MIB, p50_us=report["p50_us"],
                     p99_us=report["p99_us"])
        return found, moved / (ops * size)

    def stop(self):
        self.process.stdin.close()
        if self.process.wait(60) != 0:
            sys.exit(f"one_sided_load ended with {self.process.returncode}")


def difference(before, after):
    return {group: {name: value - before.get(group, {}).get(name, 0)
                    for name, value in counters.items() if isinstance(value, int)}
            for group, counters in after.items()}


def total(perf, name):
    """Over all groups; a queue pair's counts are in its worker's too."""
    return sum(counters.get(name, 0) for group, counters in perf.items()
               if not group.startswith("rdma-qp"))


def copies(kind, report, servers, payload):
    """Copies of each payload byte by us, on arrival and on sending. What travelled in frames and was
    not gathered from where it lay was copied."""
    sides = {"gateway": [report["perf"]], "server": servers}
    counted = {side: lambda name, perfs=perfs: sum(total(perf, name) for perf in perfs)
               for side, perfs in sides.items()}
    copied = {side: count("payload_copied") for side, count in counted.items()}
    sender = "gateway" if kind == "write" else "server"
    copied[sender] += max(0, report["bytes_inline"] - counted[sender]("gathered_bytes"))
    return {f"{side}_copies": value / payload for side, value in copied.items()}


# --- the parts

def uptime():
    return float(pathlib.Path("/proc/uptime").read_text().split()[0])


def perftest(options, kind, size, mebibytes):
    """A server pulls a WRITE by RDMA READ, and pushes a READ by RDMA WRITE. With a queue pair for each,
    and as much in flight on it."""
    verb, words = ("read", ["-e", "-o", "16"]) if kind == "write" else ("write", [])
    each = options.servers
    run = Perftest(f"ib_{verb}_bw", options.address, "-s", str(size), "-q", str(each),
                   "-n", str(max(5, ops_of(size, mebibytes) // each)),
                   "-t", str(depth_of(size)), *words)
    return run.row()[3]


def crossover(options):
    """What `lunar-perf-msgr --crossover` says of bare links, without the object path."""
    server = PerfMsgr(options.bin_dir / "tools" / "lunar-perf-msgr", options.address)
    found = server.client("--crossover", "--min-size", "4K", "--max-size", "512K", "--depth", "8",
                          "--ops", "32", "--warmup", "0.1", "--rounds", "2")
    server.stop()
    print(json.dumps(found, indent=1), flush=True)


class Systems:
    """A cluster with a gateway for each mode; each has used its memory once."""

    def __init__(self, options, crc, is_counted):
        self.cluster = Cluster(options, crc, is_counted)
        self.loads = {mode: Load(options, self.cluster, mode) for mode in THRESHOLDS}
        print(f"{'under callgrind' * is_counted} crc {crc}: {uptime():.0f} s after boot", flush=True)
        for load in self.loads.values():
            load.run("write", MIB, 2 * depth_of(MIB))

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            for load in self.loads.values():
                load.stop()
            self.cluster.stop()


def measure(options, crc, is_counted, cells):
    """Fills cells[size, kind, mode, crc]."""
    with Systems(options, crc, is_counted) as systems:
        for size in options.sizes:
            for kind in KINDS:
                for mode, found in measure_cell(options, systems, kind, size).items():
                    if is_counted:
                        found = {key: value for key, value in found.items() if "instr" in key}
                    cells.setdefault((size, kind, mode, crc), {}).update(found)
                    print(f"  {size_name(size)} {kind} {mode} crc {crc}: " + ", ".join(
                        f"{name} {value:.2f}" for name, value in found.items()), flush=True)
        return rounds(options, systems) if options.rounds and not is_counted and not crc else None


def measure_cell(options, systems, kind, size):
    """{mode: medians} of runs that alternate; instructions repeat, so one run of them is enough."""
    is_counted = bool(systems.cluster.counted)
    runs = {mode: [] for mode in THRESHOLDS}
    for _ in range(1 if is_counted else options.repeats):
        for mode, load in systems.loads.items():
            runs[mode].append(load.run(kind, size, options.counted_mebibytes if is_counted
                                       else options.mebibytes))
    return {mode: {name: statistics.median(run[name] for run in found) for name in found[0]}
            for mode, found in runs.items()}


def rounds(options, systems):
    """1 MiB, by turns: {kind: [(inline, one-sided, perftest)]} in MiB/s."""
    found = {kind: [] for kind in KINDS}
    for _ in range(options.rounds):
        for kind in KINDS:
            ours = [systems.loads[mode].run(kind, MIB, options.mebibytes)["mib_s"]
                    for mode in THRESHOLDS]
            found[kind].append((*ours, perftest(options, kind, MIB, options.mebibytes)))
            print(f"  1M {kind}: inline {ours[0]:.1f}, one-sided {ours[1]:.1f}, perftest "
                  f"{found[kind][-1][2]:.1f} MiB/s", flush=True)
    return found


# --- what is said of it

COLUMNS = [("mib_s", "MiB/s", "{:.1f}", 1), ("p50_us", "p50 ms", "{:.1f}", 1e-3),
           ("p99_us", "p99 ms", "{:.1f}", 1e-3),
           ("gateway_copies", "copies gw", "{:.2f}", 1), ("server_copies", "copies srv", "{:.2f}", 1),
           ("gateway_instructions", "k instr gw", "{:.0f}", 1e-3),
           ("server_instructions", "k instr srv", "{:.0f}", 1e-3)]


def table(sizes, cells, theirs):
    """Markdown; each figure without and with checksums of the payload."""
    titles = [f"{title} {crc}" for _, title, *_ in COLUMNS for crc in ("off", "on")]
    lines = ["| IO | way | " + " | ".join(titles) + " | perftest MiB/s |",
             "|---" * (len(titles) + 3) + "|"]
    for kind in KINDS:
        for size in sizes:
            for mode in THRESHOLDS:
                row = [f"{size_name(size)} {kind}", mode]
                for key, _, form, scale in COLUMNS:
                    both = [cells.get((size, kind, mode, crc), {}).get(key) for crc in (False, True)]
                    row += ["" if value is None else form.format(value * scale) for value in both]
                row.append(f"{theirs[size, kind]:.1f}" if (size, kind) in theirs else "")
                lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


def spread(ratios):
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


class Judge:
    def __init__(self):
        self.failed = []

    def say(self, what, value, bound, holds):
        print(f"{what}: {value}; {bound}: {'holds' if holds else 'DOES NOT HOLD'}", flush=True)
        if not holds:
            self.failed.append(what)

    def speed(self, found):
        for kind, runs in found.items():
            for what, bound, ratios in (
                    ("inline", SPEEDUP, [ours / other for other, ours, _ in runs]),
                    ("perftest", OF_PERFTEST, [ours / other for _, ours, other in runs])):
                median = statistics.median(ratios)
                self.say(f"1 MiB {kind}, one-sided / {what}", spread(ratios), f"at least {bound}",
                         median >= bound)
            print(f"1 MiB {kind}, perftest / inline: "
                  f"{spread([other / inline for inline, _, other in runs])}", flush=True)

    def cells(self, cells):
        for (size, kind, mode, crc), found in cells.items():
            if mode != "one-sided":
                continue
            for side in ("gateway", "server"):
                copied = found.get(f"{side}_copies", 0)
                if copied > NO_COPY:
                    self.say(f"copies of {size_name(size)} {kind} at the {side}", f"{copied:.3f}",
                             "none", False)
            inline = cells[size, kind, "inline", crc]
            if size >= MIB and not crc and "server_instructions" in found:
                ratio = found["server_instructions"] / inline["server_instructions"]
                self.say(f"{size_name(size)} {kind}, instructions of the server, one-sided / inline",
                         f"{ratio:.2f}", f"at most {INSTRUCTIONS}", ratio <= INSTRUCTIONS)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("address")
    parser.add_argument("bin_dir", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--parts", default="speed,instructions")
    parser.add_argument("--crc", default="off,on")
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES, help="bytes")
    parser.add_argument("--mebibytes", type=int, default=32, help="of each run, if that is few IOs")
    parser.add_argument("--counted-mebibytes", type=int, default=8, help="the same under callgrind")
    parser.add_argument("--repeats", type=int, default=3, help="of each cell")
    parser.add_argument("--servers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7, help="for the bounds")
    parser.add_argument("--option", action="append", default=[], metavar="NAME=VALUE",
                        help="of the configuration of server and gateway")
    options = parser.parse_args()
    judge, cells, theirs = Judge(), {}, {}
    for part in options.parts.split(","):
        if part == "crossover":
            continue
        for crc in (word == "on" for word in options.crc.split(",")):
            bounds = measure(options, crc, part == "instructions", cells)
            if bounds:
                judge.speed(bounds)
    if "speed" in options.parts and options.rounds:
        theirs = {(size, kind): perftest(options, kind, size, options.mebibytes)
                  for size in options.sizes for kind in KINDS}
    if "crossover" in options.parts:
        crossover(options)
    judge.cells(cells)
    print("off, on: checksums of the payload; copies per byte of it, instructions per MiB")
    print(table(options.sizes, cells, theirs))
    (options.out / "table.json").write_text(json.dumps(
        [[*key, value] for key, value in cells.items()], indent=1))
    return 1 if judge.failed else 0


if __name__ == "__main__":
    sys.exit(main())
