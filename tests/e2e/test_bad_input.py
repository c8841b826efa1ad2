#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Mistakes of users: each gets a sentence that names the thing, and tgtd goes on."""

import json
import os
import re
import shutil
import signal
import struct
import subprocess
import time
import unittest

from lunar_e2e import LunarTestCase, TestCase, TgtadmError, free_port, own_descriptors, wait_until
from lunar_e2e.env import built, child_environment


def crc32c(data):
    crc = 0xffffffff
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82f63b78 if crc & 1 else 0)
    return crc ^ 0xffffffff


class LunTest(LunarTestCase):
    """tgtadm fails; the sentence is in tgtd's log and in `lunar gateway last-error`."""

    def setUp(self):
        super().setUp()
        self.start_lunar(num_osds=1)
        self.good = self.new_lun("rbd/good", "64M")

    def assert_refused(self, image, sentence, bsopts=None, **options):
        with self.assertRaises(TgtadmError) as caught:
            self.export(image, bsopts=bsopts, **options)
        self.assertIn(sentence, caught.exception.log)
        newest = [socket["error"] for socket in self.cluster.gateway_command("last-error")][0]
        self.assertIn(sentence, newest)
        self.assertIn(sentence, self.cluster.lunar("gateway", "last-error"))
        self.assert_good(self.command(self.good.url, "write", lba=0, pattern="1"))

    def test_unknown_bsopts(self):
        self.assert_refused("rbd/good", "bsopts: 'nonsense' is not NAME=VALUE", "nonsense")
        self.assert_refused("rbd/good", "objecter_op_timeou", "objecter_op_timeou=5s;id=other")
        self.assert_refused("rbd/good", "objecter_op_timeout", "objecter_op_timeout=soon;id=other")
        self.assert_refused("rbd/good", "bsopts: id 'a b' is not valid", "id=a b")
        self.assert_refused("rbd/good", "/no/such.conf", "conf=/no/such.conf")

    def test_missing_image_or_pool(self):
        self.assert_refused("rbd/none", "'none'")
        self.assert_refused("nowhere/none", "no pool 'nowhere'; there are: rbd")
        self.assert_refused("good", "give POOL/IMAGE")
        code, sentence = self.cluster.lunar_fails("check", "rbd/none")
        self.assertEqual((code, "'none'" in sentence), (2, True), sentence)

    def test_block_size_that_is_too_large(self):
        self.assert_refused("rbd/good", "block size 8192", blocksize=8192)

    def test_unreachable_servers_are_told_and_hold_up_nobody(self):
        conf = self.folder / "unreachable.conf"
        text = self.cluster.conf.read_text()
        port = free_port()
        text = text.replace(f"127.0.0.1:{self.cluster.ports[0]}", f"127.0.0.1:{port}")
        conf.write_text(re.sub("lunar_lun_open_wait = .*", "lunar_lun_open_wait = 100ms",
                               re.sub("objecter_op_timeout = .*", "objecter_op_timeout = 2s", text)))
        started = time.monotonic()
        lun = self.export("rbd/good", bsopts=f"conf={conf}")
        self.assertLess(time.monotonic() - started, 3)
        self.assertIn(f"127.0.0.1:{port}", self.tgtd.log())
        self.assertIn(f"127.0.0.1:{port}", self.cluster.lunar("gateway", "last-error"))
        code, sentence = self.cluster.lunar_fails("check", "-c", conf)
        self.assertIn(f"127.0.0.1:{port}", sentence)
        self.assert_good(self.command(self.good.url, "read", lba=0))
        lun.delete()

    def test_image_header_of_another_version(self):
        self.cluster.create_image("rbd/new", "64M")
        (header,) = [path for path in self.cluster.store_folder(0).glob("pool.*/*/*/o.*")
                     if b'"name": "new"' in path.read_bytes() and b'"format"' in path.read_bytes()
                     and b'"uuid"' in path.read_bytes()]
        self.cluster.kill_osd(0)
        header.write_text(header.read_text().replace('"format": 2', '"format": 99'))
        self.cluster.start_osd(0)
        self.assert_refused("rbd/new", "has format 99, this build knows formats 1 to 5")
        _, sentence = self.cluster.lunar_fails("info", "rbd/new")
        self.assertIn("has format 99", sentence)


    def test_image_header_that_is_nested_without_end(self):
        self.cluster.create_image("rbd/new", "64M")
        (header,) = [path for path in self.cluster.store_folder(0).glob("pool.*/*/*/o.*")
                     if b'"name": "new"' in path.read_bytes() and b'"uuid"' in path.read_bytes()]
        self.cluster.kill_osd(0)
        deep = "[" * 400000 + "]" * 400000
        header.write_text(header.read_text().replace('"features": []', f'"features": [{deep}]'))
        self.cluster.start_osd(0)
        self.assert_refused("rbd/new", "is nested more than 8 deep")
        _, sentence = self.cluster.lunar_fails("info", "rbd/new")
        self.assertIn("is nested more than 8 deep", sentence)
        self.assertLess(len(sentence), 500)

    def test_conf_that_is_a_pipe(self):
        pipe = self.folder / "pipe.conf"
        os.mkfifo(pipe)
        started = time.monotonic()
        self.assert_refused("rbd/good", "is not a regular file", f"conf={pipe}")
        self.assertLess(time.monotonic() - started, 5)

    def test_keyring_that_is_a_pipe(self):
        pipe = self.folder / "pipe.keyring"
        os.mkfifo(pipe, mode=0o600)
        started = time.monotonic()
        self.assert_refused("rbd/good", f"keyring {pipe}: is not a regular file",
                            f"auth_client_required=psk;keyring={pipe};id=other")
        self.assertLess(time.monotonic() - started, 5)

    def test_log_file_that_is_a_pipe(self):
        pipe, conf = self.folder / "pipe.log", self.folder / "logs.conf"
        os.mkfifo(pipe)
        conf.write_text(self.cluster.conf.read_text() + f"[client]\nlog_file = {pipe}\n")
        self.cluster.create_image("rbd/logs", "64M")
        started = time.monotonic()
        lun = self.export("rbd/logs", bsopts=f"conf={conf}")
        self.assertLess(time.monotonic() - started, 15)
        self.assertIn(f"log_file {pipe} cannot be opened in time", self.tgtd.log())
        for url in (self.good.url, lun.url):
            self.assert_good(self.command(url, "write", lba=0, pattern="1"))

    def test_luns_that_fail_leave_no_descriptor_behind(self):
        def descriptors():
            return own_descriptors(self.tgtd.process.pid, self.folder)
        bsopts = "auth_client_required=psk;keyring=/no/such.keyring;id=other"
        self.assert_refused("rbd/good", "/no/such.keyring", bsopts)
        before = descriptors()
        for _ in range(5):
            self.assert_refused("rbd/good", "/no/such.keyring", bsopts)
        self.assertEqual(descriptors(), before)


