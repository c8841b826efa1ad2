#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The path of one 8 KiB write in the top README, as a recorded trace has it."""

import pathlib
import re
import sys
import unittest

from lunar_e2e import LunarTestCase

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(TESTS / "tracing"), str(TESTS / "dev")]
from private_lttng import PrivateRecording  # noqa: E402 (needs the path)
from readme_path_test import hops  # noqa: E402

WRITE_16 = "0x8A"


class WritePathTest(LunarTestCase):
    def record_one_write(self):
        """Names of the events that carry the io_id of an 8 KiB write, in order of time."""
        with PrivateRecording() as recording:
            environment = {key: value for key, value in recording.environment().items()
                           if key in ("LTTNG_HOME", "HOME", "LTTNG_UST_REGISTER_TIMEOUT")}
            self.start_lunar(extra_environment=environment)
            lun = self.new_lun(size="64M")
            self.assert_good(self.command(lun.url, "write", lba=2048, blocks=16, pattern=0x5A))
            self.tgtd.stop()
            self.cluster.stop()
            recording.stop()
            lines = recording.lines()
        starts = [line for line in lines if "lunar_scsi:cmd_start" in line
                  and f"opcode = {WRITE_16}" in line]
        self.assertEqual(len(starts), 1)
        io_id = re.search(r"io_id = (0x[0-9A-F]+)", starts[0]).group(1)
        return [re.search(r"(lunar_\w+:\w+): ", line).group(1) for line in lines
                if f"io_id = {io_id}," in line]

    def test_it_is_what_the_readme_says(self):
        recorded = iter(self.record_one_write())
        for file, function, provider, event in hops():
            if event:
                with self.subTest(file=file, function=function):
                    name = f"{provider}:{event}"
                    self.assertIn(name, recorded, "not there, or before the hop above it")


if __name__ == "__main__":
    unittest.main(verbosity=2)
