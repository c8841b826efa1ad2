#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reports on a large trace: how long it takes, and how much memory.

usage: trace_size.py [--mebibytes 1024] [--max-seconds 60] [--max-mebibytes 1024]

Ends with 1 if a limit is passed, or if not every IO of the trace is accounted for. The limit of seconds is
one of CPU time: the reader has one thread, so that is its time on a machine that does nothing else.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import time

from lunar_e2e.env import built, child_environment

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tracing"))
from private_lttng import PrivateRecording  # noqa: E402 (needs the path)

MIB = 1 << 20
BYTES_PER_IO = 1340  # about; with the contexts


def bytes_below(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def record(recording, ios):
    """A trace of so many IOs. The program waits where LTTng's buffers are full: nothing is lost."""
    def lttng(*words):
        subprocess.run(recording.command("lttng", "--no-sessiond", *words), check=True,
                       env=recording.environment(), stdout=subprocess.DEVNULL)
    lttng("create", "size", f"--output={recording.trace}")
    lttng("enable-channel", "--userspace", "--session=size", "--blocking-timeout=inf",
          "--subbuf-size=4M", "--num-subbuf=8", "lunar")
    lttng("enable-event", "--userspace", "--session=size", "--channel=lunar", "lunar_*")
    lttng("add-context", "--userspace", "--session=size", "--channel=lunar", "--type=vpid",
          "--type=procname")
    lttng("start", "size")
    subprocess.run([built("trace_load"), str(ios)], check=True,
                   env={**recording.environment(), "LTTNG_UST_ALLOW_BLOCKING": "1"})
    lttng("stop", "size")
    lttng("destroy", "size")


def measure(folder, *options):
    """(seconds, MiB of memory at most, seconds of CPU, its JSON)."""
    begin = time.monotonic()
    child = subprocess.Popen([built("lunar-trace"), "report", folder, "--json", *options],
                             stdout=subprocess.PIPE, env=child_environment())
    output = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise SystemExit(f"lunar-trace ended with {child.returncode}")
    return time.monotonic() - begin, usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime, json.loads(output)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mebibytes", type=int, default=1024)
    parser.add_argument("--max-seconds", type=float, default=60)
    parser.add_argument("--max-mebibytes", type=float, default=1024)
    options = parser.parse_args()
    ios = options.mebibytes * MIB // BYTES_PER_IO
    with PrivateRecording(pattern=None) as recording:
        record(recording, ios)
        size = bytes_below(recording.trace) / MIB
        seconds, mebibytes, cpu, found = measure(recording.trace)
    whole = found["reconciliation"]
    print(f"{size:.0f} MiB, {found['trace']['events']} events, {ios} IOs: {seconds:.1f} s "
          f"({cpu:.1f} s of CPU), {mebibytes:.0f} MiB of memory; {found['trace']['events'] / cpu / 1e6:.2f} M events "
          f"per second of CPU; reconciled {whole['percent']} %, {found['lost']['events']} events lost")
    if size < options.mebibytes * 0.9:
        print("the trace is smaller than asked for")
        return 1
    if whole["whole"] != ios or found["lost"]["events"] != 0:
        print("not every IO is accounted for")
        return 1
    if cpu > options.max_seconds or mebibytes > options.max_mebibytes:
        print("a limit is passed")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