class KeyringTest(LunarTestCase):
    """Its file is read once for a LUN, while tgtadm waits, and looked at off tgtd's thread from then on."""

    def test_keyring_that_becomes_a_pipe_before_the_servers_answer(self):
        self.start_lunar(num_osds=1, authenticate=True)
        good = self.new_lun("rbd/good", "64M")
        self.cluster.create_image("rbd/late", "64M")
        keyring, conf = self.folder / "late.keyring", self.folder / "late.conf"
        shutil.copy(self.cluster.keyring, keyring)
        text = re.sub("keyring = .*", f"keyring = {keyring}\nkeyring_check_interval = 1s",
                      self.cluster.conf.read_text())
        conf.write_text(re.sub("lunar_lun_open_wait = .*", "lunar_lun_open_wait = 100ms", text))
        self.cluster.osds[0].send(signal.SIGSTOP)
        try:
            lun = self.export("rbd/late", bsopts=f"conf={conf}")
            keyring.unlink()
            os.mkfifo(keyring, mode=0o600)
            sentence = f"keyring {keyring}: is not a regular file; the keys that were read before go on"
            wait_until(lambda: sentence in self.tgtd.log(), 30, "the pipe to be told")
        finally:
            self.cluster.osds[0].send(signal.SIGCONT)
        for url in (good.url, lun.url):
            wait_until(lambda: self.command(url, "write", lba=0, pattern="1")["status"] == "GOOD", 60, url)


