#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The main path in short, for a build with sanitizers: their runtime is loaded into tgtd too."""

import unittest

from lunar_e2e import LunarTestCase


class MainPathTest(LunarTestCase):
    def test_lun_under_load_while_a_server_dies(self):
        self.start_lunar()
        lun = self.new_lun(size="64M", object_size="1M")
        running = self.start_load("verify", lun.url, bytes="64M", mix="full", max_op="1M", seed=81,
                                  retry_seconds=120)
        self.wait_for_writes(running)
        self.cluster.restart_osd(1)
        (report,) = running.finish(timeout=600)
        self.assertEqual(report["verdict"], "clean")
        lun.delete()
        self.cluster.lunar("rm", "rbd/image")


if __name__ == "__main__":
    unittest.main(verbosity=2)
