#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Keys: the right one opens a LUN, a wrong one does not, and no key is written anywhere else."""

import base64
import errno
import json
import os
import re
import unittest

from lunar_e2e import HarnessError, LunarTestCase, TgtadmError, admin_command, wait_until
from lunar_e2e.cluster import Cluster


class AuthTest(LunarTestCase):
    DEBUG = {f"debug_{part}": "20/20" for part in ("ms", "auth", "objecter", "gateway", "tgt", "osd",
                                                    "store", "map", "lunar", "tools")}

    def secrets(self):
        """Every key of the cluster, as text and as bytes."""
        texts = re.findall(r"key(?:_previous)?\s*=\s*(\S+)", self.cluster.keyring.read_text())
        is_rotating = "key_previous" in self.cluster.keyring.read_text()
        self.assertEqual(len(texts), 1 + self.cluster.num_osds + is_rotating)
        return [form for text in texts
                for form in (text.encode(), text.rstrip("=").encode(), base64.b64decode(text),
                             base64.b64decode(text).hex().encode())]

    def assert_no_secret_in(self, data, where):
        for secret in self.secrets():
            self.assertNotIn(secret, data, where)

    def test_good_key_works_and_is_written_nowhere(self):
        self.start_lunar(num_osds=2, authenticate=True, options=self.DEBUG)
        lun = self.new_lun(size="64M")
        self.verify(lun.url, bytes="8M", mix="full", seed=61)
        self.cluster.restart_osd(1)
        self.verify(lun.url, bytes="8M", seed=62, retry_seconds=60, initially_anything=True)

        sockets = [*self.cluster.gateway_sockets(),
                   *(self.cluster.admin_socket(osd) for osd in range(2))]
        for socket in sockets:
            for command in ("config show", "sessions", "log dump", "perf dump"):
                answer = json.dumps(admin_command(socket, command))
                self.assert_no_secret_in(answer.encode(), f"{command} of {socket.name}")
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        self.assertGreater(len(files), 10)
        for path in files:
            if path != self.cluster.keyring:
                self.assert_no_secret_in(path.read_bytes(), path)

    def test_no_key_in_core_dumps(self):
        self.start_lunar(num_osds=1, authenticate=True, options={"keyring_check_interval": "200ms"})
        lun = self.new_lun(size="64M")
        self.assert_good(self.command(lun.url, "read", lba=0))
        self.cluster.lunar("keyring", "rotate", self.cluster.keyring, "client.admin")
        for process in (self.tgtd.process, self.cluster.osds[0]):
            wait_until(lambda process=process: "was read anew" in process.log(), 30, "the new key")
        for process in (self.tgtd.process, self.cluster.osds[0]):
            with self.subTest(process=process.name):
                core = self.folder / "core"
                self.write_core(process.pid, core)
                self.assertGreater(core.stat().st_size, 1 << 20)
                self.assert_no_secret_in(core.read_bytes(), "core dump")

    def write_core(self, pid, path):
        """The memory that a core dump would have: every mapping that is not excluded from dumps."""
        with open(f"/proc/{pid}/smaps", encoding="ascii") as smaps:
            text = smaps.read()
        regions = re.findall(r"^([0-9a-f]+)-([0-9a-f]+) rw.*?^VmFlags:([^\n]*)", text,
                             re.MULTILINE | re.DOTALL)
        self.assertTrue(any(" dd" in flags for _, _, flags in regions), "nothing is left out")
        with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory, open(path, "wb") as core:
            for begin, end, flags in regions:
                if " dd" in flags:
                    continue
                memory.seek(int(begin, 16))
                core.write(memory.read(int(end, 16) - int(begin, 16)))

    def test_wrong_key_is_refused_with_a_sentence(self):
        self.start_lunar(num_osds=1, authenticate=True)
        good = self.new_lun(size="64M")
        wrong = self.folder / "wrong.keyring"
        self.cluster.lunar("keyring", "add", wrong, "client.admin")
        self.cluster.lunar("keyring", "add", wrong, "client.other")
        for entity in ("admin", "other"):
            with self.subTest(entity=entity):
                conf = self.folder / f"{entity}.conf"
                text = self.cluster.conf.read_text().replace(str(self.cluster.keyring), str(wrong))
                conf.write_text(re.sub("timeout = .*", "timeout = 5s", text))
                with self.assertRaises(TgtadmError) as caught:
                    self.export("rbd/image", bsopts=f"conf={conf};id={entity}")
                self.assertRegex(caught.exception.log, "key")
                errors = json.dumps(self.last_errors())
                self.assertRegex(errors, f"client.{entity}")
                code, sentence = self.cluster.lunar_fails(
                    "check", "rbd/image", "-c", conf, "--id", entity)
                self.assertGreater(code, 0)
                self.assertRegex(sentence, "key")
        self.assert_good(self.command(good.url, "read", lba=0))

    def last_errors(self):
        return [admin_command(socket, "last-error") for socket in self.cluster.gateway_sockets()]

    def gateway_of(self, entity, name):
        """Exports an image as this entity."""
        return self.export(name, bsopts=f"conf={self.cluster.conf};id={entity}")

    def test_capabilities_open_what_they_name_and_nothing_else(self):
        self.start_lunar(num_osds=2, authenticate=True)
        lunar = self.cluster.lunar
        for entity in ("client.gw", "client.none"):
            lunar("keyring", "add", self.cluster.keyring, entity)
        for osd in range(2):
            self.cluster.restart_osd(osd)  # with these keys
        for name in ("rbd/mine", "rbd/other"):
            self.cluster.create_image(name, "64M")

        with self.assertRaises(TgtadmError):
            self.gateway_of("none", "rbd/mine")
        self.assertRegex(json.dumps(self.last_errors()), "no pool 'rbd'.*client.none may see")
        answer = lunar("auth", "caps", "client.gw", "profile gateway pool=rbd image=mine")
        self.assertRegex(answer, "allow rw pool=rbd image=mine image_id=[0-9a-f]{16}")

        mine = self.gateway_of("gw", "rbd/mine")
        self.verify(mine.url, bytes="4M", seed=5)
        with self.assertRaises(TgtadmError):
            self.gateway_of("gw", "rbd/other")
        self.assertRegex(json.dumps(self.last_errors()), "not permitted for this entity")
        as_gateway = ("-c", self.cluster.conf, "--id", "gw")
        for words in (("ls", "rbd"), ("info", "rbd/other"), ("rm", "rbd/other"), ("rm", "rbd/mine"),
                      ("mv", "rbd/other", "new"), ("mv", "rbd/mine", "new"),
                      ("create", "rbd/new", "--size", "64M"), ("status",), ("osd", "tree"),
                      ("map", "dump"), ("auth", "ls"), ("auth", "caps", "client.gw", "allow *"),
                      ("export", "rbd/other", self.folder / "stolen")):
            with self.subTest(command=words):
                code, sentence = self.cluster.lunar_fails(*words, *as_gateway)
                self.assertEqual(code, errno.EPERM, sentence)
                self.assertIn("ermitted", sentence)
        self.assertFalse((self.folder / "stolen").exists())
        self.verify(mine.url, bytes="4M", seed=6, initially_anything=True)

        # A change counts at once, for the LUN that is open.
        lunar("auth", "caps", "client.gw", "profile rbd-read-only pool=rbd image=mine")
        data_protect = (0x7, 0x27)
        self.assert_sense(self.command(mine.url, "write", lba=0, pattern="7"), *data_protect)
        self.assert_good(self.command(mine.url, "read", lba=0))
        lunar("auth", "rm", "client.gw")
        self.assertNotIn("client.gw", lunar("auth", "ls"))
        self.assertEqual(self.command(mine.url, "read", lba=0)["status"], "CHECK CONDITION")
        lunar("auth", "caps", "client.gw", "profile gateway pool=rbd image=mine")
        self.assert_good(self.command(mine.url, "write", lba=0, pattern="7"))

    def test_keyring_that_others_may_read_is_refused(self):
        cluster = self.start_cluster(num_osds=1, authenticate=True)
        os.chmod(cluster.keyring, 0o644)
        _, sentence = cluster.lunar_fails("status")
        self.assertIn(str(cluster.keyring), sentence)
        self.assertIn("600", sentence)
        os.chmod(cluster.keyring, 0o600)

    def test_key_in_bsopts_is_refused(self):
        self.start_lunar(num_osds=1)
        self.cluster.create_image("rbd/image", "64M")
        with self.assertRaises(TgtadmError) as caught:
            self.export("rbd/image", bsopts="key=c2VjcmV0")
        self.assertIn("'key' is refused, tgtd logs bsopts", caught.exception.log)

    def test_server_without_authentication_binds_to_loopback_only(self):
        class Open(Cluster):
            def write_conf(self):
                super().write_conf()
                text = self.conf.read_text().replace("public_addr = 127.0.0.1", "public_addr = 0.0.0.0")
                self.conf.write_text(text)
        cluster = Open(self.folder / "open", num_osds=1)
        self.addCleanup(cluster.stop)
        with self.assertRaises(HarnessError) as caught:
            cluster.start()
        cluster.osds.clear()
        self.assertIn("refusing to listen on 0.0.0.0", str(caught.exception))


if __name__ == "__main__":
    unittest.main(verbosity=2)