class ServerTest(TestCase):
    """lunar-osd says why it does not start, and ends with an error."""

    def setUp(self):
        super().setUp()
        self.cluster = self.start_cluster(num_osds=1)

    def assert_does_not_start(self, *words, osd=0, sentence):
        command = [str(word) for word in (built("lunar-osd"), "-i", osd, "-c", self.cluster.conf,
                                          "-f", "--admin-socket", "", *words)]
        result = subprocess.run(command, text=True, capture_output=True, timeout=60, check=False,
                                env=child_environment(self.cluster.environment()))
        self.assertGreater(result.returncode, 0, result.stderr)
        self.assertIn(sentence, result.stderr)

    def spare_port(self):
        return "--public-addr", f"127.0.0.1:{free_port()}"

    def test_port_in_use(self):
        other = self.folder / "other"
        self.cluster.store_folder(0)
        subprocess.run([str(built("lunar-osd")), "--mkfs", "--fsid", self.cluster.fsid, "-i", "1",
                        "-c", str(self.cluster.conf), "--osd-data", str(other)], check=True,
                       capture_output=True, timeout=60,
                       env=child_environment(self.cluster.environment()))
        address = f"127.0.0.1:{self.cluster.ports[0]}"
        self.assert_does_not_start("--osd-data", other, "--public-addr", address, osd=1,
                                   sentence=address)

    def test_store_that_another_server_owns(self):
        pid = self.cluster.osds[0].pid
        self.assert_does_not_start(*self.spare_port(), sentence=f"is in use by process {pid}")

    def test_empty_foreign_and_absent_stores(self):
        self.cluster.osds[0].stop()
        empty = self.folder / "empty"
        empty.mkdir()
        self.assert_does_not_start("--osd-data", empty, sentence="make one with lunar-osd --mkfs")
        self.assert_does_not_start("--osd-data", self.folder / "absent", sentence="absent")
        self.assert_does_not_start("--osd-data", self.cluster.store_folder(0), osd=1,
                                   sentence="the store belongs to osd.0, and this is osd.1")
        other = "11111111-2222-3333-4444-555555555555"
        self.assert_does_not_start("--fsid", other,
                                   sentence=f"the store belongs to cluster {self.cluster.fsid}")
        self.cluster.start_osd(0)

    def test_mkfs_destroys_nothing(self):
        self.assert_does_not_start("--mkfs", "--fsid", self.cluster.fsid, sentence="is not empty")
        self.assertEqual(self.cluster.lunar("pool", "ls").split(), ["rbd"])

    def test_store_of_another_version(self):
        self.cluster.osds[0].stop()
        identity = self.cluster.store_folder(0) / "identity.json"
        text = identity.read_text()
        changed = json.loads(text)
        changed["format"] = 99
        identity.write_text(json.dumps(changed))
        self.assert_does_not_start(sentence="this lunar-osd knows format 1")
        identity.write_text(text)
        self.cluster.start_osd(0)

    def test_map_of_another_version_and_damaged_map(self):
        self.cluster.osds[0].stop()
        record = self.cluster.store_folder(0) / "meta" / "r.osdmap"
        good = record.read_bytes()
        body = good[:4] + struct.pack("<H", 99) + good[6:-4]
        record.write_bytes(body + struct.pack("<I", crc32c(body)))
        self.assert_does_not_start(sentence="format version 99, this program knows version 6")
        record.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
        self.assert_does_not_start(sentence="checksum does not match")
        record.write_bytes(good)
        self.cluster.start_osd(0)
        self.assertEqual(self.cluster.lunar("pool", "ls").split(), ["rbd"])

    def test_unknown_option(self):
        self.assert_does_not_start("--nonsense", sentence="--nonsense")
        self.assert_does_not_start("--osd-objectstore", "tape", sentence="tape")


