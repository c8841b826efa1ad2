# SPDX-License-Identifier: LGPL-2.1-or-later
"""A session daemon of a test's own: it shares nothing with the machine's, and needs no group.

lttng-tools uses one fixed place for root (/run/lttng). So, as root, the daemon and the lttng command run
in a user namespace in which they are somebody else, and do not see that place: the daemon would listen to
notifications of root's daemon, and end no session any more once that one has gone. The place is made if it
is not there, since it could come later. Then all they use is below LTTNG_HOME. A program to be recorded
needs only environment(): it may run as root, outside the namespaces, as tgtd does.
"""

import os
import pathlib
import shutil
import signal
import subprocess
import tempfile

ROOTS_PLACE = "/run/lttng"
START_SECONDS = 60
COMMAND_SECONDS = 60
# How long a program waits at start to be registered, so that none of its events is missed.
REGISTER_MILLISECONDS = 30000


class LttngError(Exception):
    """The daemon or a command of LTTng did not do its part; never a verdict on our events."""


def _program(name):
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if path is None:
        raise LttngError(f"{name} is not installed: run tools/dev/setup.sh")
    return path


def _as_nobody():
    """What goes before a command so that LTTng does not take it for root."""
    if os.geteuid() != 0:
        return []
    hidden = f'mkdir -p {ROOTS_PLACE} && mount -t tmpfs tmpfs {ROOTS_PLACE} && exec "$@"'
    prefix = [_program("unshare"), "--mount", "--propagation", "private", "sh", "-c", hidden, "sh",
              _program("unshare"), "--user", "--map-user=1000", "--map-group=1000"]
    probe = subprocess.run([*prefix, "true"], capture_output=True, text=True, check=False)
    if probe.returncode != 0:
        raise LttngError("a private session daemon needs mount and user namespaces (sysctl "
                         f"user.max_user_namespaces) and a folder {ROOTS_PLACE} to hide: {probe.stderr.strip()}")
    return prefix


class PrivateRecording:
    """Records userspace events that match `pattern`, from entering until stop() or leaving. Without a
    pattern there is only the daemon, for a program that makes its own session: see command()."""

    def __init__(self, pattern="lunar_*"):
        self.pattern = pattern
        self.folder = None
        self.daemon = None
        self._log = None

    def __enter__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="lunar-lttng-"))
        try:
            self._prefix = _as_nobody()
            self._start_daemon()
            if self.pattern is not None:
                self._lttng("create", "lunar", f"--output={self.trace}")
                self._lttng("enable-event", "--userspace", self.pattern, "--session=lunar")
                self._lttng("start", "lunar")
        except BaseException:
            self._clean()
            raise
        return self

    def __exit__(self, *_):
        self._clean()

    @property
    def trace(self):
        return self.folder / "trace"

    def environment(self, register_milliseconds=REGISTER_MILLISECONDS):
        """For a program that is to be recorded."""
        return {**os.environ, "LTTNG_HOME": str(self.folder), "HOME": str(self.folder),
                "LTTNG_UST_REGISTER_TIMEOUT": str(register_milliseconds)}

    def program_environment(self):
        """What of environment() concerns LTTng, for programs that wait to be registered."""
        return {key: value for key, value in self.environment().items()
                if key in ("LTTNG_HOME", "HOME", "LTTNG_UST_REGISTER_TIMEOUT")}

    def command(self, *words):
        """`words` as somebody whom this daemon obeys; to be run with environment()."""
        return [*self._prefix, *[str(word) for word in words]]

    def restart(self):
        """Every program that is registered records when this returns."""
        self._lttng("stop", "lunar")
        self._lttng("start", "lunar")

    def stop(self):
        """Ends the recording; the trace is complete when this returns."""
        self._lttng("stop", "lunar")
        self._lttng("destroy", "lunar")

    def lines(self):
        """The events of a stopped recording, one line of babeltrace2 each, without time and CPU."""
        shown = subprocess.run(
            [_program("babeltrace2"), "--no-delta", "--fields=trace:hostname", str(self.trace)],
            capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False)
        if shown.returncode != 0 or "discarded" in shown.stderr:
            raise LttngError(f"babeltrace2: {shown.stderr.strip()}")
        return shown.stdout.splitlines()

    def _start_daemon(self):
        # It tells its parent by SIGUSR1 that it is ready.
        wanted = {signal.SIGUSR1, signal.SIGCHLD}
        before = signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
        self._log = open(self.folder / "sessiond.log", "wb")
        try:
            self.daemon = subprocess.Popen(
                [*self._prefix, _program("lttng-sessiond"), "--no-kernel", "--sig-parent"],
                env=self.environment(), stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log,
                preexec_fn=lambda: signal.pthread_sigmask(signal.SIG_SETMASK, before))
            while True:
                told = signal.sigtimedwait(wanted, START_SECONDS)
                if told is not None and told.si_signo == signal.SIGUSR1:
                    return
                if told is None or self.daemon.poll() is not None:
                    raise LttngError("lttng-sessiond does not start:\n" + self._daemon_log())
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _daemon_log(self):
        return (self.folder / "sessiond.log").read_text(errors="replace")[-2000:]

    def _lttng(self, *arguments):
        done = subprocess.run([*self._prefix, _program("lttng"), "--no-sessiond", *arguments],
                              env=self.environment(), capture_output=True, text=True,
                              timeout=COMMAND_SECONDS, check=False)
        if done.returncode != 0:
            raise LttngError(f"lttng {' '.join(arguments)}: {done.stdout}{done.stderr}\n"
                             + self._daemon_log())

    def _clean(self):
        if self.daemon is not None and self.daemon.poll() is None:
            self.daemon.terminate()  # ends its consumer daemons too
            try:
                self.daemon.wait(COMMAND_SECONDS)
            except subprocess.TimeoutExpired:
                self.daemon.kill()
                self.daemon.wait()
        self.daemon = None
        if self._log is not None:
            self._log.close()
            self._log = None
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder = None
