#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""lunar-exporter, with Debian's Prometheus: metrics, alert rules and the dashboard (docs/monitoring.md)."""

import concurrent.futures
import contextlib
import ctypes
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
import unittest
import urllib.parse
import urllib.request

from lunar_e2e import LunarTestCase, wait_until
from lunar_e2e.cluster import Cluster
from lunar_e2e.env import child_environment, program
from lunar_e2e.process import Process, free_port

ROOT = pathlib.Path(__file__).resolve().parents[2]
EXPORTER = ROOT / "tools" / "lunar-exporter"
RULES = ROOT / "packaging" / "monitoring" / "lunar.rules.yml"
DASHBOARD = ROOT / "packaging" / "monitoring" / "lunar-dashboard.json"
NAME = re.compile(r"\blunar_[a-z_]+")


class DefaultSocketsCluster(Cluster):
    """Whose admin sockets have the names that they have by default."""

    def write_conf(self):
        super().write_conf()
        text = self.conf.read_text()
        self.conf.write_text(re.sub(r"\nadmin_socket = .*", "", text))

    def admin_socket(self, osd):
        (socket,) = self.folder.glob(f"lunar-osd.{osd}.{self.osds[osd].pid}.asok")
        return socket


def samples(text):
    """{name: [(labels as text, value)]} of the exposition."""
    found = {}
    for line in text.splitlines():
        if match := re.fullmatch(r"([a-z_]+)(?:\{(.*)\})? (\S+)", line):
            found.setdefault(match[1], []).append((match[2] or "", float(match[3])))
    return found


@contextlib.contextmanager
def stopped_thread(tid):
    """One thread of a child stands still, and the others go on: what SIGSTOP cannot do."""
    seize, interrupt, detach, wait_all = 0x4206, 0x4207, 17, 0x40000000
    libc = ctypes.CDLL(None, use_errno=True)

    def trace(request):
        if libc.ptrace(ctypes.c_long(request), ctypes.c_long(tid), None, None) != 0:
            raise OSError(ctypes.get_errno(), f"ptrace {request:#x}")
    trace(seize)
    try:
        trace(interrupt)
        os.waitpid(tid, wait_all)
        yield
    finally:
        trace(detach)


class FakeDaemon:
    """An admin socket that answers what a test wants, to one client at a time. An answer is text, or what writes it
    to the connection; commands that have none are not answered until the end."""

    GOOD = {
        "perf prometheus": '# HELP lunar_fake fake\n# TYPE lunar_fake gauge\nlunar_fake{group="g"} 1\n',
        "version": '{"version": "1.0"}',
        "sessions": '{"epoch": 1, "sessions": []}',
        "store usage": '{"total": 9, "used": 1, "available": 8, "state": "ok"}',
        "unflushed": '{"lost_writes": [], "damaged_objects": []}',
        "status": '{"num_osds": 1, "num_up_osds": 1}',
    }

    def __init__(self, path, **answers):
        self.answers = {**self.GOOD, **{command.replace("_", " "): answer for command, answer in answers.items()}}
        self.asked = []
        self.held = []
        self.path = path
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(os.fspath(path))
        self.listener.listen(64)
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        with contextlib.suppress(OSError):  # the end of accept()
            while True:
                connection, _ = self.listener.accept()
                with contextlib.suppress(OSError):  # it gave up
                    self.serve(connection)

    def serve(self, connection):
        command = connection.makefile().readline().strip()
        self.asked.append(command)
        answer = self.answers[command]
        if answer is None:
            self.held.append(connection)
            return
        with connection:
            if callable(answer):
                answer(connection)
            else:
                text = answer.encode()
                connection.sendall(struct.pack(">I", len(text)) + text)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.thread.join()
        for each in (self.listener, *self.held):
            each.close()
        os.unlink(self.path)


class ExporterTestCase(LunarTestCase):
    def once(self, run_dir):
        return subprocess.run([EXPORTER, "--run-dir", run_dir, "--once"], text=True, check=True,
                              capture_output=True, timeout=60, env=child_environment()).stdout

    def value(self, text, name, *labels):
        """Of the one sample that has these labels."""
        (found,) = [value for mine, value in samples(text).get(name, [])
                    if all(each in mine.split(",") for each in labels)]
        return found

    def start_exporter(self, run_dir):
        words = [EXPORTER, "--run-dir", run_dir, "--port", 0]
        exporter = Process("lunar-exporter", words, self.folder / "exporter.log")
        self.addCleanup(exporter.kill)
        found = wait_until(lambda: re.search(r"serving http://(\S+)/metrics", exporter.log()), 60, "the exporter")
        return exporter, found[1]

    def check_metrics(self, text):
        checked = subprocess.run([program("promtool"), "check", "metrics"], input=text, text=True, timeout=60,
                                 capture_output=True, check=False)
        self.assertEqual((checked.returncode, checked.stdout + checked.stderr), (0, ""))


