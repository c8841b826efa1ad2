# SPDX-License-Identifier: LGPL-2.1-or-later
"""The base of the test cases: a folder of its own, and logs shown when a test fails."""

import pathlib
import shutil
import sys
import tempfile
import unittest

from . import load
from .cluster import Cluster
from .process import wait_until
from .tgt import PrivateTgtd

_SHOWN_LINES = 60


class TestCase(unittest.TestCase):
    """`self.folder` is a new, empty folder, removed afterwards. Its path is short: unix sockets
    live in it. What the helpers below start is stopped, and checked for a crash, at the end."""

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="lunar-", dir="/tmp"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.addCleanup(self._show_logs_if_failed)

    def _show_logs_if_failed(self):
        outcome = getattr(self, "_outcome", None)
        if outcome is None or outcome.success:
            return
        for log in sorted(self.folder.rglob("*.log")):
            lines = log.read_text(errors="replace").splitlines()[-_SHOWN_LINES:]
            print(f"--- {self.id()}: end of {log.name}", *lines, sep="\n", file=sys.stderr)

    def start_tgtd(self, name="tgt", **options):
        tgtd = PrivateTgtd(self.folder / name, **options)
        self.addCleanup(tgtd.stop)
        return tgtd.start()

    def start_cluster(self, name="cluster", **options):
        cluster = Cluster(self.folder / name, **options)
        self.addCleanup(cluster.stop)
        return cluster.start()

    def sparse_file(self, name, num_bytes):
        path = self.folder / name
        with open(path, "wb") as file:
            file.truncate(num_bytes)
        return path

    # -- load

    def start_load(self, mode, urls, **options):
        running = load.Load(mode, urls, self.folder / f"load-{mode}.log", **options)
        self.addCleanup(running.kill)
        return running

    def verify(self, urls, expect=load.CLEAN, timeout=600, **options):
        """The reports of `lunar-iscsi-load verify`, one per URL."""
        return self.start_load("verify", urls, **options).finish(timeout, expect)

    def bench(self, urls, timeout=600, **options):
        return self.start_load("bench", urls, **options).finish(timeout)

    def command(self, url, *words, **options):
        return load.command(url, *words, **options)

    def assert_good(self, answer):
        self.assertIn(answer["status"], ("GOOD", "CONDITION MET"), answer)

    def assert_sense(self, answer, key, asc, ascq=0):
        self.assertEqual(answer["status"], "CHECK CONDITION", answer)
        sense = answer["sense"]
        self.assertEqual((sense["key"], sense["asc"], sense["ascq"]), (key, asc, ascq), answer)


class LunarTestCase(TestCase):
    """Of a cluster, a tgtd with the plugin, and LUNs on images."""

    def start_lunar(self, bsopts=None, host="127.0.0.1", **cluster_options):
        self.bsopts = bsopts
        self.cluster = self.start_cluster(host=host, **cluster_options)
        self.tgtd = self.start_tgtd(with_lunar=True, environment=self.cluster.environment(),
                                    host=host)
        self.target = self.tgtd.add_target()

    def new_lun(self, image="rbd/image", size="256M", target=None, **layout):
        """Makes an image and exports it."""
        self.cluster.create_image(image, size, **layout)
        return self.export(image, target)

    def export(self, image, target=None, **options):
        return (target or self.target).add_lun("lunar", image, **{"bsopts": self.bsopts, **options})

    def wait_for_writes(self, running, num_bytes=1 << 20):
        """Until the load has written that much, as the gateway's counters see it."""
        def has_written():
            was_running = running.is_running()
            if self.bytes_written() >= start + num_bytes:
                return True
            if not was_running:
                raise AssertionError("the load ended early:\n" + running.log())
            return False
        start = self.bytes_written()
        wait_until(has_written, 120, f"{num_bytes} bytes written")

    def bytes_written(self):
        return self.cluster.gateway_command("perf", "dump")["gateway"]["wr_bytes"]
