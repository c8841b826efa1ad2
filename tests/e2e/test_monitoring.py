#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""lunar-exporter, with Debian's Prometheus: metrics, alert rules and the dashboard (docs/monitoring.md)."""

import json
import pathlib
import re
import shutil
import signal
import subprocess
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


class ExporterTest(LunarTestCase):
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

    def once(self):
        return subprocess.run([EXPORTER, "--run-dir", self.cluster.folder, "--once"], text=True, check=True,
                              capture_output=True, timeout=60, env=child_environment()).stdout

    def value(self, text, name, *labels):
        """Of the one sample that has these labels."""
        (found,) = [value for mine, value in samples(text).get(name, [])
                    if all(each in mine.split(",") for each in labels)]
        return found

    def start_exporter(self):
        words = [EXPORTER, "--run-dir", self.cluster.folder, "--port", 0]
        exporter = Process("lunar-exporter", words, self.folder / "exporter.log")
        self.addCleanup(exporter.kill)
        found = wait_until(lambda: re.search(r"serving http://(\S+)/metrics", exporter.log()), 60, "the exporter")
        return exporter, found[1]

    def start_prometheus(self, target):
        folder = self.folder / "prometheus"
        folder.mkdir()
        shutil.copy(RULES, folder)
        (folder / "prometheus.yml").write_text(
            "global: {scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}\n"
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
        exporter, target = self.start_exporter()
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
        text = self.once()
        self.assertIn("lunar_gateway_wr_latency_seconds_bucket{", text)
        checked = subprocess.run([program("promtool"), "check", "metrics"], input=text, text=True, timeout=60,
                                 capture_output=True, check=False)
        self.assertEqual((checked.returncode, checked.stdout + checked.stderr), (0, ""))

    def test_rules_and_dashboard_name_metrics_that_exist(self):
        served = set(samples(self.once()))
        for text in (RULES.read_text(), DASHBOARD.read_text()):
            named = set(NAME.findall(text)) - {"lunar_rules_test"}
            self.assertGreater(len(named), 8)
            self.assertEqual(named - served, set())

    def test_a_server_that_was_killed_or_hangs_is_down(self):
        down = 'cluster="lunar"', 'daemon="osd.1"'
        self.assertEqual(self.value(self.once(), "lunar_daemon_up", *down), 1)
        self.cluster.osds[1].send(signal.SIGSTOP)
        text = self.once()
        self.assertEqual(self.value(text, "lunar_daemon_up", *down), 0)
        self.assertEqual(self.value(text, "lunar_daemon_up", 'daemon="osd.0"'), 1, "the others are shown")
        self.assertGreater(self.value(text, "lunar_store_free_bytes", 'daemon="osd.0"'), 0)
        self.cluster.kill_osd(1)
        self.assertEqual(self.value(self.once(), "lunar_daemon_up", *down), 0)
        self.cluster.restart_osd(1)  # which leaves the socket of the one that was killed
        text = self.once()
        self.assertEqual(self.value(text, "lunar_daemon_up", *down), 1)
        self.assertEqual(self.value(text, "lunar_map_osds_up", *down), 2)
        self.assertEqual(self.value(text, "lunar_store_state", *down), 0)
        self.assertEqual(self.value(text, "lunar_images_with_lost_writes", *down), 0)


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
                                text=True, timeout=60, capture_output=True, check=False)
        self.assertEqual(tested.returncode, 0, tested.stdout + tested.stderr)

    def test_each_alert_is_tested(self):
        alerts = set(re.findall(r"alert: (\w+)", RULES.read_text()))
        tests = (ROOT / "tests" / "monitoring" / "lunar_rules_test.yml").read_text()
        fired = set(re.findall(r"alertname: (\w+)\n +exp_alerts:", tests))
        self.assertEqual(fired, alerts)


if __name__ == "__main__":
    unittest.main(verbosity=2)
