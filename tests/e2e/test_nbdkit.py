#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The plugin of nbdkit, by libnbd."""

import errno
import os
import subprocess
import sys
import unittest

from lunar_e2e import TestCase, wait_until
from lunar_e2e.env import built, child_environment, preloaded, program
from lunar_e2e.process import Process

try:
    import nbd
except ImportError:  # Debian's package (python3-libnbd) is for Debian's Python
    if os.path.realpath(sys.executable) == os.path.realpath("/usr/bin/python3"):
        raise
    os.execv("/usr/bin/python3", ["/usr/bin/python3", *sys.argv])

MIB = 1 << 20


class NbdkitTest(TestCase):
    def setUp(self):
        super().setUp()
        self.cluster = self.start_cluster()
        self.cluster.lunar("create", "rbd/disk", "--size", "64M", "--object-size", "1M")
        self.socket = self.folder / "nbd"

    def words(self, *parameters):
        return [program("nbdkit"), "--foreground", "--exit-with-parent", "--unix", self.socket, *parameters]

    def plugin_words(self, *more):
        return [built("nbdkit-lunar-plugin.so"), "rbd/disk", f"conf={self.cluster.conf}", *more]

    def serve(self, *parameters):
        self.server = Process("nbdkit", self.words(*parameters), self.folder / "nbdkit.log",
                              {**self.cluster.environment(), **preloaded()})
        self.addCleanup(self.server.kill)
        def is_ready():
            self.assertTrue(self.server.is_running(), self.server.log())
            return self.socket.exists()
        wait_until(is_ready, 60, "nbdkit")

    def connect(self):
        client = nbd.NBD()
        client.connect_uri(f"nbd+unix:///?socket={self.socket}")
        return client

    def has_object(self, number):
        name = f"o.{self.cluster.lunar_json('info', 'rbd/disk')['id']}.{number:016x}"
        return any(list(self.cluster.store_folder(osd).glob(f"pool.*/**/{name}")) for osd in range(3))

    def test_reads_back_what_it_wrote_and_gives_up_what_is_trimmed(self):
        self.serve(*self.plugin_words())
        client = self.connect()
        self.assertEqual(client.get_size(), 64 * MIB)
        data = os.urandom(3 * MIB)
        client.pwrite(data, MIB)
        client.pwrite(b"odd", 7, nbd.CMD_FLAG_FUA)
        client.flush()
        self.assertEqual(client.pread(3 * MIB, MIB), data)
        self.assertEqual(client.pread(11, 0), bytes(7) + b"odd" + bytes(1))
        self.assertTrue(self.has_object(2))
        client.trim(MIB, 2 * MIB)
        client.zero(MIB, 3 * MIB)
        client.zero(4096, MIB, nbd.CMD_FLAG_NO_HOLE | nbd.CMD_FLAG_FUA)
        self.assertEqual(client.pread(3 * MIB, MIB), bytes(4096) + data[4096:MIB] + bytes(2 * MIB))
        self.assertFalse(self.has_object(2))
        client.shutdown()

    def test_connections_share_the_lock_and_the_last_one_gives_it_up(self):
        self.serve(*self.plugin_words("id=admin", "lunar_header_poll=1h"))
        one, other = self.connect(), self.connect()
        self.assertTrue(one.can_multi_conn())
        one.pwrite(b"shared", 0)
        one.flush()
        self.assertEqual(other.pread(6, 0), b"shared")
        one.shutdown()
        (holder,) = self.cluster.lunar_json("lock", "ls", "rbd/disk")
        self.assertEqual(holder["lock"], "exclusive")
        other.shutdown()
        wait_until(lambda: not self.cluster.lunar_json("lock", "ls", "rbd/disk"), 60, "the lock to be given up")

    def test_an_image_that_was_removed_is_not_served(self):
        self.serve(*self.plugin_words())
        self.connect().shutdown()
        wait_until(lambda: not self.cluster.lunar_json("lock", "ls", "rbd/disk"), 60, "the lock to be given up")
        self.cluster.lunar("rm", "rbd/disk")
        with self.assertRaises(nbd.Error):
            self.connect()
        self.assertIn("opening rbd/disk: no image 'disk' in pool 'rbd'", self.server.log())

    def test_a_write_that_is_refused_has_its_errno(self):
        self.serve(*self.plugin_words())
        client = self.connect()
        (who,) = self.cluster.lunar_json("lock", "ls", "rbd/disk")
        self.cluster.lunar("osd", "fence", who["entity"], who["instance"], who["nonce"])
        with self.assertRaises(nbd.Error) as raised:
            client.pwrite(b"late", 0)
        self.assertEqual(raised.exception.errnum, errno.ESHUTDOWN)
        self.assertIn("writing at byte 0 of rbd/disk", self.server.log())

    def test_what_it_cannot_use_is_said_before_it_serves(self):
        absent = self.folder / "absent"
        for words, said in ((("rbd/disk", f"conf={absent}"), str(absent)),
                            (("rbd/disk", "lunar_header_pol=1s"), "did you mean 'lunar_header_poll'"),
                            (("rbd/disk", "lock=mine"), "exclusive, shared and takeover"), ((), "POOL/IMAGE")):
            with self.subTest(said):
                result = subprocess.run(
                    [str(word) for word in self.words(built("nbdkit-lunar-plugin.so"), *words)], text=True,
                    env=child_environment({**self.cluster.environment(), **preloaded()}),
                    capture_output=True, timeout=60, check=False)
                self.assertNotEqual(result.returncode, 0)
                self.assertIn(said, result.stderr)


if __name__ == "__main__":
    unittest.main(verbosity=2)
