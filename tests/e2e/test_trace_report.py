#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A known load, one slow server and one cut link: the report of the trace shows all of it."""

import collections
import json
import signal
import unittest

import trace_recording
from lunar_e2e import Cluster, LunarTestCase, wait_until
from lunar_e2e.env import built, preloaded

KIB = 1 << 10
MIB = 1 << 20
BLOCK = 512
OBJECT = MIB
STRIPE_UNIT = 64 * KIB
SLOW = 1  # the server that answers late
FAULTS = f"""
[osd.{SLOW}]
ms_inject_delay_probability = 1
ms_inject_delay_max = 350ms
[client]
ms_inject_socket_failures = 80
ms_inject_seed = 5
"""

# (offset, length) in bytes, of writes; each is read back.
WORKLOAD = [(0, 512), (4096, 4096), (OBJECT - 4096, 8192), (OBJECT - 512, 512), (OBJECT, 64 * KIB),
            (3 * OBJECT + 512, MIB), (2 * OBJECT, MIB), (7 * OBJECT - 512, 4 * MIB + 1024),
            (16 * OBJECT, 8 * MIB), (24 * OBJECT + 512, 8 * MIB)]  # fmt: skip
STRIPED = [(0, 4096), (STRIPE_UNIT - 512, 1024), (0, MIB), (5 * STRIPE_UNIT + 512, 3 * STRIPE_UNIT)]


def pieces(offset, length, unit):
    """How many extents an IO must be cut into: one for each unit it touches."""
    return (offset + length - 1) // unit - offset // unit + 1


def predicted():
    """reason -> extents -> IOs, of both images, writes and reads."""
    counts = collections.defaultdict(collections.Counter)
    for workload, unit, reason in ((WORKLOAD, OBJECT, "object_boundary"),
                                   (STRIPED, STRIPE_UNIT, "stripe")):
        for offset, length in workload:
            extents = pieces(offset, length, unit)
            counts[reason if extents > 1 else "none"][str(extents)] += 2
    return {reason: dict(ios) for reason, ios in counts.items()}


class FaultyCluster(Cluster):
    """With one slow server, and links of clients that break."""

    def write_conf(self):
        super().write_conf()
        with open(self.conf, "a", encoding="utf-8") as conf:
            conf.write(FAULTS)


