#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""lunar-osd as a process: --mkfs, refusals, restarts, signals. Run by ctest, which names the programs:

  osd_process_test.py LUNAR_OSD OSD_IO [unittest arguments]
"""

import contextlib
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
import uuid

LUNAR_OSD = OSD_IO = ""
TIMEOUT = 60
KEY = "A" * 43 + "="


def environment():
    clean = {name: value for name, value in os.environ.items() if not name.startswith("LUNAR_")}
    return {**clean, "LTTNG_UST_REGISTER_TIMEOUT": "0"}


class Server:
    """A running lunar-osd, ready or ended."""

    def __init__(self, words, more_environment=None):
        self.process = subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                        text=True, env={**environment(), **(more_environment or {})})
        self.lines = []
        self.address = None
        self._settled = threading.Event()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        if not self._settled.wait(TIMEOUT):
            self.kill()
            raise AssertionError("neither ready nor ended:\n" + self.output())

    def _read(self):
        for line in self.process.stderr:
            self.lines.append(line)
            ready = re.match(r"lunar-osd\.\d+ ready (\S+)$", line)
            if ready:
                self.address = ready.group(1)
                self._settled.set()
        self._settled.set()

    def output(self):
        return "".join(self.lines)

    def end(self, how=signal.SIGTERM):
        """Its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        status = self.process.wait(TIMEOUT)
        self._reader.join(TIMEOUT)
        self.process.stderr.close()
        return status

    def kill(self):
        return self.end(signal.SIGKILL)


