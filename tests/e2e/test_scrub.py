#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""`lunar scrub` and `lunar repair`: damage is planted in the files of the stores, found and mended."""

import errno
import json
import os
import re
import signal
import subprocess
import unittest

from lunar_e2e import TestCase, wait_until
from lunar_e2e.env import built, child_environment

MIB = 1 << 20


class ScrubTest(TestCase):
    def setUp(self):
        super().setUp()
        self.cluster = self.start_cluster(options={"ms_session_timeout": "5s"})
        self.source = self.folder / "source"
        self.source.write_bytes(os.urandom(6 * MIB))
        self.cluster.lunar("import", self.source, "rbd/one", "--object-size", "1M")
        self.cluster.lunar("create", "rbd/two", "--size", "64M")
        self.one = self.cluster.lunar_json("info", "rbd/one")
        self.assertEqual(self.scrub(), {})

    # -- planting

    def file_of(self, name):
        (path,) = [path for osd in range(3)
                   for path in self.cluster.store_folder(osd).glob(f"pool.*/*/*/o.{name}")]
        return path

    def plant(self, name, change):
        """change(path) of the object's file, while its server is down."""
        path = self.file_of(name)
        osd = int(re.search(r"/osd\.(\d)/", str(path)).group(1))
        self.cluster.kill_osd(osd)
        change(path)
        self.cluster.start_osd(osd)

    def plant_json(self, name, change):
        def rewrite(path):
            content = json.loads(path.read_text())
            change(content)
            path.write_text(json.dumps(content))
        self.plant(name, rewrite)

    # -- looking

    def scrub(self, what="rbd"):
        """The findings by name; the exit code must fit."""
        code, said, errors = self.cluster.try_lunar("--format", "json", "scrub", what)
        report = json.loads(said)
        self.assertEqual(code, errno.EUCLEAN if report["findings"] else 0, errors)
        self.assertEqual(report["unchecked"], [])
        return {each["name"]: each for each in report["findings"]}

    def repair(self, *words):
        return self.cluster.lunar("repair", "rbd", *words)

    def assert_one_is_whole(self, name="rbd/one"):
        back = self.folder / "back"
        self.cluster.lunar("export", name, back)
        self.assertEqual(back.read_bytes(), self.source.read_bytes())
        back.unlink()

    # -- tests

    def test_a_lost_header_is_made_anew_by_name_only(self):
        self.plant(self.one["id"] + ".header", lambda path: path.unlink())
        name = "lost-header:" + self.one["id"]
        self.assertEqual(list(self.scrub()), [name])
        self.cluster.lunar_fails("info", "rbd/one")
        _, sentence = self.cluster.lunar_fails("rm", "rbd/one")
        self.assertIn("scrub", sentence)  # its data is not forgotten with its name
        code, said, _ = self.cluster.try_lunar("repair", "rbd", "--all")
        self.assertEqual((code, said), (errno.EUCLEAN, ""))
        said = self.repair(name, "--size", "6M", "--object-size", "1M")
        self.assertIn("make a header", said)
        self.assertIn("its identity as a LUN is new", said)
        self.assertEqual(self.scrub(), {})
        self.assert_one_is_whole()

    def test_a_damaged_header_keeps_its_identity(self):
        self.plant_json(self.one["id"] + ".header", lambda header: header.pop("trimmed_from"))
        name = "damaged-header:" + self.one["id"]
        self.assertEqual(list(self.scrub()), [name])
        self.assertEqual(list(self.scrub("rbd/one")), [name])
        self.assertEqual(self.scrub("rbd/two"), {})
        self.repair(name)
        self.assertEqual(self.scrub(), {})
        self.assertEqual(self.cluster.lunar_json("info", "rbd/one")["uuid"], self.one["uuid"])
        self.assert_one_is_whole()

    def drop_name(self, name):
        self.plant("lunar_id." + name, lambda path: path.unlink())

    def test_a_damaged_name_is_made_from_the_header(self):
        self.plant("lunar_id.one", lambda path: path.write_bytes(os.urandom(100)))
        self.assertEqual(self.cluster.lunar("ls", "rbd").split(), ["one", "two"])
        _, sentence = self.cluster.lunar_fails("info", "rbd/one")
        self.assertIn("lunar scrub", sentence)
        self.assertEqual(list(self.scrub()), ["damaged-name:one"])
        self.repair("--all")
        self.assertEqual(self.scrub(), {})
        self.assert_one_is_whole()

    def test_a_pool_of_an_earlier_build_is_converted(self):
        ids = {name: self.cluster.lunar_json("info", "rbd/" + name)["id"] for name in ("one", "two")}
        for name in ids:
            self.drop_name(name)
        directory = json.dumps({"format": 1, "images": ids})
        self.plant("lunar_directory", lambda path: path.write_text(directory))
        for words in (("ls", "rbd"), ("info", "rbd/one"), ("create", "rbd/three", "--size", "8M")):
            _, sentence = self.cluster.lunar_fails(*words)
            self.assertIn("'lunar pool convert rbd'", sentence)
        self.assertIn("2 names converted", self.cluster.lunar("pool", "convert", "rbd"))
        self.assertEqual(self.cluster.lunar("ls", "rbd").split(), ["one", "two"])
        self.assertEqual(json.loads(self.file_of("lunar_directory").read_text()), {"format": 2, "images": {}})
        self.assertEqual(self.scrub(), {})
        self.assert_one_is_whole()

    def test_half_made_unnamed_and_half_removed_images_are_mended_together(self):
        two = self.cluster.lunar_json("info", "rbd/two")["id"]
        self.drop_name("one")
        self.drop_name("two")
        self.cluster.lunar("create", "rbd/three", "--size", "8M")
        three = self.cluster.lunar_json("info", "rbd/three")["id"]
        self.plant_json(three + ".header", lambda header: header.update(state="removing"))
        self.assertEqual(set(self.scrub()), {"unnamed:" + self.one["id"], "half-made:" + two,
                                             "half-removed:" + three})
        self.repair("--all")
        self.assertEqual(self.scrub(), {})
        self.assertEqual(self.cluster.lunar("ls", "rbd").split(), ["one"])
        self.assert_one_is_whole()

    def test_data_of_no_image_is_deleted_if_it_is_named(self):
        self.plant(self.one["id"] + ".header", lambda path: path.unlink())
        self.drop_name("one")
        name = "orphan:" + self.one["id"]
        self.assertEqual(list(self.scrub()), [name])
        code, said, _ = self.cluster.try_lunar("repair", "rbd")
        self.assertEqual((code, said), (errno.EINVAL, ""))
        code, said, _ = self.cluster.try_lunar("repair", "rbd", "--all")
        self.assertEqual((code, said), (errno.EUCLEAN, ""))
        self.assertIn("deleted 6 objects", self.repair(name))
        self.assertEqual(self.scrub(), {})
        self.assertEqual([path for osd in range(3) for path in
                          self.cluster.store_folder(osd).glob(f"pool.*/*/*/o.{self.one['id']}*")], [])

    def test_what_an_interrupted_import_has_left_is_told(self):
        with subprocess.Popen([str(built("lunar")), "-c", str(self.cluster.conf), "import", "-", "rbd/cut",
                               "--size", "64M"], stdin=subprocess.PIPE,
                              env=child_environment(self.cluster.environment())) as importing:
            importing.stdin.write(os.urandom(5 * MIB))
            importing.stdin.flush()
            wait_until(lambda: "cut" in self.cluster.lunar("ls", "rbd").split()
                       and self.cluster.lunar_json("info", "rbd/cut")["registrations"], 60, "the import")
            (half,) = self.scrub()
            self.assertTrue(half.startswith("half-imported:"), half)
            code, _, errors = self.cluster.try_lunar("repair", "rbd", half)  # it is still there
            self.assertEqual((code, "is being imported by" in errors), (errno.EBUSY, True), errors)
            importing.send_signal(signal.SIGKILL)
            importing.wait(30)
        wait_until(lambda: len(self.scrub()) == 2, 60, "the registration to be found")
        (name,) = set(self.scrub()) - {half}
        self.assertTrue(name.startswith("registration:"), name)
        self.assertIn("fence that gateway", self.repair(name))
        self.assertEqual(list(self.scrub()), [half])
        self.assertIn("removed what was left", self.repair(half))
        self.assertEqual(self.scrub(), {})
        self.assertNotIn("cut", self.cluster.lunar("ls", "rbd").split())

    def test_a_server_that_is_down_is_told(self):
        self.cluster.kill_osd(2)
        wait_until(lambda: self.cluster.lunar_json("status")["num_up_osds"] == 2, 60, "osd.2 to be down")
        code, said, _ = self.cluster.try_lunar("--format", "json", "scrub", "rbd")
        self.assertEqual(code, errno.EHOSTUNREACH)
        report = json.loads(said)
        self.assertEqual(report["findings"], [])
        self.assertIn("osd.2", " ".join(report["unchecked"]))
        self.cluster.start_osd(2)
        self.assertEqual(self.scrub(), {})

    def test_findings_are_explained_to_people(self):
        self.drop_name("one")
        code, said, errors = self.cluster.try_lunar("scrub", "rbd")
        self.assertEqual(code, errno.EUCLEAN)
        self.assertIn(f"unnamed:{self.one['id']}\n  image 'one' has a header and 6 data objects", said)
        self.assertIn("repair: enter it as 'one'", said)
        self.assertIn("1 finding in rbd", errors)
        _, _, errors = self.cluster.try_lunar("repair", "rbd", "unnamed:nothing")
        self.assertIn("there is no finding 'unnamed:nothing'", errors)


if __name__ == "__main__":
    unittest.main(verbosity=2)
