# SPDX-License-Identifier: LGPL-2.1-or-later
"""Child processes, ports, and waiting for readiness."""

import collections
import ctypes
import os
import pathlib
import random
import signal
import socket
import subprocess
import time

from .env import HarnessError, child_environment

# What a sanitizer or the C library writes when a process is about to crash.
_CRASH_MARKS = ("ERROR: AddressSanitizer", "ERROR: LeakSanitizer", "WARNING: ThreadSanitizer",
                "runtime error: ", "LUNAR_CHECK", "terminate called", "malloc(): ", "free(): ",
                "double free", "stack smashing detected")
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


def _die_with_parent():
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def wait_until(condition, timeout, what):
    """Polls until condition() is true and returns its value. Only for processes that become
    ready: what a test is about has an event or an answer to wait for."""
    deadline = time.monotonic() + timeout
    pause = 0.005
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise HarnessError(f"waited {timeout} s in vain for {what}")
        time.sleep(pause)
        pause = min(pause * 1.5, 0.2)


def free_port(host="127.0.0.1"):
    """A port of `host` that was free a moment ago, below the range the kernel hands out to
    outgoing connections, so that a server which is restarted finds it free again. Somebody else may
    still be quicker: whoever binds it tries another one on conflict."""
    for _ in range(200):
        port = random.SystemRandom().randrange(20000, 32000)
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            try:
                probe.bind((host.strip("[]"), port))
            except OSError:
                continue
            return port
    raise HarnessError("no free port between 20000 and 32000")


# Of these every one but perf events is opened by code of ours; of sockets, those that are no Unix sockets.
_OUR_KINDS = ("anon_inode:", "/dev/infiniband/")


def own_descriptors(pid, folder=None):
    """How many descriptors of each kind that code of ours opens a process has; of regular files those below
    `folder`. As tests/support/descriptors.h: what lttng-ust opens when a session daemon starts is of other kinds."""
    def links():
        found = {}
        for entry in pathlib.Path(f"/proc/{pid}/fd").iterdir():
            try:
                found[entry.name] = os.readlink(entry)
            except FileNotFoundError:  # closed meanwhile
                pass
        return found
    before = links()
    unix = {f"socket:[{line.split()[6]}]"
            for line in pathlib.Path(f"/proc/{pid}/net/unix").read_text().splitlines()[1:]}
    still = links().items()  # a Unix socket that was closed before the table was read looks like another one
    kinds = collections.Counter()
    for number, what in before.items() & still:
        if what.startswith("socket:") and what not in unix:
            kinds["socket, but no Unix socket"] += 1
        elif what == "anon_inode:[perf_event]":
            continue
        elif what.startswith(_OUR_KINDS) or folder and what.startswith(f"{folder}/"):
            kinds[what] += 1
    return kinds


class Process:
    """One child with its output in a log file. Ended by its id; dies with the test process."""

    def __init__(self, name, arguments, log_path, environment=None, cwd=None):
        self.name = name
        self.log_path = log_path
        with open(log_path, "ab") as log:
            self._log_start = log.tell()
            self._child = subprocess.Popen(
                [str(argument) for argument in arguments], stdin=subprocess.DEVNULL, stdout=log,
                stderr=subprocess.STDOUT, env=child_environment(environment), cwd=cwd,
                preexec_fn=_die_with_parent)

    @property
    def pid(self):
        return self._child.pid

    def log(self):
        """The output of this run so far."""
        with open(self.log_path, "rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def log_tail(self, lines=40):
        return "\n".join(self.log().splitlines()[-lines:])

    def is_running(self):
        return self._child.poll() is None

    def exit_code(self):
        """None while it runs; negative: the signal that ended it."""
        return self._child.poll()

    def wait(self, timeout):
        """The exit code; HarnessError if it still runs then."""
        try:
            return self._child.wait(timeout)
        except subprocess.TimeoutExpired:
            raise HarnessError(f"{self.name} (pid {self.pid}) did not end within {timeout} s") from None

    def send(self, signal_number):
        if self.is_running():
            os.kill(self.pid, signal_number)

    def kill(self):
        """kill -9, and waits for the end."""
        self.send(signal.SIGKILL)
        self._child.wait()

    def stop(self, timeout=120):
        """SIGTERM; after the timeout SIGKILL and HarnessError."""
        self.send(signal.SIGTERM)
        try:
            return self.wait(timeout)
        except HarnessError:
            self.kill()
            raise

    def crash_report(self):
        """A sentence if the process has crashed, or None."""
        code = self.exit_code()
        if code is not None and code < 0 and -code not in (signal.SIGKILL, signal.SIGTERM):
            return f"{self.name} died of {signal.Signals(-code).name}"
        for line in self.log().splitlines():
            if any(mark in line for mark in _CRASH_MARKS):
                return f"{self.name} wrote: {line}"
        return None
