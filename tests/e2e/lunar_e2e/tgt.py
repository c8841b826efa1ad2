# SPDX-License-Identifier: LGPL-2.1-or-later
"""A tgtd of the test's own, with a plugin folder of its own."""

import os
import pathlib
import shlex
import shutil
import subprocess

from .env import HarnessError, built, child_environment, preloaded, program
from .process import Process, free_port, wait_until

PLUGIN_FOLDER = "/usr/lib/tgt/backing-store"  # compiled into Debian's tgtd
_CONTROL_PORT = 1  # only a suffix of the socket's name, which is ours alone
_CAPABILITIES = "+sys_admin,+dac_override,+net_admin,+sys_nice,+ipc_lock"
_PORT_TAKEN = ("failed to create/bind to portal", "unable to bind server socket")


class TgtadmError(Exception):
    """tgtadm failed. `log` has what tgtd wrote meanwhile, which gives the reason."""

    def __init__(self, arguments, message, log):
        super().__init__(f"tgtadm {' '.join(arguments)}: {message}\n{log}")
        self.message = message
        self.log = log


def _mount_script(folder):
    """Shell commands that put `folder` where tgtd looks for plugins, in this mount namespace only.
    Debian's tgt package does not make that folder; an overlay over /usr/lib then has it."""
    mine, theirs = shlex.quote(str(folder)), shlex.quote(PLUGIN_FOLDER)
    scratch = shlex.quote(str(folder) + ".overlay")
    return f"""
        if [ ! -d {theirs} ]; then
          mkdir -p {scratch} && mount -t tmpfs tmpfs {scratch} &&
          mkdir -p {scratch}/upper/tgt/backing-store {scratch}/work &&
          mount -t overlay overlay -o lowerdir=/usr/lib,upperdir={scratch}/upper,workdir={scratch}/work /usr/lib
        fi &&
        mount --bind {mine} {theirs} || exit 125
    """


class Lun:
    def __init__(self, target, number):
        self.target = target
        self.number = number

    @property
    def url(self):
        return f"{self.target.url}/{self.number}"

    def update(self, **params):
        """`--params`: thin_provisioning=1, online=0, …"""
        text = ",".join(f"{key}={value}" for key, value in params.items())
        self.target.tgtd.tgtadm("--lld", "iscsi", "--mode", "logicalunit", "--op", "update",
                                "--tid", self.target.tid, "--lun", self.number, "--params", text)

    def delete(self):
        self.target.tgtd.tgtadm("--lld", "iscsi", "--mode", "logicalunit", "--op", "delete",
                                "--tid", self.target.tid, "--lun", self.number)
        self.target.luns.remove(self)


class Target:
    def __init__(self, tgtd, tid, iqn):
        self.tgtd = tgtd
        self.tid = tid
        self.iqn = iqn
        self.luns = []

    @property
    def url(self):
        return f"iscsi://{self.tgtd.host}:{self.tgtd.port}/{self.iqn}"

    def admit_all(self):
        self.tgtd.tgtadm("--lld", "iscsi", "--mode", "target", "--op", "bind", "--tid", self.tid,
                         "--initiator-address", "ALL")

    def add_lun(self, bstype, backing_store, bsopts=None, number=None, params=None, **options):
        """`options` are further tgtadm options, such as bsoflags="direct" or blocksize=4096."""
        if number is None:
            number = max((lun.number for lun in self.luns), default=0) + 1
        arguments = ["--lld", "iscsi", "--mode", "logicalunit", "--op", "new", "--tid", self.tid,
                     "--lun", number, "--bstype", bstype, "--backing-store", backing_store]
        if bsopts:
            arguments += ["--bsopts", bsopts]
        for key, value in options.items():
            arguments += [f"--{key}", value]
        self.tgtd.tgtadm(*arguments)
        lun = Lun(self, number)
        self.luns.append(lun)
        if params:
            lun.update(**params)
        return lun

    def delete(self):
        self.tgtd.tgtadm("--lld", "iscsi", "--mode", "target", "--op", "delete", "--force",
                         "--tid", self.tid)
        self.tgtd.targets.remove(self)