class TraceReportTest(LunarTestCase):
    cluster_class = Cluster

    def start_cluster(self, name="cluster", **options):
        cluster = self.cluster_class(self.folder / name, **options)
        self.addCleanup(cluster.stop)
        return cluster.start()

    def do_io(self, lun, workload):
        for offset, length in workload:
            place = {"lba": offset // BLOCK, "blocks": length // BLOCK}
            self.assert_good(self.command(lun.url, "write", pattern="0x5a", **place))
            self.assert_good(self.command(lun.url, "read", **place))

    def go_on_until_a_link_is_cut(self, lun):
        """Writes of one extent each, until a session had to send something again."""
        def was_cut():
            self.assert_good(self.command(lun.url, "write", lba=40 * MIB // BLOCK, blocks=8, pattern="1"))
            self.extra_writes += 1
            return self.cluster.gateway_command("perf", "dump")["msgr"]["replays"] > 0
        wait_until(was_cut, 120, "a session to send something again")

    def lose_a_server_during(self, lun):
        """A write is under way when its server dies: the Objecter sends it again to the new one."""
        victim = max(self.cluster.osds_of("rbd/image", range(8)))
        self.do_io(lun, [(0, 8 * MIB), (8 * MIB, 8 * MIB)])  # so that there are sessions with all servers
        self.cluster.osds[victim].send(signal.SIGSTOP)
        running = self.start_load("bench", lun.url, access="write", size="8M", depth=2, ops=2,
                                  span="8M")
        def waits_for_victim():
            ops = self.cluster.gateway_command("ops", "in", "flight")["ops"]
            return any(op["osd"] == victim and op["state"] == "sent" and op["age"] > 0.3 for op in ops)
        wait_until(waits_for_victim, 60, "ops that wait for the stopped server")
        self.cluster.restart_osd(victim)
        running.finish()

    def record(self):
        self.extra_writes = 0
        with trace_recording.Recording(self.folder) as recording:
            self.start_lunar(extra_environment=recording.environment())
            lun = self.new_lun("rbd/plain", size="64M", object_size="1M")
            striped = self.new_lun("rbd/striped", size="64M", object_size="1M", stripe_unit="64K",
                                   stripe_count="3")
            self.do_io(lun, WORKLOAD)
            self.do_io(striped, STRIPED)
            self.go_on_until_a_link_is_cut(lun)
            self.tgtd.stop()
            self.cluster.stop()
            recording.stop()
        return recording.folder

    def test_the_report_tells_what_was_done_and_what_befell_it(self):
        self.cluster_class = FaultyCluster
        folder = self.record()
        found = trace_recording.report_json(folder)

        self.assertEqual(found["lost"]["events"], 0, found["lost"])
        whole = found["reconciliation"]
        self.assertEqual((whole["percent"], whole["incomplete"], whole["cut_at_start"], whole["cut_at_end"]),
                         (100, 0, 0, 0), whole)
        self.assertEqual(whole["ops"], whole["ops_whole"])
        writes = len(WORKLOAD) + len(STRIPED) + self.extra_writes
        self.assertEqual(found["ios"]["write"]["ios"], writes)
        self.assertEqual(found["ios"]["read"]["ios"], len(WORKLOAD) + len(STRIPED))

        expected = predicted()
        expected["none"]["1"] += self.extra_writes
        self.assertEqual(found["splits"]["ios_by_reason_and_extents"], expected)
        self.assertEqual(found["splits"]["extents"],
                         sum(int(extents) * ios for counts in expected.values()
                             for extents, ios in counts.items()))

        self.assertEqual([server["osd"] for server in found["servers"] if "slow" in server], [SLOW])
        self.assertIn(f"osd.{SLOW}", found["slowest"][0]["why"])
        self.assertGreater(found["ops"]["replays"], 0)
        self.assertTrue(any("link down" in line for line in found["links"]))
        self.assertTrue(any("sent again" in line for line in found["links"]))
        names = {process["name"] for process in found["trace"]["processes"]}
        self.assertLessEqual({"osd.0", "osd.1", "osd.2"}, names)

        self.check_other_forms(folder, found)

    def check_other_forms(self, folder, found):
        text = trace_recording.report(folder)
        self.assertIn("100 %: each of", text)
        self.assertIn(f"osd.{SLOW} is slow", text)
        slowest = found["slowest"][0]["io_id"]
        tree = trace_recording.report(folder, "--io", slowest)
        for event in ("cmd_start", "io_split", "frame_sent", "op_received", "store_done", "op_replied",
                      "op_reply", "io_done", "cmd_returned"):
            self.assertIn(event, tree)
        self.check_chrome(folder)
        # The same by babeltrace2 itself.
        plugins = built("babeltrace-plugin-lunar.so").parent
        by_plugin = json.loads(trace_recording.run(
            ["babeltrace2", f"--plugin-path={plugins}", folder, "--component=sink.lunar.report",
             "--params=json=yes"], environment=preloaded()))
        self.assertEqual(by_plugin, found)

    def check_chrome(self, folder):
        path = self.folder / "chrome.json"
        self.assertEqual(trace_recording.report(folder, "--chrome", path), "")
        events = json.loads(path.read_text())["traceEvents"]
        tracks = collections.defaultdict(list)
        for event in events:
            self.assertIn(event["ph"], ("b", "e", "i", "M"))
            self.assertIsInstance(event["pid"], int)
            self.assertIsInstance(event["name"], str)
            if event["ph"] == "M":
                continue
            self.assertGreaterEqual(event["ts"], 0)
            if event["ph"] in "be":
                tracks[event["cat"], event["id"], event["pid"]].append(event)
        for track in tracks.values():
            self.check_nesting(track)
        self.assertTrue(any(event.get("cat") == "server" for event in events))

    def check_nesting(self, track):
        """As viewers read it: stably sorted by time, and an end belongs to the last begin."""
        is_open = []
        for event in sorted(track, key=lambda event: event["ts"]):
            if event["ph"] == "b":
                is_open.append(event["name"])
            else:
                self.assertTrue(is_open, event)
                self.assertEqual(is_open.pop(), event["name"], track)
        self.assertEqual(is_open, [], track)

    def test_a_server_that_dies_under_an_io_is_seen_as_a_resend(self):
        with trace_recording.Recording(self.folder) as recording:
            self.start_lunar(extra_environment=recording.environment())
            lun = self.new_lun(size="64M", object_size="1M")
            self.lose_a_server_during(lun)
            self.tgtd.stop()
            self.cluster.stop()
            recording.stop()
        found = trace_recording.report_json(recording.folder)
        self.assertEqual(found["reconciliation"]["percent"], 100, found["reconciliation"])
        self.assertGreater(found["ops"]["resends"].get("session_reset", 0), 0, found["ops"])
        self.assertIn("because of session_reset", found["slowest"][0]["why"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
