#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Compares backing stores of tgtd: bs_null, bs_rdwr on tmpfs, and lunar. stock-NAME is the store in
a tgtd whose own iSCSI/TCP is left as it is (lunar_fast_iscsi = false); secure-lunar in one whose links
to the servers are secure (ms_client_mode = secure), and local-lunar in one that shares memory with them
(ms_type = async+local), the servers being the same.

    tgt_bench.py [--rounds N] [--seconds S] [--workloads 4k,4k1,1m] [--stores stock-null,…,lunar]
                 [--osds N] [--osd-store mem|file] [--folder FOLDER] [--output FILE]

Every round measures each store once, in turning order, so that whatever else the machine does
meets all of them alike. What counts is the ratio within a round: its median, and how far the rounds
lie apart. The figures themselves are of this machine at this hour. Least of all does a busy machine
change tgtd's processor time per operation, kernel included.
"""

import argparse
import json
import os
import pathlib
import platform
import shutil
import statistics
import sys
import tempfile

from lunar_e2e import Cluster, HarnessError, Load, LoadError, PrivateTgtd

MIB = 1 << 20

# Name -> what is measured: (access, bytes, depth), and after how many ops all is flushed.
WORKLOADS = {
    "4k": [("randread", 4096, 32), ("randwrite", 4096, 32)],
    "4k1": [("randread", 4096, 1), ("randwrite", 4096, 1)],
    "64k": [("randread", 64 << 10, 16), ("randwrite", 64 << 10, 16)],
    "1m": [("read", MIB, 8), ("write", MIB, 8)],
    "4k-flush": [("randwrite", 4096, 32, 1024)],
    "4k1-flush": [("randwrite", 4096, 1, 1)],
}
STORES = ("stock-null", "stock-rdwr", "stock-lunar", "null", "rdwr", "lunar")
# Of a tgtd of its own: the prefix of its stores' names, and what its conf says.
VARIANTS = {"stock": "lunar_fast_iscsi = false", "secure": "ms_client_mode = secure",
            "local": "lunar_one_sided_threshold = 64K"}
EXTRA_STORES = ("secure-lunar", "local-lunar")  # only when named


def split_store(store):
    """(variant or "", backing store)"""
    variant, _, name = store.rpartition("-")
    return variant, name


class Bench:
    """A LUN per store, each as large as the span and written once, in one tgtd for each variant."""

    def __init__(self, folder, fast_folder, options):
        self.folder = folder
        self.fast_folder = fast_folder
        self.options = options
        self.cluster = None
        self.tgtds = {}  # by variant
        self.urls = {}

    def __enter__(self):
        span = self.options.span_mib * MIB
        variants = {split_store(store)[0] for store in self.options.stores}
        self.cluster = Cluster(self.fast_folder / "cluster", num_osds=self.options.osds,
                               store=self.options.osd_store, authenticate="secure" in variants,
                               options={"ms_tcp_congestion": "cubic", "ms_type": "async+local",
                                        "objecter_op_timeout": "20s"}).start()
        targets = {variant: self._start_tgtd(variant) for variant in sorted(variants)}
        for store in self.options.stores:
            variant, name = split_store(store)
            self.urls[store] = targets[variant].add_lun(name, self._backing_store(store, span)).url
        for store in self.options.stores:
            if not store.endswith("null"):
                self.measure(store, "write", MIB, 8, ops=self.options.span_mib)
        return self

    def __exit__(self, *_):
        for tgtd in self.tgtds.values():
            tgtd.stop()
        if self.cluster:
            self.cluster.stop()

    def _start_tgtd(self, variant):
        environment = self.cluster.environment()
        conf = self.folder / f"{variant or 'tgt'}.conf"
        ms_type = "async+local" if variant == "local" else "async+posix"  # the servers take both
        conf.write_text(self.cluster.conf.read_text() +
                        f"[client]\nms_type = {ms_type}\n{VARIANTS.get(variant, '')}\n")
        environment["LUNAR_CONF"] = str(conf)
        self.tgtds[variant] = PrivateTgtd(self.folder / (variant or "tgt"), with_lunar=True,
                                          environment=environment).start()
        return self.tgtds[variant].add_target()

    def _backing_store(self, store, span):
        if store.endswith("null"):
            return str(self.options.span_mib)
        if store.endswith("lunar"):
            self.cluster.create_image(f"rbd/{store}", span)
            return f"rbd/{store}"
        path = self.fast_folder / store
        with open(path, "wb") as file:
            file.truncate(span)
        return path

    def measure(self, store, access, size, depth, **length):
        load = Load("bench", self.urls[store], self.folder / "load.log", access=access, size=size,
                    depth=depth, span=self.options.span_mib * MIB, **length)
        tgtd = self.tgtds[split_store(store)[0]]
        before = self._cpu_ns(tgtd)
        (report,) = load.finish()
        cpu_us = (self._cpu_ns(tgtd) - before) / 1000
        return {**report, "tgtd_cpu_us": cpu_us / max(1, report["iops"] * report["seconds"])}

    @staticmethod
    def _cpu_ns(tgtd):
        """Processor time of all threads of tgtd that still live; those of bs_rdwr stay."""
        threads = pathlib.Path(f"/proc/{tgtd.process.pid}/task").glob("*/schedstat")
        return sum(int(thread.read_text().split()[0]) for thread in threads)


def run_workload(bench, access, size, depth, flush_every=0):
    """store -> list of reports, one per round."""
    reports = {store: [] for store in bench.options.stores}
    order = list(bench.options.stores)
    for _ in range(bench.options.rounds):
        for store in order:
            reports[store].append(bench.measure(store, access, size, depth, flush_every=flush_every,
                                                seconds=bench.options.seconds))
        order.append(order.pop(0))
    return reports


def spread(values):
    """Median, lowest and highest."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def summarise(reports):
    """Per store: figures, and its ratio to every other store, round by round."""
    summary = {}
    for store, rounds in reports.items():
        iops = [report["iops"] for report in rounds]
        summary[store] = {
            "iops": spread(iops),
            "mb_per_s": spread([report["mb_per_s"] for report in rounds]),
            "p50_us": spread([report["latency_us"]["p50"] for report in rounds]),
            "p99_us": spread([report["latency_us"]["p99"] for report in rounds]),
            "tgtd_cpu_us": spread([report["tgtd_cpu_us"] for report in rounds]),
            "ratio_to": {
                other: spread([mine / theirs["iops"]
                               for mine, theirs in zip(iops, reports[other])])
                for other in reports if other != store},
        }
    return summary


