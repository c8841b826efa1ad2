#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Counts the system calls of tgtd and of the object server per command, with perf (as root).

    tgt_syscalls.py [--stores stock-null,…] [--workloads 4k,4k1,1m] [--ops N]

Every store of tgt_bench.py by itself; the load is that benchmark's, of a fixed number of commands. perf counts from
before the first one, which is the login's, until after the last.
"""

import argparse
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

import tgt_bench
from lunar_e2e import HarnessError, LoadError

CALLS = ("recvmsg", "sendmsg", "read", "write", "writev", "epoll_wait", "epoll_pwait2", "epoll_ctl", "setsockopt",
         "timerfd_settime", "futex", "io_uring_enter")


class Counting:
    """The system calls of a process while it is in force; perf says when that begins."""

    def __init__(self, pid):
        events = ["raw_syscalls:sys_enter"] + [f"syscalls:sys_enter_{call}" for call in CALLS]
        words = [word for event in events for word in ("-e", event)]
        (control, self._control), (self._ack, ack) = os.pipe(), os.pipe()
        self._perf = subprocess.Popen(
            ["perf", "stat", "-x", ",", "--delay", "-1", "--control", f"fd:{control},{ack}", "-p", str(pid), *words],
            stderr=subprocess.PIPE, text=True, pass_fds=(control, ack))
        os.close(control)
        os.close(ack)
        self._say("enable")

    def _say(self, command):
        os.write(self._control, f"{command}\n".encode())
        if not os.read(self._ack, 8):
            raise HarnessError(f"perf has ended before '{command}': {self._perf.stderr.read().strip()}")

    def finish(self):
        """call -> how often"""
        self._say("disable")
        self._perf.send_signal(signal.SIGINT)
        _, output = self._perf.communicate(timeout=60)
        os.close(self._control)
        os.close(self._ack)
        return parse_counts(output)


def parse_counts(output):
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
    counted = {name: Counting(pid) for name, pid in processes.items()}
    bench.measure(store, access, size, depth, ops=bench.options.ops)
    for name, counting in counted.items():
        print(f"  {store:11} {name:9} {shown(counting.finish(), bench.options.ops)}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stores", type=tgt_bench.listed(tgt_bench.STORES + tgt_bench.EXTRA_STORES),
                        default=["stock-null", "null", "stock-lunar", "lunar"])
    parser.add_argument("--workloads", type=tgt_bench.listed(tgt_bench.WORKLOADS), default=["4k"])
    parser.add_argument("--ops", type=int, default=20000)
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
