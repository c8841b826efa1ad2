#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Random commands of every kind and size over three servers; every block read is compared.

LUNAR_E2E_BYTES (such as 20G) is how much moves in all; LUNAR_E2E_SEED repeats a run.
"""

import os
import random
import re
import sys
import unittest

from lunar_e2e import LunarTestCase

_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def total_bytes():
    text = os.environ.get("LUNAR_E2E_BYTES", "2G")
    match = re.fullmatch(r"(\d+)([KMGT]?)", text)
    if not match:
        raise ValueError(f"LUNAR_E2E_BYTES is '{text}'; write a size such as 20G")
    return int(match.group(1)) * _UNITS[match.group(2)]


class VerifiedIoTest(LunarTestCase):
    def check(self, share, size, **layout):
        seed = int(os.environ.get("LUNAR_E2E_SEED") or random.SystemRandom().getrandbits(32))
        print(f"{self.id()}: LUNAR_E2E_SEED={seed}", file=sys.stderr)
        self.start_lunar()
        lun = self.new_lun(size=size, **layout)
        (report,) = self.verify(
            lun.url, bytes=int(total_bytes() * share), mix="full", max_op="8M", depth=16,
            boundary=layout["object_size"], seed=seed, timeout=3600, connections=2,
            require="unmap,write_same,compare_and_write,sync")
        self.assertEqual(report["verdict"], "clean")
        self.assertEqual((report["failed_ops"], report["retries"]), (0, {}))
        for kind, count in report["ops"].items():
            self.assertGreater(count, 0, kind)
        moved = report["bytes_read"] + report["bytes_written"]
        print(f"{self.id()}: {moved >> 20} MiB in {report['seconds']:.1f} s", file=sys.stderr)
        for folder in map(self.cluster.store_folder, range(3)):  # every server took its part
            self.assertTrue(any(path.is_file() for path in folder.glob("pool.*/*/*/o.*")), folder)

    def test_image_of_one_mebibyte_objects(self):
        self.check(0.6, "512M", object_size="1M")

    def test_striped_image(self):
        self.check(0.4, "512M", object_size="4M", stripe_unit="64K", stripe_count=5)

    def test_everything_over_ipv6(self):
        self.start_lunar(host="[::1]")
        lun = self.new_lun(size="64M", object_size="1M")
        (report,) = self.verify(lun.url, bytes="64M", mix="full", max_op="2M", seed=46)
        self.assertEqual((report["verdict"], report["failed_ops"]), ("clean", 0))
        sessions = self.cluster.gateway_command("sessions")["sessions"]
        self.assertEqual({each["address"].rpartition(":")[0] for each in sessions}, {"[::1]"})


if __name__ == "__main__":
    unittest.main(verbosity=2)
