#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The conformance runner, proven on Debian's own tgtd with bs_rdwr."""

import signal
import unittest

import conformance
from lunar_e2e import HarnessError, TestCase

PASSED = """
Suite: Write10
  Test: Simple ...passed

Run Summary:    Type  Total    Ran Passed Failed Inactive
              suites      1      1    n/a      0        0
               tests      1      1      1      0        0
             asserts    768    768    768      0      n/a
"""


class JudgeTest(unittest.TestCase):
    def test_passed_skipped_and_failed_are_told_apart(self):
        self.assertEqual(conformance.judge(0, PASSED), ("pass", ""))
        skipped = PASSED.replace("...passed", "...    [SKIPPED] NOT implemented.\npassed")
        self.assertEqual(conformance.judge(0, skipped), ("skip", "NOT implemented."))
        failed = PASSED.replace("...passed", "...    [FAILED] wrong sense\nFAILED").replace(
            "1      1      1      0 ", "1      1      0      1 ")
        self.assertEqual(conformance.judge(1, failed), ("fail", "wrong sense"))

    def test_a_test_that_failed_and_skipped_has_failed(self):
        output = PASSED.replace("...passed", "...[SKIPPED] part\n[FAILED] rest")
        self.assertEqual(conformance.judge(1, output), ("fail", "rest"))

    def test_a_test_that_did_not_run_has_failed(self):
        result, reason = conformance.judge(255, "Failed to connect to SCSI device 0\n")
        self.assertEqual(result, "fail")
        self.assertIn("did not run (exit 255): Failed to connect", reason)


class ExpectationsTest(TestCase):
    def setUp(self):
        super().setUp()
        self.path = self.folder / "expected.txt"

    def result(self, name, result, reason=""):
        return conformance.Result(name, result, 0.0, reason)

    def test_section_is_replaced_and_known_reasons_stay(self):
        self.path.write_text("# head\n[rdwr thin]\nA.B fail  # known\n[lunar thin]\nC.D skip\n")
        conformance.write_expectations(self.path, "rdwr thin", [
            self.result("A.B", "fail", "new words"), self.result("E.F", "hang", "slow"),
            self.result("G.H", "pass")])
        self.assertEqual(conformance.read_expectations(self.path, "rdwr thin"),
                         {"A.B": ("fail", "known"), "E.F": ("hang", "slow")})
        self.assertEqual(conformance.read_expectations(self.path, "lunar thin"),
                         {"C.D": ("skip", "")})
        self.assertTrue(self.path.read_text().startswith("# head\n"))

    def test_better_and_worse_than_expected_are_both_differences(self):
        expected = {"A.B": ("fail", "known"), "C.D": ("skip", "")}
        results = [self.result("A.B", "pass"), self.result("C.D", "skip"),
                   self.result("E.F", "fail", "why")]
        self.assertEqual(conformance.differences(results, expected),
                         ["A.B: pass, expected fail (known)", "E.F: fail (why), expected pass"])

    def test_damaged_line_is_refused_with_its_number(self):
        self.path.write_text("[rdwr thin]\nA.B perhaps\n")
        with self.assertRaisesRegex(HarnessError, "expected.txt:2"):
            conformance.read_expectations(self.path, "rdwr thin")

    def test_unknown_suite_is_refused(self):
        with self.assertRaisesRegex(HarnessError, "no test or suite 'Nonsense'"):
            conformance.select(conformance.list_tests(), "Unmap,Nonsense")


class StockTgtdTest(TestCase):
    def test_some_suites_do_as_expected_on_bs_rdwr(self):
        arguments = ["--bstype", "rdwr", "--only", "Inquiry,Read16,Write16,Unmap,CompareAndWrite"]
        self.assertEqual(conformance.main(arguments), 0)

    def test_hang_is_noticed_and_the_next_test_runs(self):
        with conformance.Stand(self.folder, "rdwr") as stand:
            stand.tgtd.process.send(signal.SIGSTOP)
            hung = conformance.run_one(stand, "Read10.Simple", timeout=1)
            after = conformance.run_one(stand, "Read10.Simple", timeout=60)
        self.assertEqual((hung.result, after.result), ("hang", "pass"))

    def test_crash_is_noticed_and_the_next_test_runs(self):
        with conformance.Stand(self.folder, "rdwr") as stand:
            stand.tgtd.process.send(signal.SIGABRT)
            stand.tgtd.process.wait(30)
            crashed = conformance.run_one(stand, "Read10.Simple", timeout=60)
            after = conformance.run_one(stand, "Read10.Simple", timeout=60)
        self.assertEqual((crashed.result, after.result), ("crash", "pass"))
        self.assertIn("-6", crashed.reason)


if __name__ == "__main__":
    unittest.main(verbosity=2)
