#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""LUNs by the ways that tgt's users have: Debian's tgt-admin and targets.conf, Pacemaker's agent, and lunar-luns."""

import pathlib
import subprocess
import unittest

from lunar_e2e import LunarTestCase, TestCase
from lunar_e2e.env import child_environment, find_built, program

ROOT = pathlib.Path(__file__).resolve().parents[2]
IQN = "iqn.2024-05.io.lunar.test:admin"
AGENT = pathlib.Path("/usr/lib/ocf/resource.d/heartbeat/iSCSILogicalUnit")
CONTROL_PORT = "1"  # of the private tgtd


class TgtWaysTest(LunarTestCase):
    def setUp(self):
        super().setUp()
        self.start_lunar()
        self.target.delete()  # tgt-admin removes what its file does not have
        self.cluster.create_image("rbd/disk1", "64M")

    def environment(self):
        """As of a shell beside this tgtd: `tgtadm` is that of Debian, for the private tgtd."""
        folder = self.folder / "bin"
        folder.mkdir(exist_ok=True)
        wrapper = folder / "tgtadm"
        wrapper.write_text(f'#!/bin/sh\nexec {program("tgtadm")} -C {CONTROL_PORT} "$@"\n')
        wrapper.chmod(0o755)
        return child_environment({"TGT_IPC_SOCKET": str(self.tgtd.folder / "ipc"),
                                  "PATH": f"{folder}:/usr/sbin:/usr/bin:/sbin:/bin",
                                  **self.cluster.environment()})

    def run_words(self, *words, status=0, **more):
        result = subprocess.run([str(word) for word in words], text=True, capture_output=True, timeout=60,
                                check=False, env={**self.environment(), **more})
        said = result.stdout + result.stderr
        self.assertEqual(result.returncode, status, said + self.tgtd.log()[-2000:])
        return said

    def tgt_admin(self, *words, **more):
        return self.run_words(program("tgt-admin"), "-C", CONTROL_PORT, *words, **more)

    def write_conf(self, text):
        path = self.folder / "targets.conf"
        path.write_text(text)
        return path

    def descriptor(self, image="rbd/disk1"):
        path = self.folder / image.replace("/", "-")
        path.write_text(f"lunar:{image}\n")
        return path

    def url(self, number=1, user=""):
        return f"iscsi://{user}{self.tgtd.host}:{self.tgtd.port}/{IQN}/{number}"

    def shown(self):
        return self.tgtd.tgtadm("--lld", "iscsi", "--mode", "target", "--op", "show")

    def delete_target(self):
        self.tgt_admin("--delete", IQN, "--force")


class TgtAdminTest(TgtWaysTest):
    def test_descriptors_need_no_trick(self):
        block = ("  <backing-store {}>\n    bs-type lunar\n    bsopts \"'conf=" + str(self.cluster.conf) +
                 ";id=admin'\"\n  </backing-store>\n")
        conf = self.write_conf(f"<target {IQN}>\n{block.format(self.descriptor())}  initiator-address 127.0.0.1\n"
                               "</target>\n")
        self.tgt_admin("--execute", "--conf", conf)
        self.assert_good(self.command(self.url(), "write", lba=0, blocks=8, pattern="0x5a"))
        self.assertIn(f"backing-store {self.descriptor()}", self.tgt_admin("--dump"))
        self.assertIn("Backing store type: lunar", self.shown())

        self.tgt_admin("--offline", IQN)
        self.assertIn("State: offline", self.shown())
        self.tgt_admin("--ready", IQN)
        self.assertIn("State: ready", self.shown())

        self.cluster.create_image("rbd/disk2", "64M")
        self.write_conf(f"<target {IQN}>\n{block.format(self.descriptor())}"
                        f"{block.format(self.descriptor('rbd/disk2'))}  initiator-address 127.0.0.1\n</target>\n")
        self.tgt_admin("--update", IQN, "--conf", conf)
        answer = self.command(self.url(1), "read", lba=0, blocks=1)
        self.assertEqual(answer["data"][:8], "5a5a5a5a")
        self.assert_good(self.command(self.url(2), "read", lba=0, blocks=1))
        self.delete_target()
        self.assertNotIn(IQN, self.shown())

    def test_the_type_rbd_at_the_target_lets_an_image_be_named(self):
        conf = self.write_conf(f"""<target {IQN}>
  bs-type rbd
  <backing-store rbd/disk1>
    bs-type lunar
    bsopts "'conf={self.cluster.conf};id=admin'"
  </backing-store>
  initiator-address 127.0.0.1
</target>
""")
        self.tgt_admin("--execute", "--conf", conf)
        self.assert_good(self.command(self.url(), "write", lba=0, blocks=8, pattern="0x5a"))
        self.assertIn("backing-store rbd/disk1", self.tgt_admin("--dump"))
        self.delete_target()

    def test_chap(self):
        conf = self.write_conf(f"""<target {IQN}>
  bs-type lunar
  backing-store {self.descriptor()}
  initiator-address ALL
  incominguser alice apasswordof16c
</target>
""")
        self.tgt_admin("--execute", "--conf", conf)
        self.assert_good(self.command(self.url(user="alice%apasswordof16c@"), "read", lba=0, blocks=1))
        for user in ("alice%anotherpassword@", ""):
            with self.assertRaises(Exception, msg=user):
                self.assert_good(self.command(self.url(user=user), "read", lba=0, blocks=1))
        self.delete_target()

    def test_a_file_that_is_no_descriptor_is_refused_with_a_sentence(self):
        path = self.folder / "secret"
        path.write_text("the content\n")
        conf = self.write_conf(f"<target {IQN}>\n  bs-type lunar\n  backing-store {path}\n</target>\n")
        self.tgt_admin("--execute", "--conf", conf, status=22)
        log = self.tgtd.log()
        self.assertIn(f"{path} does not describe a LUN: its first line has to be lunar:POOL/IMAGE", log)
        self.assertNotIn("the content", log)
        self.delete_target()