class ToolTest(TestCase):
    def setUp(self):
        super().setUp()
        self.cluster = self.start_cluster(num_osds=1)

    def test_unknown_option_of_a_subcommand(self):
        code, sentence = self.cluster.lunar_fails("create", "rbd/a", "--size", "1G", "--stripes", "4")
        self.assertEqual((code, "--stripes" in sentence), (os.EX_USAGE, True), sentence)
        code, sentence = self.cluster.lunar_fails("create", "rbd/a", "--sice", "1G")
        self.assertEqual((code, "did you mean '--size'?" in sentence), (os.EX_USAGE, True), sentence)
        code, sentence = self.cluster.lunar_fails("create", "rbd/a")
        self.assertEqual((code, "--size is required" in sentence), (os.EX_USAGE, True), sentence)
        code, sentence = self.cluster.lunar_fails("crate", "rbd/a")
        self.assertEqual((code, "crate" in sentence), (os.EX_USAGE, True), sentence)
        code, sentence = self.cluster.lunar_fails("create", "rbd/a", "--size", "many")
        self.assertEqual((code, "'many' is not a size" in sentence), (os.EX_USAGE, True), sentence)
        self.assertEqual(self.cluster.lunar("ls", "rbd"), "")

    def test_a_report_on_a_trace_overwrites_no_file(self):
        there = self.folder / "there"
        there.write_text("mine")
        for option in ("--html", "--chrome"):
            result = subprocess.run([str(built("lunar-trace")), "report", str(self.folder), option, str(there)],
                                    text=True, capture_output=True, timeout=60, check=False,
                                    env=child_environment())
            self.assertEqual(result.returncode, 1)
            self.assertIn("--overwrite", result.stderr)
            self.assertEqual(there.read_text(), "mine")

    def test_map_of_another_version_is_not_restored(self):
        saved = self.folder / "map.json"
        self.cluster.lunar("map", "backup", saved)
        changed = json.loads(saved.read_text())
        changed["format"] = 99
        saved.write_text(json.dumps(changed))
        _, sentence = self.cluster.lunar_fails("map", "restore", saved,
                                               "--yes-i-really-mean-it")
        self.assertIn("this cluster map has format 99", sentence)
        saved.write_text("nonsense")
        _, sentence = self.cluster.lunar_fails("map", "restore", saved)
        self.assertIn("is not JSON", sentence)

    def test_unknown_option_in_the_configuration_is_a_warning(self):
        with open(self.cluster.conf, "a", encoding="ascii") as conf:
            conf.write("[client]\nms_tipe = async+posix\n")
        output = self.cluster.lunar("check")
        self.assertIn("ms_tipe", output)
        self.assertIn("ms_type", output)  # the nearest name

    def test_wrong_value_in_the_configuration_names_the_line(self):
        broken = self.folder / "broken.conf"
        shutil.copy(self.cluster.conf, broken)
        with open(broken, "a", encoding="ascii") as conf:
            conf.write("[client]\nobjecter_op_timeout = soon\n")
        line = len(broken.read_text().splitlines())
        _, sentence = self.cluster.lunar_fails("status", "-c", broken)
        self.assertIn(f"broken.conf:{line}", sentence)
        self.assertIn("objecter_op_timeout", sentence)


if __name__ == "__main__":
    unittest.main(verbosity=2)
