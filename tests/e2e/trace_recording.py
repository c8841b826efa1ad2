# SPDX-License-Identifier: LGPL-2.1-or-later
"""`lunar-trace` in the end-to-end tests: recording with a session daemon of the test's own, reports."""

import json
import pathlib
import signal
import subprocess
import sys

from lunar_e2e import Process, wait_until
from lunar_e2e.env import built, child_environment

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tracing"))
from private_lttng import PrivateRecording  # noqa: E402 (needs the path)


class Recording:
    """`lunar-trace record` while the block runs; the trace is in `folder` afterwards."""

    def __init__(self, folder, *options):
        self.folder = folder / "trace"
        self._log = folder / "record.log"
        self._options = options
        self._daemon = PrivateRecording(pattern=None)
        self._process = None

    def __enter__(self):
        self._daemon.__enter__()
        try:
            words = [built("lunar-trace"), "record", "--output", self.folder, *self._options]
            self._process = Process("lunar-trace", self._daemon.command(*words), self._log,
                                    self._daemon.environment())
            wait_until(self._has_begun, 60, "lunar-trace to record")
        except BaseException:
            self.__exit__()
            raise
        return self

    def _has_begun(self):
        if not self._process.is_running():
            raise AssertionError("lunar-trace ended at once:\n" + self._process.log())
        return "Ctrl-C ends it" in self._process.log()

    def environment(self):
        """For the programs to be recorded."""
        return self._daemon.program_environment()

    def log(self):
        return self._process.log()

    def stop(self):
        """As Ctrl-C does. The trace is whole when this returns."""
        self._process.send(signal.SIGINT)
        code = self._process.wait(60)
        if code != 0:
            raise AssertionError(f"lunar-trace record ended with {code}:\n{self._process.log()}")

    def __exit__(self, *_):
        if self._process is not None and self._process.is_running():
            self._process.kill()
        self._daemon.__exit__()


def run(words, timeout=300, environment=None):
    """What a program prints. AssertionError if it fails."""
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True,
                          timeout=timeout, env=child_environment(environment), check=False)
    if done.returncode != 0:
        raise AssertionError(f"{' '.join(map(str, words))} ended with {done.returncode}:\n"
                             f"{done.stdout[-4000:]}{done.stderr[-4000:]}")
    return done.stdout


def report(*words):
    """What `lunar-trace report` prints of folders, with options."""
    return run([built("lunar-trace"), "report", *words])


def report_json(*words):
    return json.loads(report("--json", *words))
