#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A short run of tgt_bench.py: that it measures and adds up, not how fast anything is."""

import json
import os
import unittest
import unittest.mock

import tgt_bench
from lunar_e2e import TestCase


def report(iops):
    return {"iops": iops, "mb_per_s": iops / 250,
            "latency_us": {"p50": 1e6 / iops, "p99": 2e6 / iops}, "tgtd_cpu_us": 3}


class SummaryTest(unittest.TestCase):
    def test_ratio_is_taken_within_each_round(self):
        reports = {"null": [report(100), report(50)], "rdwr": [report(50), report(40)]}
        summary = tgt_bench.summarise(reports)
        self.assertEqual(summary["rdwr"]["ratio_to"]["null"],
                         {"median": 0.65, "min": 0.5, "max": 0.8})
        self.assertEqual(summary["null"]["iops"], {"median": 75, "min": 50, "max": 100})


class ShortRunTest(TestCase):
    def test_every_store_is_measured_in_every_round(self):
        output = self.folder / "bench.json"
        code = tgt_bench.main(["--rounds", "2", "--seconds", "0.5", "--span-mib", "64",
                               "--output", str(output)])
        self.assertEqual(code, 0)
        result = json.loads(output.read_text())
        self.assertEqual([workload["access"] for workload in result["workloads"]],
                         ["randread", "randwrite"])
        for workload in result["workloads"]:
            self.assertEqual(set(workload["summary"]), set(tgt_bench.STORES))
            for rounds in workload["rounds"].values():
                self.assertEqual(len(rounds), 2)
                for one in rounds:
                    self.assertGreater(one["iops"], 0)
                    self.assertGreater(one["tgtd_cpu_us"], 0)

    def test_a_store_that_is_not_built_is_an_error(self):
        with unittest.mock.patch.dict(os.environ, {"LUNAR_BUILD_DIR": str(self.folder)}):
            self.assertEqual(tgt_bench.main(["--rounds", "1"]), 2)

    def test_unknown_store_is_refused(self):
        with self.assertRaises(SystemExit):
            tgt_bench.main(["--stores", "null,nonsense"])


if __name__ == "__main__":
    unittest.main(verbosity=2)
