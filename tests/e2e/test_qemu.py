#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""QEMU as an initiator: its block driver, which asks for every limit of a LUN, by qemu-io and qemu-img."""

import json
import subprocess
import unittest

from lunar_e2e import LunarTestCase
from lunar_e2e.env import program

KIB, MIB = 1 << 10, 1 << 20
SIZE = 64 * MIB


class QemuTest(LunarTestCase):
    def setUp(self):
        super().setUp()
        self.start_lunar(num_osds=1)

    def run_tool(self, *words):
        words = [program(words[0]), *map(str, words[1:])]
        result = subprocess.run(words, text=True, capture_output=True, timeout=120, check=False)
        self.assertEqual(result.returncode, 0, result.stdout + result.stderr)
        self.assertNotRegex(result.stdout, "Pattern verification failed|error|failed")
        return result.stdout

    def qemu_io(self, lun, *commands):
        words = [word for command in commands for word in ("-c", command)]
        return self.run_tool("qemu-io", "-f", "raw", "-t", "none", "-d", "unmap", *words, lun.url)

    def mapped(self, lun):
        """The bytes that QEMU takes for data, by GET LBA STATUS."""
        extents = json.loads(self.run_tool("qemu-img", "map", "--output", "json", "-f", "raw", lun.url))
        self.assertEqual(sum(extent["length"] for extent in extents), SIZE)
        return sum(extent["length"] for extent in extents if extent["data"])

    def test_every_block_size(self):
        for block in (512, 1024, 2048, 4096):
            with self.subTest(block=block):
                image = f"rbd/disk{block}"
                self.cluster.create_image(image, SIZE, object_size="1M")
                lun = self.export(image, blocksize=block)
                self.assertEqual(self.mapped(lun), 0)
                self.qemu_io(lun, f"write -P 0xa5 1M {3 * MIB}",
                             f"read -P 0xa5 1M {3 * MIB}",
                             f"read -P 0xa5 {MIB + block} {31 * KIB // block * block}",  # QEMU 7.2 had failed here
                             f"read -P 0 0 {64 * KIB}",
                             "write -z -u 1M 1M", "read -P 0 1M 1M",
                             "discard 2M 1M", "read -P 0 2M 1M", "read -P 0xa5 3M 1M",
                             f"write -P 0x77 {3 * MIB + 512} 512",  # less than a block: QEMU reads and writes it back
                             f"read -P 0x77 {3 * MIB + 512} 512", f"read -P 0xa5 {3 * MIB + 1024} 512",
                             "flush")
                self.assertEqual(self.mapped(lun), MIB)
                self.qemu_io(lun, "write -P 0x3c 8M 32M", "read -P 0x3c 8M 32M")  # longer than one object and window

    def test_an_image_that_was_copied_is_the_same(self):
        self.cluster.create_image("rbd/disk", SIZE)
        lun = self.export("rbd/disk")
        source = self.sparse_file("source.raw", SIZE)
        with open(source, "r+b") as file:
            for offset in (0, 5 * MIB + 3 * KIB, SIZE - 4 * KIB):
                file.seek(offset)
                file.write(bytes([offset % 251 + 1]) * (4 * KIB))
        self.run_tool("qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", source, lun.url)
        self.run_tool("qemu-img", "compare", "-f", "raw", "-F", "raw", source, lun.url)


if __name__ == "__main__":
    unittest.main(verbosity=2)