class BadAnswersTest(ExporterTestCase):
    """Of programs that hang, lie, or are many."""

    def fake(self, name, **answers):
        """Until the end of the test."""
        return self.enterContext(FakeDaemon(self.path(name), **answers))

    def path(self, name):
        return self.folder / f"lunar-{name}.asok"

    def assert_up(self, text, up, daemon="client.bad"):
        self.assertEqual(self.value(text, "lunar_daemon_up", f'daemon="{daemon}"'), up)
        self.assertEqual(self.value(text, "lunar_daemon_up", 'daemon="client.good"'), 1)
        self.assertEqual(self.value(text, "lunar_fake", 'daemon="client.good"'), 1)
        self.check_metrics(text)

    def test_one_whose_event_loop_does_not_answer_is_down(self):
        self.fake("client.good.1")
        self.fake("client.bad.2", sessions=None)
        self.assert_up(self.once(self.folder), 0)

    def test_one_that_does_not_know_a_command_is_up(self):
        self.fake("client.good.1")
        self.fake("client.bad.2", sessions='{"error": "unknown command"}', version='{"error": "unknown command"}')
        self.assert_up(self.once(self.folder), 1)

    def test_a_bad_answer_costs_the_metrics_of_its_program_only(self):
        self.fake("client.good.1")
        for perf in ("# HELP", "# TYPE lunar_x", "lunar_x", "lunar_x 1 2 x", "lunar_x{a=b} 1", "go_x 1",
                     "lunar_x-y 1", 'lunar_x{a-b="1"} 1', 'lunar_x{__name__="y"} 1', "# TYPE lunar_x none\nlunar_x 1",
                     'lunar_daemon_up{cluster="lunar",daemon="client.good"} 0', "lunar_map_osds 9"):
            with self.subTest(perf=perf), FakeDaemon(self.path("client.bad.2"), perf_prometheus=perf + "\n"):
                self.assert_up(self.once(self.folder), 0)

    def test_nor_does_one_of_a_server_take_the_others(self):
        self.fake("client.good.1")
        deep = "[" * 100000
        for command, answer in (("store_usage", '{"state": []}'), ("store_usage", deep), ("version", deep),
                                ("store_usage", f'{{"used": 1{"0" * 400}}}'), ("unflushed", '{"lost_writes": [1]}'),
                                ("unflushed", '{"lost_writes": {"a": 1}}')):
            with (self.subTest(command=command, answer=answer[:40]),
                  FakeDaemon(self.path("osd.7.2"), **{command: answer})):
                self.assert_up(self.once(self.folder), 0, daemon="osd.7")

    def test_a_version_that_is_no_text_is_served_as_text(self):
        self.fake("client.good.1")
        self.fake("client.bad.2", version=r'{"version": "\ud800"}')
        text = self.once(self.folder)
        self.assert_up(text, 1)
        self.assertEqual(self.value(text, "lunar_daemon_info", 'daemon="client.bad"', 'version="?"'), 1)

    def test_nobody_speaks_for_another_program(self):
        self.fake("client.good.1")
        self.fake("client.bad.2", perf_prometheus='# TYPE lunar_fake gauge\n'
                                                  'lunar_fake{cluster="lunar",daemon="client.good"} 7\n')
        text = self.once(self.folder)
        self.assertEqual(self.value(text, "lunar_daemon_up", 'daemon="client.bad"'), 1)
        self.assertEqual(self.value(text, "lunar_fake", 'daemon="client.good"'), 1)

    def test_one_that_dribbles_is_down(self):
        self.fake("client.good.1")
        is_over = threading.Event()
        self.addCleanup(is_over.set)

        def dribble(connection):
            connection.sendall(struct.pack(">I", 1 << 20))
            while not is_over.wait(0.5):  # quicker than the deadline, and for a week
                connection.sendall(b"#")
        self.fake("client.bad.2", perf_prometheus=dribble)
        self.assert_up(self.once(self.folder), 0)

    def test_a_socket_with_another_name_than_ours_have_is_ignored(self):
        self.fake("client.good.1")
        self.fake("client.b\u00e4d.2")
        self.fake("client.other.\u0663")  # a digit, but not of a process id
        self.enterContext(FakeDaemon(os.fsencode(self.folder) + b"/lunar-client.\xff.3.asok"))
        text = self.once(self.folder)
        self.assertEqual(len(samples(text)["lunar_daemon_up"]), 1, text)
        self.check_metrics(text)

    def test_each_loss_is_a_metric_of_its_own(self):
        image, loss = 0x7, 0xfedcba9876543211
        self.fake("osd.7.2", unflushed=json.dumps({
            "lost_writes": [{"image": image, "loss": loss, "told": []}, {"image": image + 1, "loss": 3, "told": []}],
            "damaged_objects": []}))
        text = self.once(self.folder)
        self.assertEqual(self.value(text, "lunar_lost_writes", 'image_id="0000000000000007"',
                                    'loss="fedcba9876543211"', 'daemon="osd.7"'), 1)
        self.assertEqual(self.value(text, "lunar_images_with_lost_writes"), 2)
        self.check_metrics(text)

    def scrape(self, target):
        with urllib.request.urlopen(f"http://{target}/metrics", timeout=60) as answer:
            return answer.read().decode()

    def test_programs_are_asked_once_a_second_however_many_scrape(self):
        daemon = self.fake("client.good.1")
        _, target = self.start_exporter(self.folder)
        started = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            for text in pool.map(self.scrape, [target] * 80):
                self.assertEqual(self.value(text, "lunar_fake"), 1)
        times = daemon.asked.count("perf prometheus")
        self.assertLessEqual(times, time.monotonic() - started + 1)

    def test_connections_are_bounded(self):
        self.fake("client.good.1")
        exporter, target = self.start_exporter(self.folder)
        host, port = target.split(":")
        with contextlib.ExitStack() as opened:
            idle = [opened.enter_context(socket.create_connection((host, int(port)), timeout=60)) for _ in range(40)]
            for each in idle[16:]:
                self.assertEqual(each.recv(1), b"", "the server closes it")
            idle[0].setblocking(False)
            with self.assertRaises(BlockingIOError):  # and not because it was idle for too long
                idle[0].recv(1)
            threads = re.search(r"Threads:\s+(\d+)", pathlib.Path(f"/proc/{exporter.pid}/status").read_text())[1]
            self.assertLessEqual(int(threads), 17)

        def has_room():
            with contextlib.suppress(OSError):
                return self.scrape(target)
        self.assertEqual(self.value(wait_until(has_room, 60, "room for a scrape"), "lunar_fake"), 1)
        self.assertEqual(exporter.stop(), 0)


