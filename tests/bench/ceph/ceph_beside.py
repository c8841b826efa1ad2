#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Ceph's OSD (memstore) and lunar-osd (mem) on one address, the same writes and reads to each.

    ceph_beside.py --ceph ROOT --build DIR --address A [--types posix,rdma] [--rounds N] ...

One monitor and one OSD of Ceph, and one lunar-osd, per transport; nothing is replicated. Ceph does not
authenticate; ours does, as it must off the loopback, which costs when a connection is made.
All of them stay up; each round measures every one once, in turning order, so that whatever else the
machine does meets all of them alike. What counts is the ratio within a round. `rados bench` and
`lunar bench` do the same number of ops of the same size and depth, in order, to fresh objects of
4 MiB. At 4 MiB over RDMA ours has two rows: in frames, as all of Ceph's is, and one-sided from
registered memory, as tgtd's buffers are. ROOT is what prepare.sh prints."""

import argparse
import glob
import json
import os
import pathlib
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import uuid

MIB = 1 << 20
OBJECT = 4 * MIB
# Name -> (bytes of an op, depth, unit of the table, what a unit is in bytes).
SIZES = {"4M": (4 * MIB, 4, "MiB/s", MIB), "4K": (4096, 16, "IOPS", 4096)}

# Ceph over soft-RoCE: its defaults pin 1.1 GiB in each process (a pool of twice the queue's length,
# 128 KiB each, and 1024 to send from).
CEPH_RDMA = {
    "ms_async_rdma_device_name": "rxe0",
    "ms_async_rdma_gid_idx": "1",  # 0 is the link-local address
    "ms_async_rdma_receive_queue_len": "256",
    "ms_async_rdma_receive_buffers": "1024",
    "ms_async_rdma_send_buffers": "256",
}
QUIET = ("ms", "osd", "mon", "monc", "objecter", "rados", "auth", "optracker", "objclass", "paxos",
         "filestore", "throttle", "finisher", "timer", "perfcounter", "asok", "heartbeatmap", "tp")
# On a busy machine a client of Ceph 16 has crashed in its timer's thread while it ended, with all
# done: its figures count.
SIGNALS_AT_END = (-signal.SIGSEGV, -signal.SIGABRT)
# Through the monitor, before there is an OSD; `ceph` itself needs more of Python than there is.
# Ends without librados taking itself down, for the reason above.
MON_COMMAND = """
import json, os, rados, sys
cluster = rados.Rados(conffile=sys.argv[1], name="client.admin")
cluster.connect(timeout=120)
result, out, status = cluster.mon_command(sys.argv[2], b"")
print(out.decode() if result == 0 else status, flush=True)
os._exit(1 if result else 0)
"""


def run(words, seconds=180, tolerated=(), **more):
    result = subprocess.run(words, capture_output=True, text=True, timeout=seconds, check=False,
                            **more)
    if result.returncode in tolerated:
        print(f"  {pathlib.Path(words[0]).name} {words[-1]}: done, and died of signal "
              f"{-result.returncode} as it ended", flush=True)
    elif result.returncode != 0:
        sys.exit(f"{' '.join(map(str, words))}: ended with {result.returncode}\n"
                 f"{result.stdout[-2000:]}{result.stderr[-2000:]}")
    return result.stdout