class PrivateTgtd:
    """Started by start(), ended by stop(); both can be repeated, on the same port. The log goes to
    `folder`/tgtd.log. `plugins` are files for the plugin folder; with_lunar adds bs_lunar.so. With a
    `uid` tgtd has that, and what it needs of root's capabilities."""

    def __init__(self, folder, plugins=(), with_lunar=False, environment=None, wrapper=(),
                 host="127.0.0.1", uid=None):
        self.folder = pathlib.Path(folder)
        self.plugins = list(plugins) + ([built("bs_lunar.so")] if with_lunar else [])
        self.environment = dict(environment or {})
        self.wrapper = list(wrapper)
        self.user = [] if uid is None else [program("setpriv"), "--reuid", uid, "--inh-caps", _CAPABILITIES,
                                            "--ambient-caps", _CAPABILITIES]
        self.host = host
        self.port = None
        self.targets = []
        self.process = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    # -- life

    def start(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        keep_port = self.port is not None
        for _ in range(10):
            self.port = self.port if keep_port else free_port(self.host)
            self.targets = []
            if self._try_start():
                return self
            self.process.kill()
            if keep_port:
                break
        raise HarnessError(f"tgtd found no free port\n{self.process.log_tail()}")

    def _try_start(self):
        for stale in self.folder.glob("ipc*"):  # left by a killed one
            stale.unlink()
        self.process = Process("tgtd", self._command(), self.folder / "tgtd.log",
                               {**self.environment, **self._ipc_environment()})
        wait_until(self._answers, 60, "tgtd to answer tgtadm")
        return not any(mark in self.process.log() for mark in _PORT_TAKEN)

    def _command(self):
        tgtd = [program("tgtd"), "-f", "-C", _CONTROL_PORT, "--iscsi",
                f"portal={self.host}:{self.port}"]
        runtime = [f"{name}={value}" for name, value in preloaded().items()]
        command = shlex.join([str(word) for word in [*self.user, *self.wrapper, "env", *runtime, *tgtd]])
        if not self.plugins:
            return ["sh", "-c", f"exec {command}"]
        plugin_folder = self.folder / "plugins"
        shutil.rmtree(plugin_folder, ignore_errors=True)
        plugin_folder.mkdir()
        for plugin in self.plugins:
            shutil.copy(plugin, plugin_folder)
        # unshare, sh and tgtd follow each other by exec: one process id from first to last.
        user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        return [program("unshare"), *user, "--mount", "--propagation", "private", "sh", "-c",
                f"{_mount_script(plugin_folder)}\nexec {command}"]

    def _ipc_environment(self):
        return {"TGT_IPC_SOCKET": str(self.folder / "ipc")}

    def _answers(self):
        if not self.process.is_running():
            raise HarnessError(f"tgtd ended at once ({self.process.exit_code()})\n"
                               f"{self.process.log_tail()}")
        return self._run_tgtadm(["--mode", "system", "--op", "show"]).returncode == 0

    def is_running(self):
        return self.process is not None and self.process.is_running()

    def stop(self):
        """Ends it in an orderly way, and fails if it has crashed at any time."""
        if self.process is None:
            return
        process = self.process
        died = None if process.is_running() else f"tgtd was gone ({process.exit_code()})"
        try:
            if not died:
                self._stop_in_order()
        finally:
            process.kill()
            self.process = None
        report = process.crash_report() or died
        if report:
            raise AssertionError(f"{report}\n{process.log_tail(80)}")

    def _stop_in_order(self):
        for target in list(self.targets):
            wait_until(lambda target=target: self._is_deleted(target), 60,
                       f"the commands of target {target.tid} to end")
        self.tgtadm("--mode", "system", "--op", "delete")
        code = self.process.wait(30)
        if code != 0:
            raise AssertionError(f"tgtd ended with {code}\n{self.process.log_tail(80)}")

    @staticmethod
    def _is_deleted(target):
        try:
            target.delete()
            return True
        except TgtadmError as error:
            if "still active" in error.message:  # commands of a lost connection are still running
                return False
            raise

    def kill(self):
        """kill -9, on purpose."""
        self.process.kill()
        self.process = None

    # -- administration

    def _run_tgtadm(self, arguments):
        # tgtd takes commands from its own user only.
        return subprocess.run([*map(str, self.user), program("tgtadm"), "-C", str(_CONTROL_PORT), *arguments],
                              env=child_environment(self._ipc_environment()), text=True,
                              capture_output=True, timeout=60, check=False)

    def tgtadm(self, *arguments):
        """Its output; TgtadmError if it fails."""
        words = [str(argument) for argument in arguments]
        log_before = len(self.process.log())
        result = self._run_tgtadm(words)
        if result.returncode != 0:
            raise TgtadmError(words, result.stderr.strip(), self.process.log()[log_before:])
        return result.stdout

    def add_target(self, iqn=None, admits_all=True):
        """A target that everybody may log in to, from now on or from admit_all() on."""
        tid = max((target.tid for target in self.targets), default=0) + 1
        target = Target(self, tid, iqn or f"iqn.2024-05.io.lunar.test:t{tid}")
        self.tgtadm("--lld", "iscsi", "--mode", "target", "--op", "new", "--tid", tid,
                    "--targetname", target.iqn)
        self.targets.append(target)
        if admits_all:
            target.admit_all()
        return target

    def log(self):
        return self.process.log()