class ExporterTest(ExporterTestCase):
    def setUp(self):
        super().setUp()
        self.cluster = DefaultSocketsCluster(self.folder / "cluster", num_osds=2)
        self.addCleanup(self.cluster.stop)
        self.cluster.start()
        self.bsopts = None
        self.tgtd = self.start_tgtd(with_lunar=True, environment=self.cluster.environment())
        self.target = self.tgtd.add_target()
        self.lun = self.new_lun("rbd/disk-1", size="64M")
        self.verify(self.lun.url, bytes="2M", seed=1)

    def start_prometheus(self, target):
        folder = self.folder / "prometheus"
        folder.mkdir()
        shutil.copy(RULES, folder)
        (folder / "prometheus.yml").write_text(
            "global: {scrape_interval: 5s, scrape_timeout: 5s, evaluation_interval: 5s}\n"
            f"rule_files: [{RULES.name}]\n"
            f"scrape_configs: [{{job_name: lunar, static_configs: [{{targets: ['{target}']}}]}}]\n")
        address = f"127.0.0.1:{free_port()}"
        prometheus = Process("prometheus", [program("prometheus"), f"--config.file={folder}/prometheus.yml",
                                            f"--storage.tsdb.path={folder}/data", f"--web.listen-address={address}"],
                             self.folder / "prometheus.log")
        self.addCleanup(prometheus.kill)
        return address

    def query(self, address, expression):
        """The values that Prometheus has, or none while it does not answer."""
        url = f"http://{address}/api/v1/query?query={urllib.parse.quote(expression)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)["data"]["result"]
        except OSError:
            return []

    def test_a_prometheus_scrapes_it(self):
        exporter, target = self.start_exporter(self.cluster.folder)
        address = self.start_prometheus(target)
        expression = 'lunar_image_wr_bytes_total{cluster="lunar",pool="rbd",image="disk-1",daemon="client.admin"}'
        (found,) = wait_until(lambda: self.query(address, expression), 60, "a scrape")
        counted = self.cluster.gateway_command("perf", "dump")["image.rbd/disk-1"]
        self.assertEqual(int(found["value"][1]), counted["wr_bytes"])
        self.assertEqual(found["metric"]["group"], "image")
        self.assertEqual(len(self.query(address, "lunar_daemon_up == 1")), 3)
        for query in dashboard_queries():  # they are all understood
            with self.subTest(query=query):
                url = f"http://{address}/api/v1/query?query={urllib.parse.quote(query)}"
                with urllib.request.urlopen(url, timeout=10) as answer:
                    self.assertEqual(json.load(answer)["status"], "success")
        self.assertEqual(exporter.stop(), 0)

    def test_promtool_finds_nothing_wrong_with_the_metrics(self):
        text = self.once(self.cluster.folder)
        self.assertIn("lunar_gateway_wr_latency_seconds_bucket{", text)
        self.check_metrics(text)

    def test_rules_and_dashboard_name_metrics_that_exist(self):
        text = self.once(self.cluster.folder)
        served = set(samples(text)) | set(re.findall(r"# TYPE (\S+)", text))  # of some there is no sample yet
        for using in (RULES.read_text(), DASHBOARD.read_text()):
            named = set(NAME.findall(using)) - {"lunar_rules_test"}
            self.assertGreater(len(named), 8)
            self.assertEqual(named - served, set())

    def test_a_server_that_was_killed_or_hangs_is_down(self):
        down = 'cluster="lunar"', 'daemon="osd.1"'
        self.assertEqual(self.value(self.once(self.cluster.folder), "lunar_daemon_up", *down), 1)
        self.cluster.osds[1].send(signal.SIGSTOP)
        text = self.once(self.cluster.folder)
        self.assertEqual(self.value(text, "lunar_daemon_up", *down), 0)
        self.assertEqual(self.value(text, "lunar_daemon_up", 'daemon="osd.0"'), 1, "the others are shown")
        self.assertGreater(self.value(text, "lunar_store_free_bytes", 'daemon="osd.0"'), 0)
        self.cluster.kill_osd(1)
        self.assertEqual(self.value(self.once(self.cluster.folder), "lunar_daemon_up", *down), 0)
        self.cluster.restart_osd(1)  # which leaves the socket of the one that was killed
        text = self.once(self.cluster.folder)
        self.assertEqual(self.value(text, "lunar_daemon_up", *down), 1)
        self.assertEqual(self.value(text, "lunar_map_osds_up", *down), 2)
        self.assertEqual(self.value(text, "lunar_store_state", *down), 0)
        self.assertEqual(self.value(text, "lunar_images_with_lost_writes", *down), 0)

    def test_a_gateway_whose_one_thread_hangs_is_down(self):
        gateway = 'cluster="lunar"', 'daemon="client.admin"'
        (gateway_socket,) = self.cluster.gateway_sockets()
        pid = int(gateway_socket.name.split(".")[-2])
        self.assertEqual(self.value(self.once(self.cluster.folder), "lunar_daemon_up", *gateway), 1)
        with stopped_thread(pid):
            # Its admin thread goes on.
            self.assertIn("gateway", self.cluster.gateway_command("perf", "dump"))
            text = self.once(self.cluster.folder)
            self.assertEqual(self.value(text, "lunar_daemon_up", *gateway), 0)
            self.assertEqual(self.value(text, "lunar_daemon_up", 'daemon="osd.0"'), 1, "the others are shown")
        self.assertEqual(self.value(self.once(self.cluster.folder), "lunar_daemon_up", *gateway), 1)

    def test_a_loss_has_the_id_of_its_image(self):
        source = self.folder / "source"
        source.write_bytes(b"x" * (8 << 20))
        self.assert_good(self.command(self.lun.url, "write", **{"in": source}, lba=0, blocks=16384))
        for osd in range(2):  # as after a reboot: what was not flushed is lost
            self.cluster.kill_osd(osd)
            record = self.cluster.store_folder(osd) / "runtime.json"
            runtime = json.loads(record.read_text())
            runtime["boot_id"] = "00000000-0000-0000-0000-000000000000"
            record.write_text(json.dumps(runtime))
            self.cluster.start_osd(osd)
        lost = samples(self.once(self.cluster.folder))["lunar_lost_writes"]
        image_id = self.cluster.lunar_json("info", "rbd/disk-1")["id"]
        self.assertEqual({re.search('image_id="(.*?)"', labels)[1] for labels, _ in lost}, {image_id})


def dashboard_queries():
    """As Grafana sends them, of all that there is."""
    dashboard = json.loads(DASHBOARD.read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield re.sub(r"\$(cluster|pool|image)", ".*", target["expr"].replace("$__rate_interval", "1m"))


class RulesTest(LunarTestCase):
    def test_each_alert_fires_when_it_should(self):
        for file in (RULES, ROOT / "tests" / "monitoring" / "lunar_rules_test.yml"):
            shutil.copy(file, self.folder)
        tested = subprocess.run([program("promtool"), "test", "rules", "lunar_rules_test.yml"], cwd=self.folder,
                                text=True, timeout=300, capture_output=True, check=False)
        self.assertEqual(tested.returncode, 0, tested.stdout + tested.stderr)

    def test_each_alert_is_tested(self):
        alerts = set(re.findall(r"alert: (\w+)", RULES.read_text()))
        tests = (ROOT / "tests" / "monitoring" / "lunar_rules_test.yml").read_text()
        fired = set(re.findall(r"alertname: (\w+)\n +exp_alerts:", tests))
        self.assertEqual(fired, alerts)


if __name__ == "__main__":
    unittest.main(verbosity=2)
