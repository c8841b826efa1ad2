#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Runs libiscsi's conformance tests (iscsi-test-cu) on a LUN and compares with what is expected.

    conformance.py --bstype rdwr [--variant thick] [--only Unmap,Read16.Simple] [--report FILE]
    conformance.py --bstype lunar --update      rewrites the expectations from this run

Each test is a process of its own, so that one which hangs or takes tgtd down costs no other. The
exit code is 0 if every test did what conformance_expected.txt says, 1 if not, 2 for trouble.
"""

import argparse
import collections
import dataclasses
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

from lunar_e2e import Cluster, HarnessError, PrivateTgtd, program
from lunar_e2e.process import Process

EXPECTED_FILE = pathlib.Path(__file__).with_name("conformance_expected.txt")
LUN_BYTES = 100 << 20
# How the LUN is made, and set up by --params.
VARIANTS = {
    "thin": ({}, {"thin_provisioning": 1}),
    "thick": ({}, {"thin_provisioning": 0}),
    "4kn": ({"blocksize": 4096}, {"thin_provisioning": 1}),
    "removable": ({}, {"thin_provisioning": 1, "removable": 1}),
    "readonly": ({}, {"thin_provisioning": 1, "readonly": 1}),
}
RESULTS = ("pass", "fail", "skip", "hang", "crash")
_SKIPPED = re.compile(r"\[SKIPPED\]\s*(.*)")
_FAILED = re.compile(r"\[FAILED\]\s*(.*)")
_SUMMARY = re.compile(r"^\s*tests\s+\d+\s+(\d+)\s+(\d+)\s+(\d+)", re.MULTILINE)


@dataclasses.dataclass
class Result:
    name: str
    result: str
    seconds: float
    reason: str = ""


def list_tests():
    """Every test as SUITE.TEST."""
    output = subprocess.run([program("iscsi-test-cu"), "--list"], text=True, check=True,
                            capture_output=True).stdout
    names = [line[4:] for line in output.splitlines() if re.fullmatch(r"ALL\.[^.]+\.[^.]+", line)]
    if not names:
        raise HarnessError("iscsi-test-cu lists no tests")
    return names


def judge(exit_code, output):
    """(result, reason) of one test that ended by itself. A test that skips a part of
    its checks counts as skipped."""
    summary = _SUMMARY.search(output)
    if summary is None or summary.group(1) != "1":
        last = output.strip().splitlines()[-1:] or ["no output"]
        return "fail", f"did not run (exit {exit_code}): {last[0].strip()}"
    if summary.group(3) != "0" or exit_code != 0:
        failed = _FAILED.search(output)
        return "fail", failed.group(1).strip() if failed else "an assertion failed"
    skipped = _SKIPPED.search(output)
    return ("skip", skipped.group(1).strip()) if skipped else ("pass", "")


class Stand:
    """A tgtd with one LUN of the type under test. Made again if it is damaged."""

    def __init__(self, folder, bstype, variant="thin"):
        self.folder = folder
        self.bstype = bstype
        self.options, self.params = VARIANTS[variant]
        self.cluster = None
        self.tgtd = None
        self.lun = None

    def __enter__(self):
        if self.bstype == "lunar":
            self.cluster = Cluster(self.folder / "cluster").start()
            self.cluster.create_image("rbd/conformance", LUN_BYTES)
        self.start()
        return self

    def __exit__(self, *_):
        self.tgtd.stop()
        if self.cluster:
            self.cluster.stop()

    def start(self):
        lunar = self.bstype == "lunar"
        environment = self.cluster.environment() if lunar else None
        self.tgtd = PrivateTgtd(self.folder / "tgt", with_lunar=lunar,
                                environment=environment).start()
        target = self.tgtd.add_target()
        self.lun = target.add_lun(self.bstype, self._backing_store(), params=self.params, **self.options)

    def _backing_store(self):
        if self.bstype == "lunar":
            return "rbd/conformance"
        path = self.folder / "disk"
        with open(path, "ab") as file:
            file.truncate(LUN_BYTES)
        return path

    def restart(self):
        self.tgtd.kill()
        self.start()


def run_one(stand, name, timeout):
    log = stand.folder / "test.log"
    log.unlink(missing_ok=True)
    urls = [stand.lun.url] * (2 if name.startswith("MultipathIO.") else 1)  # two sessions: two paths
    words = [program("iscsi-test-cu"), "--dataloss", "--test", f"ALL.{name}", *urls]
    started = time.monotonic()
    process = Process("iscsi-test-cu", words, log, cwd=stand.folder)
    try:
        code = process.wait(timeout)
        result, reason = judge(code, process.log())
    except HarnessError:
        process.kill()
        result, reason = "hang", f"still running after {timeout} s"
    if not stand.tgtd.is_running():
        code = stand.tgtd.process.exit_code()
        result, reason = "crash", f"tgtd ended with {code}: {stand.tgtd.process.log_tail(3)}"
    if result in ("hang", "crash"):
        stand.restart()
    return Result(name, result, time.monotonic() - started, reason)


# -- expectations: "SUITE.TEST result  # why", under a "[bstype variant]" line


def read_expectations(path, section):
    """Test -> (result, why); a test that is not listed must pass."""
    expected = {}
    current = None
    for number, line in enumerate(path.read_text().splitlines(), 1):
        words, _, why = line.partition("#")
        words = words.split()
        if not words:
            continue
        if line.startswith("["):
            current = line.strip().strip("[]")
            continue
        if current is None or len(words) != 2 or words[1] not in RESULTS:
            raise HarnessError(f"{path.name}:{number}: not 'SUITE.TEST result': {line}")
        if current == section:
            expected[words[0]] = (words[1], why.strip())
    return expected


def write_expectations(path, section, results):
    """Replaces one section; a test whose result is unchanged keeps its reason."""
    old = read_expectations(path, section) if path.exists() else {}
    lines = []
    for result in results:
        if result.result == "pass":
            continue
        before, why = old.get(result.name, (None, ""))
        reason = why if before == result.result and why else result.reason
        lines.append(f"{result.name} {result.result}  # {reason}".rstrip(" #"))
    text = path.read_text() if path.exists() else ""
    header = f"[{section}]"
    parts = re.split(r"(?m)^(?=\[)", text)
    parts = [part for part in parts if not part.startswith(header)]
    parts.append(header + "\n" + "\n".join(lines) + "\n")
    path.write_text("\n".join(part.rstrip("\n") + "\n" for part in parts if part.strip()))


def differences(results, expected):
    """The results that were not expected, for a person. A better result counts too: the list
    must stay true."""
    lines = []
    for result in results:
        wanted, why = expected.get(result.name, ("pass", ""))
        if result.result != wanted:
            note = f" ({result.reason})" if result.reason else ""
            lines.append(f"{result.name}: {result.result}{note}, expected {wanted}"
                         + (f" ({why})" if why else ""))
    return lines


def select(names, only):
    if not only:
        return names
    wanted = [word.removeprefix("ALL.") for word in only.split(",")]
    chosen = [name for name in names if any(name == word or name.startswith(word + ".")
                                            for word in wanted)]
    for word in wanted:
        if not any(name == word or name.startswith(word + ".") for name in chosen):
            raise HarnessError(f"iscsi-test-cu has no test or suite '{word}'")
    return chosen


def run(stand, names, timeout, verbose=True):
    results = []
    for name in names:
        result = run_one(stand, name, timeout)
        results.append(result)
        if verbose:
            note = f"  {result.reason}" if result.reason else ""
            print(f"{result.result:5} {result.seconds:6.2f} s  {result.name}{note}", flush=True)
    return results


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bstype", choices=("rdwr", "lunar"), required=True)
    parser.add_argument("--variant", choices=VARIANTS, default="thin", help="what the LUN is like")
    parser.add_argument("--only", help="suites or tests, by name, separated by commas")
    parser.add_argument("--timeout", type=float, default=60, help="seconds per test")
    parser.add_argument("--report", type=pathlib.Path, help="write the results as JSON")
    parser.add_argument("--expected", type=pathlib.Path, default=EXPECTED_FILE)
    parser.add_argument("--update", action="store_true", help="rewrite the expectations")
    return parser.parse_args(arguments)


def main(arguments=None):
    options = parse_arguments(arguments)
    section = f"{options.bstype} {options.variant}"
    folder = pathlib.Path(tempfile.mkdtemp(prefix="lunar-", dir="/tmp"))
    try:
        expected = read_expectations(options.expected, section)
        names = select(list_tests(), options.only)
        with Stand(folder, options.bstype, options.variant) as stand:
            results = run(stand, names, options.timeout)
    except (HarnessError, OSError) as error:
        print(f"conformance.py: {error}", file=sys.stderr)
        return 2
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    counts = collections.Counter(result.result for result in results)
    print(f"{section}: " + ", ".join(f"{counts[key]} {key}" for key in RESULTS))
    if options.report:
        options.report.write_text(json.dumps(
            {"section": section, "counts": counts,
             "results": [dataclasses.asdict(result) for result in results]}, indent=1))
    if options.update:
        write_expectations(options.expected, section, results)
        return 0
    wrong = differences(results, expected)
    print("\n".join(wrong) if wrong else "as expected")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
