#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""lunar-perf-msgr against perftest on one RDMA device, as ratios.

Runs alternate, so that whatever else the machine does meets both; the ratio of each pair is taken,
and its median judged. Both wait for events (perftest's -e; its WRITE can only spin, and so does
ours beside it), move the same sizes at the same depth, and leave checksums out. Prints every pair:
a bound that fails can be argued with."""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

DEVICE = "rxe0"
FIRST_PORT = 18600


def is_listening(port):
    """By the kernel's list: a connection just to see would be taken for the client's."""
    with open("/proc/net/tcp", encoding="ascii") as tcp:
        wanted = f":{port:04X}"
        return any(line.split()[1].endswith(wanted) and line.split()[3] == "0A"
                   for line in tcp.readlines()[1:])


def wait_until(condition, what, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"no {what} after {seconds} s")
        time.sleep(0.02)


class Perftest:
    """One program of perftest; a new port each time."""

    port = FIRST_PORT

    def __init__(self, program, address, *words):
        self.program, self.address, self.words = program, address, words

    def row(self):
        """The figures of the last line of the client's table. perftest tells the speed of its clock from
        how it goes beside the system's, and if they go too unevenly ("Correlation coefficient") gives
        0 for everything: then it is asked again."""
        for _ in range(5):
            found = self._row()
            if found[3] > 0:
                return found
        sys.exit(f"{self.program} cannot tell how fast its clock is")

    def _row(self):
        Perftest.port += 1
        words = [self.program, "-d", DEVICE, "-F", "-p", str(self.port), *self.words]
        with subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
            wait_until(lambda: is_listening(self.port), self.program)
            client = subprocess.run([*words, self.address], capture_output=True, text=True,
                                    timeout=120, check=False)
            if client.returncode != 0:
                server.kill()
                sys.exit(f"{' '.join(words)}: {client.stdout}{client.stderr}")
            server.wait(30)
        lines = [line.split() for line in client.stdout.splitlines()]
        rows = [line for line in lines if len(line) >= 4 and line[0].isdigit()]
        return [float(value) for value in rows[-1]]


class PerfMsgr:
    """A server of ours, at link level over RDMA, and clients of it."""

    COMMON = ["--type", "rdma", "--level", "link", "--ms-crc-data=false",
              "--auth-client-required", "none"]

    def __init__(self, program, address):
        self.program = program
        self.server = subprocess.Popen(
            [program, "server", "--bind", f"{address}:0", *self.COMMON], stdout=subprocess.PIPE,
            text=True)
        line = self.server.stdout.readline()
        if not line.startswith("listening on "):
            sys.exit(f"the server did not start: {line}")
        self.address = line.split()[-1]

    def client(self, *words):
        result = subprocess.run(
            [self.program, "client", self.address, "--format", "json", *self.COMMON, *words],
            capture_output=True, text=True, timeout=120, check=False)
        if result.returncode != 0:
            sys.exit(f"lunar-perf-msgr client {' '.join(words)}: {result.stderr}")
        return json.loads(result.stdout)

    def idle(self, connections):
        """Memory of the server while so many connections do nothing."""
        with subprocess.Popen(
                [self.program, "client", self.address, "--idle", "--connections", str(connections),
                 "--seconds", "600", *self.COMMON], stdout=subprocess.PIPE, text=True) as client:
            line = client.stdout.readline()
            memory = self.memory()
            client.kill()
        if not line:
            sys.exit("the idle client ended")
        print(f"  client: {line.strip()}")
        return memory

    def memory(self):
        return {"resident": status_bytes("VmRSS", self.server.pid),
                "pinned": status_bytes("VmPin", self.server.pid)}

    def stop(self):
        self.server.terminate()
        if self.server.wait(30) != 0:
            sys.exit(f"the server ended with {self.server.returncode}")


def status_bytes(field, pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        for line in status:
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    return 0


class Judge:
    def __init__(self):
        self.failed = []

    def ratio(self, what, unit, pairs, bound, at_most):
        """`pairs`: (ours, perftest's)."""
        ratios = [ours / theirs for ours, theirs in pairs]
        median = statistics.median(ratios)
        good = median <= bound if at_most else median >= bound
        for (ours, theirs), ratio in zip(pairs, ratios):
            print(f"  ours {ours:.1f} {unit}, perftest {theirs:.1f} {unit}, ratio {ratio:.2f}")
        self._verdict(what, f"median ratio {median:.2f} (from {min(ratios):.2f} to "
                      f"{max(ratios):.2f})", bound, at_most, good)

    def amount(self, what, value, bound):
        self._verdict(what, f"{value / 1024:.1f} KiB", f"{bound / 1024:.0f} KiB", True,
                      value <= bound)

    def _verdict(self, what, value, bound, at_most, good):
        print(f"{what}: {value}; {'at most' if at_most else 'at least'} {bound}: "
              f"{'holds' if good else 'DOES NOT HOLD'}", flush=True)
        if not good:
            self.failed.append(what)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("address")
    parser.add_argument("program", help="lunar-perf-msgr")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ops", type=int, default=1000)
    parser.add_argument("--connections", type=int, default=64)
    options = parser.parse_args()
    judge = Judge()
    ours = PerfMsgr(options.program, options.address)
    ops = str(options.ops)
    print(f"{os.cpu_count()} CPUs, {options.rounds} rounds of {ops} operations")

    at_rest = ours.memory()
    latency = Perftest("ib_send_lat", options.address, "-e", "-s", "4096", "-n", ops)
    ping_pong = ["--size", "4096", "--reply-size", "4096", "--ops", ops, "--warmup", "0.1"]
    # Both as half a round trip; the median (perftest calls it typical).
    pairs = [(ours.client(*ping_pong)["latency_us"]["p50"] / 2, latency.row()[4])
             for _ in range(options.rounds)]
    judge.ratio("latency of a 4 KiB send", "us", pairs, 1.5, at_most=True)

    # ib_write_bw knows no events: it spins, and so do we then.
    for kind, words, our_words in (("read", ["-e", "-o", "16"], []),
                                   ("write", [], ["--ms-async-rdma-polling-us", "1000000"])):
        theirs = Perftest(f"ib_{kind}_bw", options.address, "-s", "65536", "-n", ops, "-t", "16",
                          *words)
        mine = ["--one-sided", kind, "--size", "64K", "--depth", "16", "--ops", ops,
                "--warmup", "0.1", *our_words]
        pairs = [(ours.client(*mine)["bytes_per_second"] / (1 << 20), theirs.row()[3])
                 for _ in range(options.rounds)]
        judge.ratio(f"bandwidth of 64 KiB remote_{kind}", "MiB/s", pairs, 0.9, at_most=False)

    one, many = ours.idle(1), ours.idle(1 + options.connections)
    print(f"  server: at rest {at_rest}, 1 connection {one}, {options.connections} more {many}")
    # What is pinned is resident too: it is not counted twice.
    grown = max(many["resident"] - one["resident"], 0)
    judge.amount("memory of an idle connection", grown / options.connections, 64 << 10)
    judge.amount("pinned at rest", max(at_rest["pinned"], one["pinned"]), 64 << 20)
    ours.stop()
    return 1 if judge.failed else 0


if __name__ == "__main__":
    sys.exit(main())