class OsdProcessTest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="lunar-osd-test-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.fsid = str(uuid.uuid4())
        self.servers = []
        self.addCleanup(self.end_all)
        self.ports = self.free_ports(2)
        self.write_conf()

    def end_all(self):
        for server in self.servers:
            if server.process.poll() is None:
                server.kill()

    @staticmethod
    def free_ports(count):
        """Distinct ones, below the range of outgoing connections."""
        ports = []
        for port in random.sample(range(20000, 32000), 200):
            with socket.socket() as probe, contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                ports.append(port)
            if len(ports) == count:
                return ports
        raise AssertionError("no free ports")

    def write_conf(self, **options):
        lines = {
            "run_dir": self.folder,
            "osd_data": f"{self.folder}/osd.$id",
            "osd_reserve_bytes": 0,
            "mon_host": ",".join(f"127.0.0.1:{port}" for port in self.ports),
            "auth_client_required": "none",
            "auth_cluster_required": "none",
            "auth_service_required": "none",
            "objecter_op_timeout": "10s",
            **options,
        }
        text = "[global]\n" + "".join(f"{name} = {value}\n" for name, value in lines.items())
        for osd, port in enumerate(self.ports):
            text += f"[osd.{osd}]\npublic_addr = 127.0.0.1:{port}\n"
        (self.folder / "lunar.conf").write_text(text)

    def words(self, osd, *more):
        return [LUNAR_OSD, "-i", str(osd), "-c", str(self.folder / "lunar.conf"), *map(str, more)]

    def run_osd(self, osd, *more):
        """A call that is to end by itself: (status, what it said)."""
        done = subprocess.run(self.words(osd, *more), capture_output=True, text=True,
                              timeout=TIMEOUT, check=False, env=environment())
        return done.returncode, done.stdout + done.stderr

    def make(self, osd=0):
        status, said = self.run_osd(osd, "--mkfs", "--fsid", self.fsid,
                                    *(["--mkmap"] if osd == 0 else []))
        self.assertEqual(status, 0, said)

    def start(self, osd=0, *more, environment=None):
        server = Server(self.words(osd, *more), environment)
        self.servers.append(server)
        self.assertIsNotNone(server.address, server.output())
        return server

    def refused(self, status, *more, osd=0):
        """Starts a server that must not come up; what it said."""
        got, said = self.run_osd(osd, *more)
        self.assertEqual(got, status, said)
        return said

    def io(self, *words, ok=True):
        done = subprocess.run([OSD_IO, "-c", str(self.folder / "lunar.conf"), *map(str, words)],
                              capture_output=True, text=True, timeout=TIMEOUT, check=False,
                              env=environment())
        self.assertEqual(done.returncode == 0, ok, done.stdout + done.stderr)
        return done.stdout if ok else done.stderr

    def forge_boot_id(self, osd=0):
        """As after a reboot."""
        record = self.folder / f"osd.{osd}" / "runtime.json"
        runtime = json.loads(record.read_text())
        runtime["boot_id"] = "00000000-0000-0000-0000-000000000000"
        record.write_text(json.dumps(runtime))

    # -- making a store

    def test_mkfs_says_what_it_made(self):
        status, said = self.run_osd(0, "--mkfs", "--mkmap")
        self.assertEqual(status, 0)
        self.assertRegex(said, r"osd\.0 store [0-9a-f-]{36} of cluster [0-9a-f-]{36} made in ")

    def test_mkfs_needs_to_know_the_cluster(self):
        self.assertIn("--mkmap", self.refused(1, "--mkfs"))
        self.assertIn("not a UUID", self.refused(1, "--mkfs", "--fsid", "seven"))

    def test_mkfs_leaves_an_existing_store_alone(self):
        self.make()
        self.assertIn("not empty", self.refused(2, "--mkfs", "--mkmap"))

    def test_arguments_that_make_no_sense(self):
        self.assertIn("--fly", self.refused(1, "--fly"))
        status, said = self.run_osd("zero")
        self.assertEqual(status, 1, said)
        self.assertIn("-i 0", said)
        done = subprocess.run([LUNAR_OSD, "--help"], capture_output=True, text=True,
                              timeout=TIMEOUT, check=False, env=environment())
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("--mkfs", done.stdout)

    # -- refusals

    def test_no_store(self):
        self.assertIn("--mkfs", self.refused(2))

    def test_a_store_of_another_server(self):
        self.make()
        (self.folder / "osd.0").rename(self.folder / "osd.1")
        self.assertIn("belongs to osd.0", self.refused(2, osd=1))

    def test_a_store_of_another_cluster(self):
        self.make()
        self.assertIn(self.fsid, self.refused(2, "--fsid", uuid.uuid4()))

    def test_a_store_in_use(self):
        self.make()
        server = self.start()
        said = self.refused(2)
        self.assertIn(str(server.process.pid), said)
        self.assertIn("in use", said)

    def test_a_port_in_use(self):
        self.make()
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", self.ports[0]))
            taken.listen()
            said = self.refused(3)
        self.assertIn(str(self.ports[0]), said)
        self.assertIn("in use", said)

    def test_a_foreign_address_without_keys(self):
        self.make()
        self.assertIn("0.0.0.0", self.refused(3, "--public-addr", f"0.0.0.0:{self.ports[0]}"))

    def test_keys_that_are_not_there(self):
        self.make()
        said = self.refused(3, "--auth-service-required", "psk", "--keyring",
                            self.folder / "none")
        self.assertIn(str(self.folder / "none"), said)

    def test_a_server_nobody_told_of_a_cluster(self):
        status, said = self.run_osd(1, "--mkfs", "--fsid", self.fsid)
        self.assertEqual(status, 0, said)
        self.write_conf(mon_host="")
        self.assertIn("mon_host", self.refused(2, osd=1))

    def test_a_second_store_with_a_known_id(self):
        self.make()
        self.start()
        self.make(1)
        self.start(1).end()
        shutil.rmtree(self.folder / "osd.1")
        self.make(1)
        self.assertIn("osd.1 is store", self.refused(4, osd=1))

    def test_a_damaged_map(self):
        self.make()
        maps = [path for path in (self.folder / "osd.0").rglob("*osdmap*") if path.is_file()]
        self.assertEqual(len(maps), 1)
        content = bytearray(maps[0].read_bytes())
        content[len(content) // 2] ^= 0xff
        maps[0].write_bytes(content)
        self.refused(2)

    # -- serving

    def test_sigterm_ends_it_cleanly(self):
        self.make()
        server = self.start(0, "--pid-file", self.folder / "pid")
        self.assertEqual((self.folder / "pid").read_text().strip(), str(server.process.pid))
        self.io("pool", "p", "write", "a", "hello")
        self.assertEqual(server.end(), 0, server.output())
        self.assertFalse((self.folder / "pid").exists())
        self.forge_boot_id()
        self.start()
        self.assertEqual(self.io("read", "a", 5, "flush"), "hello\nflushed\n")

    def test_what_was_acknowledged_survives_kill_9(self):
        self.make()
        server = self.start()
        self.io("pool", "p", "write", "flushed", "one", "flush", "write", "acked", "two")
        server.kill()
        self.start()
        self.assertEqual(self.io("read", "flushed", 3, "read", "acked", 3, "flush"),
                         "one\ntwo\nflushed\n")

    def test_what_a_reboot_may_have_lost_is_reported_once(self):
        self.make()
        server = self.start()
        self.io("pool", "p", "write", "a", "one")
        server.kill()
        self.forge_boot_id()
        self.start()
        self.assertIn("may be lost", self.io("--lunar-client-instance", "x", "flush", ok=False))

    def test_what_was_flushed_is_not_lost_by_a_reboot(self):
        self.make()
        server = self.start()
        self.io("pool", "p", "write", "a", "one", "flush")
        deadline = time.monotonic() + TIMEOUT
        while json.loads(self.io("command", 0, '{"prefix": "unflushed"}'))["marked_images"]:
            self.assertLess(time.monotonic(), deadline, "the mark of a flushed image does not go")
        self.io("pool", "q")  # the map's record is written after that of the marks
        server.kill()
        self.forge_boot_id()
        self.start()
        self.assertEqual(self.io("read", "a", 3, "flush"), "one\nflushed\n")

    def test_two_servers_share_the_objects(self):
        self.make()
        self.make(1)
        self.start()
        self.start(1)
        objects = [f"obj{number}" for number in range(20)]
        self.io("pool", "p", *[word for name in objects for word in ("write", name, name)])
        read = self.io(*[word for name in objects for word in ("read", name, len(name))])
        self.assertEqual(read.split(), objects)
        status = json.loads(self.io("command", -1, '{"prefix": "status"}'))
        self.assertEqual(status["num_up_osds"], 2)

    def test_the_log_file_is_opened_again(self):
        self.make()
        log = self.folder / "osd.log"
        server = self.start(0, "--log-file", log)
        log.rename(self.folder / "osd.log.1")
        server.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + TIMEOUT
        while not log.exists():
            self.assertLess(time.monotonic(), deadline, "the log file is not opened again")
            time.sleep(0.01)
        self.io("pool", "p")  # logs a command
        self.assertEqual(server.end(), 0)
        self.assertIn("pool create", log.read_text())

    def start_with_systemd(self, *words):
        """A server, and a function that waits for a word to systemd; it returns all that came until then."""
        heard = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(heard.close)
        heard.bind(str(self.folder / "notify"))
        heard.settimeout(TIMEOUT)

        def wait_for(word):
            lines = []
            while word not in lines:
                lines += heard.recv(4096).decode().splitlines()
            return lines
        server = self.start(0, *words, environment={"NOTIFY_SOCKET": str(self.folder / "notify"),
                                                    "WATCHDOG_USEC": "100000"})
        return server, wait_for

    def test_a_log_file_that_does_not_open_holds_nobody_up(self):
        self.make()
        log = self.folder / "osd.log"
        server, wait_for = self.start_with_systemd("--log-file", log)
        wait_for("READY=1")
        log.rename(self.folder / "osd.log.1")
        os.mkfifo(log)  # whose open waits for a reader, as one on a dead file system does
        server.process.send_signal(signal.SIGHUP)
        wait_for("RELOADING=1")
        self.assertIn("WATCHDOG=1", wait_for("READY=1"), "the loop waits for the file")
        server.process.send_signal(signal.SIGHUP)  # while the first one still waits
        wait_for("READY=1")
        self.assertEqual(server.end(), 0)
        self.assertIn("a log file is still being opened", (self.folder / "osd.log.1").read_text())

    def test_systemd_hears_how_it_is(self):
        self.make()
        server, wait_for = self.start_with_systemd()
        self.assertIn(f"STATUS=serving at {server.address}", wait_for("READY=1"))
        wait_for("WATCHDOG=1")
        wait_for("WATCHDOG=1")  # again, while nothing happens
        server.process.send_signal(signal.SIGHUP)
        reloading = wait_for("RELOADING=1")
        self.assertTrue(any(line.startswith("MONOTONIC_USEC=") for line in reloading), reloading)
        wait_for("READY=1")
        server.process.send_signal(signal.SIGTERM)
        wait_for("STOPPING=1")
        self.assertEqual(server.end(), 0)

    def test_the_admin_socket_can_be_the_groups(self):
        self.make()
        for words, mode in (((), 0o600), (("--admin-socket-mode", "0660"), 0o660)):
            server = self.start(0, *words)
            (path,) = self.folder.glob("*.asok")
            self.assertEqual(path.stat().st_mode & 0o777, mode)
            self.assertEqual(server.end(), 0)
        self.assertIn("admin_socket_mode", self.refused(1, "--admin-socket-mode", "0666"))

    def test_daemonize_returns_when_it_serves(self):
        self.make()
        pid_file = self.folder / "pid"
        status, said = self.run_osd(0, "--daemonize", "--pid-file", pid_file)
        self.assertEqual(status, 0, said)
        pid = int(pid_file.read_text())
        try:
            self.io("pool", "p", "write", "a", "x")
        finally:
            handle = os.pidfd_open(pid)
            signal.pidfd_send_signal(handle, signal.SIGTERM)
            self.assertTrue(self.ended(handle), "it does not end")

    @staticmethod
    def ended(handle):
        import select  # pylint: disable=import-outside-toplevel
        ready, _, _ = select.select([handle], [], [], TIMEOUT)
        os.close(handle)
        return bool(ready)

    def test_daemonize_passes_a_refusal_on(self):
        status, said = self.run_osd(0, "--daemonize")
        self.assertEqual(status, 2, said)
        self.assertIn("--mkfs", said)

    def test_a_store_in_memory_needs_no_mkfs(self):
        self.start(0, "--osd-objectstore", "mem", "--mkmap")
        self.io("pool", "p", "write", "a", "x", "read", "a", 1)

    def test_with_keys_strangers_stay_out_and_admins_command(self):
        keyring = self.folder / "keyring"
        keyring.write_text("".join(f"[{name}]\nkey = {KEY}\n"
                                   for name in ("osd.0", "client.admin", "client.guest")))
        keyring.chmod(0o600)
        self.write_conf(auth_client_required="psk", auth_cluster_required="psk",
                        auth_service_required="psk", keyring=keyring)
        self.make()
        self.start()
        self.io("pool", "p", "write", "a", "x")
        self.assertIn("osd_admin_entities", self.io("--name", "client.guest", "pool", "q", ok=False))


if __name__ == "__main__":
    LUNAR_OSD, OSD_IO = sys.argv[1:3]
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]], verbosity=2)
