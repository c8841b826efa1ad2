#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Counts the fsyncs of servers for each open and close of a LUN, and for an hour in which it is open and idle.

    open_syncs.py [--opens N] [--idle-seconds S]

With perf, as root, and with temporary files on ext4: its tracepoint also sees what io_uring syncs.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile
import time

from lunar_e2e import Cluster, PrivateTgtd

EVENT = "ext4:ext4_sync_file_enter"


class Syncs:
    """How often the processes synced a file, from entering to leaving."""

    def __init__(self, processes):
        self.pids = ",".join(str(process.pid) for process in processes)
        self.count = None

    def __enter__(self):
        self.perf = subprocess.Popen(["perf", "stat", "-x", ",", "-e", EVENT, "-p", self.pids],
                                     stderr=subprocess.PIPE, text=True)
        time.sleep(0.5)  # perf says nothing when it has attached itself
        return self

    def __exit__(self, *_):
        self.perf.send_signal(2)
        _, output = self.perf.communicate(timeout=30)
        fields = [line.split(",") for line in output.splitlines() if EVENT in line]
        if not fields or not fields[0][0].isdigit():
            raise SystemExit(f"perf did not count {EVENT}: {output.strip()}")
        self.count = int(fields[0][0])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--opens", type=int, default=20)
    parser.add_argument("--idle-seconds", type=float, default=120)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lunar-syncs-") as folder:
        folder = pathlib.Path(folder)
        with Cluster(folder / "cluster") as cluster, \
                PrivateTgtd(folder / "tgt", with_lunar=True, environment=cluster.environment()) as tgtd:
            cluster.create_image("rbd/image", "64M")
            target = tgtd.add_target()
            target.add_lun("lunar", "rbd/image").delete()  # the start of the gateway is recorded once
            servers = list(cluster.osds.values())
            with Syncs(servers) as syncs:
                for _ in range(options.opens):
                    target.add_lun("lunar", "rbd/image").delete()
            print(f"{syncs.count / options.opens:.1f} fsyncs for each open and close ({options.opens} of them)")
            target.add_lun("lunar", "rbd/image")
            with Syncs(servers) as syncs:
                time.sleep(options.idle_seconds)
            print(f"{syncs.count * 3600 / options.idle_seconds:.0f} fsyncs for each idle hour "
                  f"({syncs.count} in {options.idle_seconds:.0f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