def print_summary(title, summary):
    print(title)
    for store, figures in summary.items():
        iops, rate = figures["iops"], figures["mb_per_s"]
        print(f"  {store:11} {iops['median']:9.0f} IOPS ({iops['min']:.0f}..{iops['max']:.0f})"
              f" {rate['median']:8.1f} MB/s  p50 {figures['p50_us']['median']:.0f} us"
              f"  p99 {figures['p99_us']['median']:.0f} us"
              f"  tgtd {figures['tgtd_cpu_us']['median']:.1f} us of CPU per op"
              f" ({figures['tgtd_cpu_us']['min']:.1f}..{figures['tgtd_cpu_us']['max']:.1f})")
    subject = list(summary)[-1]
    pairs = [(subject, other) for other in summary if other != subject]
    pairs += [(store, f"{variant}-{store}") for store in summary for variant in VARIANTS
              if f"{variant}-{store}" in summary and store != subject]
    for mine, other in pairs:
        ratio = summary[mine]["ratio_to"][other]
        print(f"  {mine}/{other}: {ratio['median']:.2f} ({ratio['min']:.2f}..{ratio['max']:.2f})")
    sys.stdout.flush()


def machine():
    def read(path):
        try:
            return pathlib.Path(path).read_text().strip()
        except OSError:
            return "unknown"

    return {"cpus": os.cpu_count(), "kernel": platform.release(), "load_before": os.getloadavg(),
            "tcp_congestion_control": read("/proc/sys/net/ipv4/tcp_congestion_control")}


def listed(known):
    def parse(text):
        words = text.split(",")
        unknown = [word for word in words if word not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"'{unknown[0]}' is none of {', '.join(known)}")
        return words
    return parse


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3, help="per measurement")
    parser.add_argument("--span-mib", type=int, default=256, help="size of each LUN")
    parser.add_argument("--workloads", type=listed(WORKLOADS), default=["4k"])
    parser.add_argument("--stores", type=listed(STORES + EXTRA_STORES), default=list(STORES))
    parser.add_argument("--osds", type=int, default=1, help="object servers behind lunar")
    parser.add_argument("--osd-store", choices=("mem", "file"), default="mem", help="kind of their stores")
    parser.add_argument("--folder", default="/dev/shm", help="of stores and of files of bs_rdwr; default tmpfs")
    parser.add_argument("--output", type=pathlib.Path, help="write everything as JSON")
    return parser.parse_args(arguments)


def main(arguments=None):
    folders = []
    result = {"machine": machine(), "workloads": []}
    try:
        options = parse_arguments(arguments)
        for parent in ("/tmp", options.folder):
            folders.append(pathlib.Path(tempfile.mkdtemp(prefix="lunar-", dir=parent)))
        with Bench(*folders, options) as bench:
            for workload in options.workloads:
                for access, size, depth, *flush_every in WORKLOADS[workload]:
                    reports = run_workload(bench, access, size, depth, *flush_every)
                    summary = summarise(reports)
                    flushed = f", flushed every {flush_every[0]}" if flush_every else ""
                    print_summary(f"{access}, {size} B, depth {depth}{flushed}, "
                                  f"{options.rounds} rounds of {options.seconds:g} s", summary)
                    result["workloads"].append(
                        {"access": access, "op_bytes": size, "depth": depth, "summary": summary,
                         "flush_every": (flush_every or [0])[0], "rounds": reports})
    except (HarnessError, LoadError, OSError) as error:
        print(f"tgt_bench.py: {error}", file=sys.stderr)
        return 2
    finally:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
    if options.output:
        options.output.write_text(json.dumps(result, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
