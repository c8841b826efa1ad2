#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Secure links: with ms_*_mode = secure nothing of what is written can be read on the wire, and there are no others.

What travels on loopback is captured with a packet socket, which needs root."""

import os
import socket
import struct
import threading
import unittest

from lunar_e2e import LunarTestCase, admin_command

MARK = b"lunar-payload-that-nobody-else-may-read "
ETH_P_ALL = 3
SECURE = {f"ms_{who}_mode": "secure" for who in ("cluster", "service", "client")}


class Capture:
    """The TCP payload that travels on loopback from and to `ports`, while it is entered."""

    def __init__(self, ports):
        self.ports = set(ports)
        self.payload = bytearray()

    def __enter__(self):
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self.socket.setsockopt(socket.SOL_SOCKET, 33, 64 << 20)  # SO_RCVBUFFORCE
        self.socket.bind(("lo", 0))
        self.last = None
        self.thread = threading.Thread(target=self._run)
        self.thread.start()
        return self

    def __exit__(self, *_):
        # What came before this datagram has been seen when it is: others may never be silent. It may be dropped.
        self.last = os.urandom(16)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            while self.thread.is_alive():
                sender.sendto(self.last, ("127.0.0.1", 9))
                self.thread.join(0.2)
        self.socket.close()

    def _run(self):
        while True:
            packet, address = self.socket.recvfrom(1 << 17)
            if self.last and self.last in packet:
                return
            ip = packet[14:]
            if address[2] == socket.PACKET_OUTGOING or ip[0] >> 4 != 4 or ip[9] != socket.IPPROTO_TCP:
                continue  # each is seen twice
            tcp = ip[(ip[0] & 15) * 4:]
            if self.ports & set(struct.unpack("!HH", tcp[:4])):
                self.payload += tcp[(tcp[12] >> 4) * 4:]


class SecureTest(LunarTestCase):
    def start(self, options):
        self.start_lunar(num_osds=2, store="mem", authenticate=True, options=options)

    def written_bytes(self):
        """What the wire shows of an image that is full of MARK."""
        data = self.folder / "data"
        data.write_bytes((MARK * (1 << 16))[:1 << 20])
        with Capture(self.cluster.ports.values()) as capture:
            self.cluster.lunar("import", data, "rbd/marked")
            self.cluster.lunar("export", "rbd/marked", self.folder / "copy")
        self.assertEqual((self.folder / "copy").read_bytes(), data.read_bytes())
        self.assertGreater(len(capture.payload), 2 << 20)
        return bytes(capture.payload)

    def links_secure(self, osd):
        return admin_command(self.cluster.admin_socket(osd), "perf dump")["msgr"]["links_secure"]

    def test_checksums_hide_nothing(self):
        self.start({})
        self.assertIn(MARK, self.written_bytes())
        self.assertEqual(self.links_secure(1), 0)

    def test_secure_links_hide_everything(self):
        self.start({**SECURE, "ms_secure_max_bytes": "4M"})
        payload = self.written_bytes()
        self.assertNotIn(MARK, payload)
        self.assertNotIn(b"marked", payload)  # nor names
        lun = self.new_lun(size="64M")
        self.verify(lun.url, bytes="64M", mix="full", seed=3)
        self.assertGreater(self.links_secure(0), 0)
        self.assertGreater(self.links_secure(1), 0)
        gateway = self.cluster.gateway_command("perf", "dump")["msgr"]
        self.assertGreater(gateway["links_renewed"], 1)
        self.assertEqual(gateway["resets"], 0)

        _, error = self.cluster.lunar_fails("--ms-client-mode", "crc", "--lunar-open-timeout", "1s", "ls",
                                            "rbd")
        self.assertIn("takes only secure links (ms_service_mode = secure)", error)
        self.assertIn("client.admin offers none", error)


if __name__ == "__main__":
    unittest.main()
