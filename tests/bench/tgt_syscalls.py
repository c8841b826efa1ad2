#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Counts the system calls of tgtd and of the object server per command, with perf (as root).

    tgt_syscalls.py [--stores stock-null,…] [--workloads 4k,4k1,1m] [--seconds N]

Every store of tgt_bench.py by itself; the load is that benchmark's.
"""

import argparse
import pathlib
import shutil
import subprocess
import sys
import tempfile

import tgt_bench
from lunar_e2e import HarnessError, LoadError

CALLS = ("recvmsg", "sendmsg", "read", "write", "writev", "epoll_wait", "epoll_pwait2", "epoll_ctl", "setsockopt",
         "timerfd_settime", "futex", "io_uring_enter")


def start_counting(pid):
    events = ["raw_syscalls:sys_enter"] + [f"syscalls:sys_enter_{call}" for call in CALLS]
    words = [word for event in events for word in ("-e", event)]
    return subprocess.Popen(["perf", "stat", "-x", ",", "-p", str(pid), *words], stderr=subprocess.PIPE, text=True)


def stop_counting(perf):
    perf.send_signal(2)
    _, output = perf.communicate(timeout=30)
    counts = {}
    for line in output.splitlines():
        fields = line.split(",")
        if len(fields) > 2 and fields[0].isdigit():
            counts[fields[2].rpartition("sys_enter_")[2]] = int(fields[0])
    return counts


def shown(counts, ops):
    total = sum(count for name, count in counts.items() if name.startswith("raw_syscalls"))
    parts = [f"{count / ops:.2f} {name}" for name, count in counts.items()
             if not name.startswith("raw_syscalls") and count / ops >= 0.005]
    return f"{total / ops:.2f} ({', '.join(parts)})"


def count(bench, store, access, size, depth):
    processes = {"tgtd": bench.tgtds[tgt_bench.split_store(store)[0]].process.pid}
    if store.endswith("lunar"):
        processes["lunar-osd"] = bench.cluster.osds[0].pid
    perfs = {name: start_counting(pid) for name, pid in processes.items()}
    report = bench.measure(store, access, size, depth, seconds=bench.options.seconds)
    # The load warms up for half a second at the same rate, which is counted too.
    ops = report["iops"] * (report["seconds"] + 0.5)
    for name, perf in perfs.items():
        print(f"  {store:11} {name:9} {shown(stop_counting(perf), ops)}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stores", type=tgt_bench.listed(tgt_bench.STORES),
                        default=["stock-null", "null", "stock-lunar", "lunar"])
    parser.add_argument("--workloads", type=tgt_bench.listed(tgt_bench.WORKLOADS), default=["4k"])
    parser.add_argument("--seconds", type=float, default=2)
    parser.set_defaults(span_mib=256, osds=1, osd_store="mem")
    options = parser.parse_args()
    folders = []
    try:
        for parent in ("/tmp", "/dev/shm"):
            folders.append(pathlib.Path(tempfile.mkdtemp(prefix="lunar-", dir=parent)))
        with tgt_bench.Bench(*folders, options) as bench:
            for workload in options.workloads:
                for access, size, depth in tgt_bench.WORKLOADS[workload]:
                    print(f"{access}, {size} B, depth {depth}: system calls per command")
                    for store in options.stores:
                        count(bench, store, access, size, depth)
    except (HarnessError, LoadError, OSError) as error:
        print(f"tgt_syscalls.py: {error}", file=sys.stderr)
        return 2
    finally:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
