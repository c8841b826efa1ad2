#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""A LUN whose servers are silent when it is made: nobody waits for it, and it is ready when they answer."""

import contextlib
import signal
import struct
import threading
import time
import unittest

from lunar_e2e import LunarTestCase, TgtadmError, wait_until
from lunar_e2e.raw_initiator import RawInitiator

NOT_READY, UNIT_ATTENTION = 2, 6
BECOMING_READY, INTERVENTION_REQUIRED = (NOT_READY, 0x0401), (NOT_READY, 0x0403)
INQUIRY, READ_10, READ_CAPACITY_10, READ_CAPACITY_16 = 0x12, 0x28, 0x25, 0x9e
OPEN_WAIT = 0.25  # seconds
LONGEST_STALL = 1.5  # seconds; the shortest that waits for a server is longer


class Reader:
    """Reads one block after the other, and notices the longest time that one took."""

    def __init__(self, initiator):
        self._initiator = initiator
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.longest, self.reads, self.failure = 0, 0, None

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._is_over.set()
        self._thread.join()

    def _run(self):
        try:
            while not self._is_over.is_set():
                began = time.monotonic()
                answer = self._initiator.run(struct.pack(">BBIBHB", READ_10, 0, 0, 0, 1, 0), read_bytes=512)
                if answer.sense and answer.sense[0] != UNIT_ATTENTION:
                    raise AssertionError(answer)
                self.longest = max(self.longest, time.monotonic() - began)
                self.reads += 1
        except Exception as error:  # pylint: disable=broad-except
            self.failure = error


