#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The unit tests of the store of rados, which run on RADOS in memory, on a real Ceph."""

import os
import shutil
import subprocess
import unittest

from lunar_e2e import TestCase
from lunar_e2e.ceph import Ceph
from lunar_e2e.env import built


class RadosStoreTest(TestCase):
    def test_what_holds_in_memory_holds_on_ceph(self):
        ceph = Ceph(self.folder / "c")
        self.addCleanup(ceph.stop)
        ceph.start()
        # The module is looked for beside the program.
        for name in ("lunar_store_test", "lunar_rados.so"):
            shutil.copy(built(name), self.folder / name)
        result = subprocess.run([self.folder / "lunar_store_test", "--gtest_filter=*/Rados:RadosVectorTest.*"],
                                env={**os.environ, "LUNAR_TEST_CEPH_CONF": str(ceph.conf)}, text=True,
                                capture_output=True, timeout=500, check=False)
        self.assertEqual(result.returncode, 0, result.stdout[-8000:] + result.stderr[-4000:])
        self.assertIn("[  PASSED  ]", result.stdout)


if __name__ == "__main__":
    unittest.main()