class PacemakerTest(TgtWaysTest):
    def agent(self, action, status=0):
        values = {"implementation": "tgt", "target_iqn": IQN, "lun": "3", "path": str(self.descriptor()),
                  "tgt_bstype": "lunar", "tgt_bsopts": f"conf={self.cluster.conf}"}
        return self.run_words(AGENT, action, status=status, OCF_ROOT="/usr/lib/ocf", OCF_RESOURCE_INSTANCE="disk1",
                              HA_RSCTMP=str(self.folder), OCF_RESKEY_CRM_meta_timeout="20000",
                              **{f"OCF_RESKEY_{name}": value for name, value in values.items()})

    def test_its_agent_for_logical_units_works(self):
        not_running = 7
        self.tgtd.add_target(IQN)
        self.agent("validate-all")
        self.agent("monitor", not_running)
        self.agent("start")
        self.agent("monitor")
        self.assert_good(self.command(self.url(3), "write", lba=0, blocks=8, pattern="0x5a"))
        self.agent("stop")
        self.agent("monitor", not_running)
        self.agent("start")  # its lock is free again
        self.agent("stop")


class LunarLunsTest(TgtWaysTest):
    def luns(self, text, *words, status=0):
        path = self.folder / "luns"
        path.write_text(text)
        return self.run_words(ROOT / "tools" / "lunar-luns", "--file", path, "--cli", find_built("lunar"),
                              "-C", CONTROL_PORT, *words, status=status)

    def test_it_makes_what_is_missing_and_leaves_what_is_there(self):
        text = (f"target {IQN} initiator-address=127.0.0.1 chap=alice:apasswordof16c mutual-chap=gw:anotherof16char\n"
                f"lun {IQN} 1 rbd/disk1 conf={self.cluster.conf}  # the first\n")
        said = self.luns(text)
        self.assertIn(f"LUN 1 of {IQN} is rbd/disk1", said)
        self.assert_good(self.command(self.url(user="alice%apasswordof16c@"), "read", lba=0, blocks=1))
        self.assertEqual(self.luns(text), "")
        self.cluster.create_image("rbd/disk2", "64M")
        said = self.luns(text + f"lun {IQN} 2 rbd/disk2 conf={self.cluster.conf} blocksize=4096\n")
        self.assertEqual(said, f"LUN 2 of {IQN} is rbd/disk2\n")
        self.delete_target()

    def test_nobody_may_log_in_before_all_luns_are_there(self):
        text = (f"target {IQN} initiator-address=127.0.0.1\nlun {IQN} 1 rbd/disk1 conf={self.cluster.conf}\n"
                f"lun {IQN} 2 rbd/none conf={self.cluster.conf}\n")
        said = self.luns(text, status=1)
        self.assertRegex(said, r"lunar-luns: rbd/none: .*no image")
        self.assertRegex(self.shown().partition(IQN)[2], r"ACL information:\s*$")
        self.cluster.create_image("rbd/none", "64M")
        self.luns(text)
        self.assert_good(self.command(self.url(2), "read", lba=0, blocks=1))
        self.delete_target()


class LunsFileTest(TestCase):
    def test_mistakes_in_the_file_are_sentences(self):
        for text, sentence in (
                ("disk rbd/disk1\n", "luns:1: 'disk' is not known"),
                (f"target {IQN}\n", "nobody may log in"),
                (f"lun {IQN} 1 rbd/disk1\n", f"there is no line 'target {IQN}' above"),
                (f"target {IQN} initiator-address=ALL chap=alice\n", "chap takes USER:PASSWORD"),
                (f"target {IQN} initiator-address=ALL\nlun {IQN} 0 rbd/disk1\n", "luns:2: '0' is not the number"),
                (f"target {IQN} initiator-address=ALL\nlun {IQN} 1 rbd/disk1 a=b,c\n", "'a=b,c' is not NAME=VALUE")):
            path = self.folder / "luns"
            path.write_text(text)
            result = subprocess.run([ROOT / "tools" / "lunar-luns", "--file", path], text=True, capture_output=True,
                                    timeout=60, check=False)
            self.assertEqual(result.returncode, 2, text)
            self.assertIn(sentence, result.stderr)


if __name__ == "__main__":
    unittest.main()