class OpeningTest(LunarTestCase):
    def setUp(self):
        super().setUp()
        self.start_lunar(num_osds=1, store="mem", options={"lunar_lun_open_wait": f"{int(OPEN_WAIT * 1000)}ms",
                                                           "lunar_open_timeout": "500ms"})
        self.cluster.create_image("rbd/good", "64M")
        self.good = self.export("rbd/good")
        self.wait_until_ready(self.initiator_of(self.good), self.good)

    def initiator_of(self, lun, isid=0x1234):
        initiator = RawInitiator(lun.target, isid=isid)
        self.addCleanup(initiator.socket.close)
        self.assertIsNone(initiator.login())
        return initiator

    @contextlib.contextmanager
    def silent(self, cluster):
        cluster.osds[0].send(signal.SIGSTOP)
        try:
            yield
        finally:
            cluster.osds[0].send(signal.SIGCONT)

    def other_cluster(self):
        other = self.start_cluster("other", num_osds=1, store="mem",
                                   options={"lunar_lun_open_wait": f"{int(OPEN_WAIT * 1000)}ms",
                                            "lunar_open_timeout": "500ms"})
        other.create_image("rbd/late", "128M")
        return other

    @staticmethod
    def ready(initiator, lun):
        return initiator.run(bytes(6), lun=lun.number)

    def wait_until_ready(self, initiator, lun):
        """The unit attentions on the way there."""
        told = []

        def is_ready():
            answer = self.ready(initiator, lun)
            if answer.sense and answer.sense[0] == UNIT_ATTENTION:
                told.append(answer.sense[1])
            return answer.status == 0
        wait_until(is_ready, 60, f"LUN {lun.number} to be ready")
        return told

    @staticmethod
    def inquiry(initiator, lun, page=None):
        return initiator.run(struct.pack(">BBBHB", INQUIRY, page is not None, page or 0, 255, 0), read_bytes=255,
                             lun=lun.number)

    def holders(self, cluster, image):
        return cluster.lunar_json("lock", "ls", image)

    def test_a_lun_of_a_silent_cluster_is_not_ready_until_that_answers(self):
        other = self.other_cluster()
        reading, initiator = self.initiator_of(self.good, 1), self.initiator_of(self.good, 2)
        self.wait_until_ready(reading, self.good)
        with self.silent(other):
            with Reader(reading) as reader:
                lun = self.export("rbd/late", bsopts=f"conf={other.conf}")
            self.assertIsNone(reader.failure)
            print(f"the longest of {reader.reads} reads meanwhile took {reader.longest:.3f} s")
            self.assertLess(reader.longest, LONGEST_STALL)
            self.wait_until_ready(initiator, self.good)
            while self.ready(initiator, lun).sense[0] == UNIT_ATTENTION:
                pass
            for cdb in (bytes(6), struct.pack(">BBIBHB", READ_10, 0, 0, 0, 1, 0),
                        struct.pack(">B9x", READ_CAPACITY_10), struct.pack(">BB8xIH", READ_CAPACITY_16, 16, 32, 0)):
                self.assertEqual(initiator.run(cdb, read_bytes=512 if any(cdb) else 0, lun=lun.number).sense,
                                 BECOMING_READY, cdb)
            self.assertEqual(self.inquiry(initiator, lun).data[0], 0x3f)  # nothing that a host makes a disk of
            for page in (0x80, 0x83):
                self.assertEqual(self.inquiry(initiator, lun, page).sense, BECOMING_READY)
            last = self.tgtd.log()
            self.assertIn("LUN rbd/late is NOT READY until it is open", last)
        told = self.wait_until_ready(initiator, lun)
        self.assertEqual(told, [0x3f03, 0x2a09])  # INQUIRY data, capacity data have changed
        self.assertEqual(self.ready(initiator, self.good).sense, (UNIT_ATTENTION, 0x3f0e))  # of the target's LUNs
        self.assertEqual(self.inquiry(initiator, lun).data[0], 0)
        uuid = other.lunar_json("info", "rbd/late")["uuid"].replace("-", "")
        self.assertEqual(self.inquiry(initiator, lun, 0x80).data[4:].decode().strip(), uuid)
        self.assertEqual(initiator.run(struct.pack(">B9x", READ_CAPACITY_10), read_bytes=8, lun=lun.number).data,
                         struct.pack(">II", (128 << 20) // 512 - 1, 512))
        self.verify([lun.url], bytes="1M", max_op="64K", seed=31)

    def test_one_silent_cluster_is_waited_for_once(self):
        for number in range(8):
            self.cluster.create_image(f"rbd/late{number}", "64M")
        initiator = self.initiator_of(self.good)
        with self.silent(self.cluster):
            first = self.export("rbd/late0")
            began = time.monotonic()
            luns = [first, *[self.export(f"rbd/late{number}") for number in range(1, 8)]]
            self.assertLess(time.monotonic() - began, 7 * OPEN_WAIT)
        for lun in luns:
            self.wait_until_ready(initiator, lun)

    def test_a_lun_that_was_removed_before_it_was_open_holds_nothing(self):
        self.cluster.create_image("rbd/late", "64M")
        with self.silent(self.cluster):
            lun = self.export("rbd/late")
            lun.delete()
        wait_until(lambda: not self.holders(self.cluster, "rbd/late"), 30, "the lock to be given up")
        again = self.export("rbd/late")
        self.wait_until_ready(self.initiator_of(self.good), again)

    def test_what_is_wrong_is_told_at_once_or_when_it_is_known(self):
        with self.assertRaises(TgtadmError) as caught:
            self.export("rbd/none")
        self.assertIn("'none'", caught.exception.log)
        with self.silent(self.cluster):
            lun = self.export("rbd/none")
        initiator = self.initiator_of(self.good)
        wait_until(lambda: self.ready(initiator, lun).sense == INTERVENTION_REQUIRED, 60, "the LUN to be given up")
        newest = self.cluster.gateway_command("last-error")[0]["error"]
        self.assertRegex(newest, "LUN rbd/none: .*'none'.*make the LUN anew")
        lun.delete()
        self.cluster.create_image("rbd/none", "64M")
        self.wait_until_ready(initiator, self.export("rbd/none"))

    def test_another_image_that_is_late_is_shown_when_it_is_open(self):
        self.cluster.create_image("rbd/late", "128M")
        initiator = self.initiator_of(self.good)
        self.wait_until_ready(initiator, self.good)
        self.good.update(online=0)
        with self.silent(self.cluster):
            self.good.update(path="rbd/late")
            self.assertEqual(self.ready(initiator, self.good).sense, BECOMING_READY)
        self.assertEqual(self.wait_until_ready(initiator, self.good), [0x3f03, 0x2a09])
        self.assertEqual(initiator.run(struct.pack(">B9x", READ_CAPACITY_10), read_bytes=8).data[:4],
                         struct.pack(">I", (128 << 20) // 512 - 1))


if __name__ == "__main__":
    unittest.main(verbosity=2)