class Ceph:
    """A monitor and an OSD, with a pool."""

    def __init__(self, name, folder, options, index, settings):
        self.name, self.folder = name, folder
        root = pathlib.Path(options.ceph)
        libraries = next(root.glob("usr/lib/*/rados-classes")).parent
        self.bin = root / "usr/bin"
        self.environment = dict(
            os.environ, CEPH_CONF=str(folder / "ceph.conf"), PYTHONDONTWRITEBYTECODE="1",
            LD_LIBRARY_PATH=f"{libraries}:{libraries}/ceph",
            PYTHONPATH=str(root / "usr/lib/python3/dist-packages"))
        first = 13300 + 10 * index
        self.where = f"[v2:{options.address}:{first},v1:{options.address}:{first + 1}]"
        self.fsid = str(uuid.uuid4())
        self.settings = {
            "fsid": self.fsid, "mon_host": self.where,
            "public_addr": options.address, "cluster_addr": options.address,
            "auth_cluster_required": "none", "auth_service_required": "none",
            "auth_client_required": "none",
            "osd_objectstore": "memstore",
            "mon_data": folder / "mon", "osd_data": folder / "osd", "run_dir": folder,
            "keyring": folder / "keyring", "log_file": folder / "$name.log", "pid_file": "",
            "admin_socket": folder / "$name.$pid.asok",
            "osd_class_dir": libraries / "rados-classes", "plugin_dir": libraries / "ceph",
            "erasure_code_dir": libraries / "ceph/erasure-code",
            "compressor_dir": libraries / "ceph/compressor",
            "osd_erasure_code_plugins": "jerasure",
            "osd_pool_default_size": 1, "osd_pool_default_min_size": 1,
            "osd_crush_chooseleaf_type": 0, "mon_allow_pool_size_one": "true",
            "osd_pool_default_pg_autoscale_mode": "off", "osd_heartbeat_grace": 120,
            "ms_crc_data": options.crc, **{f"debug_{what}": "0/0" for what in QUIET}, **settings}
        self.processes = []
        self.written = 0

    def _tool(self, *words):
        return run([self.bin / words[0], *words[1:]], env=self.environment)

    def _command(self, **words):
        return run([sys.executable, "-c", MON_COMMAND, self.folder / "ceph.conf",
                    json.dumps(words)], env=self.environment)

    def _daemon(self, program, name):
        with open(self.folder / f"{program}.out", "w", encoding="utf-8") as out:
            self.processes.append((program, subprocess.Popen(
                [self.bin / program, "-f", "-i", name], env=self.environment, stdout=out,
                stderr=subprocess.STDOUT)))

    def start(self):
        for name in ("mon", "osd"):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "ceph.conf").write_text(
            "[global]\n" + "".join(f"{key} = {value}\n" for key, value in self.settings.items()))
        monmap = self.folder / "monmap"
        self._tool("monmaptool", "--create", "--addv", "a", self.where, "--fsid", self.fsid, monmap)
        self._tool("ceph-mon", "--mkfs", "-i", "a", "--monmap", monmap)
        self._daemon("ceph-mon", "a")
        osd = str(uuid.uuid4())
        self._command(prefix="osd new", uuid=osd)
        self._tool("ceph-osd", "--mkfs", "-i", "0", "--osd-uuid", osd)
        self._daemon("ceph-osd", "0")
        self._command(prefix="osd pool create", pool="bench", pg_num=8)
        end = time.monotonic() + 60
        while not json.loads(self._command(prefix="osd stat", format="json"))["num_up_osds"]:
            if time.monotonic() > end:
                sys.exit(f"{self.name}: the OSD is not up: see {self.folder}")
        return self

    def _rados(self, *words):
        return run([self.bin / "rados", "-p", "bench", *words], env=self.environment,
                   tolerated=SIGNALS_AT_END)

    def bench(self, kind, size, depth, ops):
        """Seconds. Reads are of what the last write left. One run leaves whole objects."""
        if kind == "write":
            objects = max(1, ops * size // OBJECT)
            out = self._rados("bench", "100", "write", "-b", str(size), "-O", str(OBJECT),
                              "-t", str(depth), "--max-objects", str(objects), "--no-cleanup")
        else:
            out = self._rados("bench", "100", "seq", "-t", str(depth), "--no-verify")
        made = re.search(r"Total (?:writes|reads) made: +(\d+)", out)
        if not made or int(made[1]) != ops:
            sys.exit(f"{self.name}: not {ops} ops:\n{out}")
        return float(re.search(r"Total time run: +([\d.]+)", out)[1])

    def forget(self):
        self._rados("cleanup")

    def pinned(self):
        return status_bytes("VmPin", self.processes[-1][1].pid)

    def stop(self):
        for program, process in reversed(self.processes):
            code = process.poll()
            if code is not None:
                sys.exit(f"{self.name}: {program} ended with {code}: see {self.folder}")
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                print(f"{self.name}: {program} did not end on SIGTERM", flush=True)
                process.kill()
                process.wait()


class Lunar:
    """One lunar-osd with a pool; a fresh image for each write. All payload in frames."""

    is_one_sided = False
    words = ("--lunar-one-sided-threshold", "1TiB")

    def __init__(self, name, folder, options, settings):
        self.name, self.folder = name, folder
        self.settings = {"ms_crc_data": options.crc, **settings}
        self.address, self.build = options.address, pathlib.Path(options.build)
        self.vstart = pathlib.Path(__file__).resolve().parents[3] / "tools/lunar-vstart"
        self.tool = [self.build / "tools/lunar", "-c", folder / "lunar.conf"]

    def start(self):
        words = [word for key, value in self.settings.items() for word in ("-o", f"{key}={value}")]
        run([self.vstart, "start", "--quiet", "-n", "1", "--store", "mem", "--pool",
             "bench", "--pg-num", "8", "--address", self.address, "--dir", self.folder, "--bin-dir",
             self.build, *words])
        return self

    def bench(self, kind, size, depth, ops):
        if kind == "write":
            run([*self.tool, "create", "bench/image", "--size", str(max(OBJECT, ops * size))])
        return self._measure(kind, size, depth, ops)

    def _measure(self, kind, size, depth, ops):
        out = json.loads(run([*self.tool, "--format", "json", "bench", "bench/image", "--io-type",
                              kind, "--io-pattern", "seq", "--io-size", str(size), "--io-depth",
                              str(depth), "--io-total", str(ops * size), *self.words]))
        if out["ops"] != ops:
            sys.exit(f"{self.name}: {out['ops']} ops instead of {ops}")
        moved = out["bytes_one_sided"]
        if moved != (size * ops if self.is_one_sided else 0):
            sys.exit(f"{self.name}: {moved} of {size * ops} bytes went one-sided")
        return out["seconds"]

    def forget(self):
        run([*self.tool, "--no-progress", "rm", "bench/image"])

    def pinned(self):
        pid = int(next((self.folder / "run").glob("*.0.pid")).read_text().split()[0])
        return status_bytes("VmPin", pid)

    def stop(self):
        run([self.vstart, "stop", "--quiet", "--dir", self.folder])


class LunarOneSided(Lunar):
    """The same cluster, and payload that its server moves."""

    is_one_sided = True
    words = ()

    def start(self):
        return self

    def stop(self):
        pass


def status_bytes(field, pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return next((int(line.split()[1]) * 1024 for line in status
                     if line.startswith(field + ":")), 0)


def rdma_packets():
    return sum(int(pathlib.Path(path).read_text())
               for path in glob.glob("/sys/class/infiniband/*/ports/1/hw_counters/sent_pkts"))


def measure(system, size_name, ops, results):
    """A write and a read, and that they went the way they should."""
    size, depth, unit, unit_bytes = SIZES[size_name]
    for kind in ("write", "read"):
        before = rdma_packets()
        seconds = system.bench(kind, size, depth, ops)
        packets, least = rdma_packets() - before, ops * size // 4096
        over_rdma = "rdma" in system.name
        # Those that idle send a few too.
        if packets < least if over_rdma else packets > max(200, least // 2):
            sys.exit(f"{system.name}: {packets} packets left the RDMA device")
        rate = ops * size / seconds / unit_bytes
        if results is not None:
            results.setdefault((size_name, kind, system.name), []).append(rate)
            print(f"  {size_name} {kind:5} {system.name:24} {rate:8.1f} {unit}  ({seconds:.1f} s)",
                  flush=True)
    system.forget()


def spread(values):
    return f"{statistics.median(values):.2f} ({min(values):.2f} .. {max(values):.2f})"


def print_table(results, names, kinds, types):
    """Medians; and each of ours over Ceph on the same transport, round by round."""
    print(f"\n{'':10}{'':28}{'median':>14}   ours / Ceph, in a round: median (lowest .. highest)")
    for size_name in SIZES:
        for kind in kinds:
            for name in names:
                rates = results.get((size_name, kind, name))
                if not rates:
                    continue
                row = f"{size_name} {kind:7}{name:28}{statistics.median(rates):8.1f} " \
                      f"{SIZES[size_name][2]:5}"
                if name.startswith("lunar"):
                    for transport in types:
                        if transport in name:
                            theirs = results[(size_name, kind, f"ceph {transport}")]
                            row += "   " + spread([a / b for a, b in zip(rates, theirs)])
                print(row)
    for who in ("lunar", "ceph"):
        if len(types) == 2:
            for size_name in SIZES:
                for kind in kinds:
                    fast = results[(size_name, kind, f"{who} rdma")]
                    slow = results[(size_name, kind, f"{who} posix")]
                    print(f"{size_name} {kind:7}{who} rdma / {who} posix: "
                          + spread([a / b for a, b in zip(fast, slow)]))


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ceph", required=True, help="what prepare.sh prints")
    parser.add_argument("--build", required=True, help="build folder of Lunar")
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--types", default="posix,rdma")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--large-ops", type=int, default=24, help="of 4 MiB")
    parser.add_argument("--small-ops", type=int, default=1024, help="of 4 KiB: whole objects")
    parser.add_argument("--crc", choices=("true", "false"), default="true", help="ms_crc_data")
    parser.add_argument("--ceph-option", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--logs", help="where the servers' folders go if something fails")
    return parser.parse_args()


def compare(options, folder):
    systems = []
    types = options.types.split(",")
    for index, transport in enumerate(types):
        ceph = {"ms_type": f"async+{transport}", **(CEPH_RDMA if transport == "rdma" else {}),
                **dict(word.split("=", 1) for word in options.ceph_option)}
        ours = {"ms_type": f"async+{transport}",
                **({"ms_async_rdma_fallback": "false"} if transport == "rdma" else {})}
        systems.append(Ceph(f"ceph {transport}", folder / f"ceph-{transport}", options, index, ceph))
        systems.append(Lunar(f"lunar {transport}", folder / f"lunar-{transport}", options, ours))
        if transport == "rdma":
            systems.append(LunarOneSided("lunar rdma, one-sided", folder / "lunar-rdma", options,
                                           ours))
    started = []
    try:
        for system in systems:
            began = time.monotonic()
            started.append(system)
            system.start()
            print(f"{system.name}: up after {time.monotonic() - began:.1f} s", flush=True)
        # What does the first connections, and lets placement groups settle.
        for system in systems:
            measure(system, "4M", 4, None)
        results = {}
        for turn in range(options.rounds):
            print(f"round {turn + 1}", flush=True)
            order = systems[turn % len(systems):] + systems[:turn % len(systems)]
            for size_name, ops in (("4M", options.large_ops), ("4K", options.small_ops)):
                for system in order:
                    if size_name == "4M" or not isinstance(system, LunarOneSided):
                        measure(system, size_name, ops, results)
        for system in systems:
            print(f"{system.name}: {system.pinned() / MIB:.0f} MiB pinned by the server")
        print_table(results, [system.name for system in systems], ("write", "read"), types)
    finally:
        for system in started:
            system.stop()


def main():
    options = parse()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="beside."))
    try:
        compare(options, folder)
    except BaseException:
        if options.logs:
            shutil.copytree(folder, options.logs, dirs_exist_ok=True,
                            ignore=shutil.ignore_patterns("*.asok", "store.db"))
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
