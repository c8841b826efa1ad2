#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The command-line tool as its users type it, and what an interruption leaves."""

import ctypes
import errno
import filecmp
import os
import pty
import signal
import subprocess
import time
import unittest

from lunar_e2e import TestCase, wait_until
from lunar_e2e.env import built, child_environment, restart_preloaded

MIB = 1 << 20
SIGNALLED = 128


class CliTestCase(TestCase):
    def setUp(self):
        super().setUp()
        self.cluster = self.start_cluster()

    def start(self, *words, **options):
        """A command that goes on; it is ended with the test."""
        command = [str(word) for word in (built("lunar"), "-c", self.cluster.conf, *words)]
        running = subprocess.Popen(command, env=child_environment(self.cluster.environment()),
                                   stderr=subprocess.PIPE, **{"stdout": subprocess.PIPE, **options})
        def end():
            running.kill()
            running.communicate()
        self.addCleanup(end)
        return running

    def end_by(self, running, number):
        """Sends the signal; what the command has said on stdout and stderr after that."""
        running.send_signal(number)
        said, errors = running.communicate(timeout=60)
        self.assertEqual(running.returncode, SIGNALLED + number, errors)
        return (said or b"").decode(), errors.decode()

    def random_source(self, num_bytes):
        path = self.folder / "source"
        path.write_bytes(os.urandom(num_bytes))
        return path


class InterruptedTest(CliTestCase):
    def start_export(self):
        """One that has begun to write, and that a silent server keeps from its end."""
        self.cluster.lunar("import", self.random_source(64 * MIB), "rbd/a")
        header = self.cluster.lunar_json("info", "rbd/a")["id"] + ".header"
        needed = {self.cluster.lunar_json("osd", "map", "rbd", name)["osd"] for name in ("lunar_id.a", header)}
        silent = next(process for osd, process in self.cluster.osds.items() if osd not in needed)
        silent.send(signal.SIGSTOP)
        self.addCleanup(silent.send, signal.SIGCONT)
        folder = self.folder / "copies"
        folder.mkdir()
        running = self.start("export", "rbd/a", folder / "copy")
        wait_until(lambda: list(folder.iterdir()), 60, "the export to begin")
        return running, folder, silent

    def test_an_export_that_is_ended_leaves_no_file(self):
        running, folder, silent = self.start_export()
        running.send_signal(signal.SIGTERM)
        silent.send(signal.SIGCONT)
        _, errors = running.communicate(timeout=60)
        self.assertEqual(running.returncode, SIGNALLED + signal.SIGTERM, errors)
        self.assertIn("export interrupted by SIGTERM; no file was made", errors.decode())
        self.assertEqual(list(folder.iterdir()), [])

    def test_an_export_that_is_killed_leaves_nothing_that_looks_like_a_copy(self):
        running, folder, _ = self.start_export()
        running.kill()
        running.wait()
        (left,) = folder.iterdir()
        self.assertRegex(left.name, r"^copy\.partial-")

    def test_an_import_that_is_ended_leaves_no_image(self):
        running = self.start("import", "-", "rbd/a", "--size", "64M", stdin=subprocess.PIPE)
        running.stdin.write(bytes(MIB))
        running.stdin.flush()
        wait_until(lambda: self.cluster.lunar("ls", "rbd") == "a\n", 60, "the image")
        _, errors = self.end_by(running, signal.SIGINT)
        self.assertIn("import interrupted by SIGINT; no image was made", errors)
        self.assertEqual(self.cluster.lunar("ls", "rbd"), "")

    def test_a_bench_that_is_ended_reports_and_gives_up_its_lock(self):
        self.cluster.lunar("create", "rbd/a", "--size", "64M")
        running = self.start("bench", "rbd/a", "--io-type", "write", "--io-total", "1T")
        wait_until(lambda: self.cluster.lunar_json("lock", "ls", "rbd/a"), 60, "the lock")
        said, errors = self.end_by(running, signal.SIGTERM)
        self.assertIn("IOPS", said)
        self.assertIn("interrupted by SIGTERM", errors)
        self.assertEqual(self.cluster.lunar_json("lock", "ls", "rbd/a"), [])


class WaitingTest(CliTestCase):
    def test_a_dead_gateway_is_not_waited_for_in_silence(self):
        self.cluster.lunar("create", "a", "--size", "64M")
        dead = self.start("bench", "a", "--io-type", "write", "--io-total", "1T")
        wait_until(lambda: self.cluster.lunar_json("lock", "ls", "a"), 60, "the lock")
        dead.kill()
        dead.communicate()
        for words in (("bench", "a", "--io-type", "write"), ("rm", "a")):
            waiting = self.start(*words, "--lunar-lock-timeout", "10m")
            said = next((line for line in waiting.stderr if b"waiting" in line), b"").decode()
            self.assertIn("'lunar lock ls rbd/a' says who", said)
            waiting.kill()


class TransferTest(CliTestCase):
    def test_export_replaces_a_file_only_if_told(self):
        source = self.random_source(MIB)
        self.cluster.lunar("import", source, "rbd/a")
        there = self.folder / "there"
        there.write_text("mine")
        _, sentence = self.cluster.lunar_fails("export", "rbd/a", there)
        self.assertIn("--overwrite", sentence)
        self.assertEqual(there.read_text(), "mine")
        self.cluster.lunar("export", "rbd/a", there, "--overwrite")
        self.assertTrue(filecmp.cmp(source, there, shallow=False))

    def test_export_writes_to_a_named_pipe(self):
        source = self.random_source(MIB)
        self.cluster.lunar("import", source, "rbd/a")
        pipe = self.folder / "pipe"
        os.mkfifo(pipe)
        running = self.start("export", "rbd/a", pipe)
        read = subprocess.run(["cat", pipe], check=True, capture_output=True, timeout=60).stdout
        self.assertEqual(read, source.read_bytes())
        _, errors = running.communicate(timeout=60)
        self.assertEqual(running.returncode, 0, errors)

    def test_the_progress_of_a_sparse_import_ends_at_its_end(self):
        source = self.sparse_file("source", 64 * MIB)
        with open(source, "r+b") as file:
            file.write(os.urandom(4096))
        ours, theirs = pty.openpty()
        self.addCleanup(os.close, ours)
        command = [str(built("lunar")), "-c", str(self.cluster.conf), "import", str(source), "rbd/a"]
        subprocess.run(command, check=True, timeout=60, stderr=theirs,
                       env=child_environment(self.cluster.environment()))
        os.close(theirs)
        self.assertRegex(os.read(ours, 10000).decode(), r"importing 100%\s*$")


class WordsTest(CliTestCase):
    def test_an_image_without_a_pool_is_in_the_one_that_was_chosen(self):
        lunar = self.cluster.lunar
        lunar("pool", "create", "other")
        lunar("create", "a", "--size", "64M")
        lunar("-p", "other", "create", "b", "-s", "64M")
        lunar("create", "-s", "64M", "--pool", "other", "c")
        self.assertEqual((lunar("ls"), lunar("ls", "-p", "other"), lunar("ls", "other")), ("a\n", "b\nc\n", "b\nc\n"))
        self.assertEqual(lunar("info", "a"), lunar("info", "rbd/a"))
        code, sentence = self.cluster.lunar_fails("-p", "other", "info", "rbd/a")
        self.assertEqual((code, "another pool than --pool other" in sentence), (errno.EINVAL, True), sentence)

    def test_help_names_a_command(self):
        self.assertEqual(self.cluster.lunar("help", "osd", "fence"), self.cluster.lunar("osd", "fence", "--help"))
        self.assertIn("sparsify", self.cluster.lunar("help"))

    def test_what_is_misspelt_is_guessed(self):
        for words, said in ((("lss",), "'lss' is not known here; did you mean 'ls'?"),
                            (("osd", "tre"), "'tre' is not known here; did you mean 'tree'?"),
                            (("ls", "--formta", "json"), "'--formta' is not known here; did you mean '--format'?"),
                            (("ls", "--mon-hots=x"), "did you mean '--mon-host'?"),
                            (("create", "a", "--sise", "1G"), "did you mean '--size'?")):
            with self.subTest(words):
                code, sentence = self.cluster.lunar_fails(*words)
                self.assertEqual((code, said in sentence), (os.EX_USAGE, True), sentence)
                self.assertNotIn("required", sentence)  # what was misspelt is not missing as well

    def test_control_characters_are_shown_and_do_nothing(self):
        code, sentence = self.cluster.lunar_fails("\x1b[2Jls")
        self.assertEqual((code, "'^[[2Jls' is not known here" in sentence), (os.EX_USAGE, True), sentence)
        self.assertNotIn("\x1b", sentence)

    def test_a_misspelt_option_of_the_file_is_said_by_every_command(self):
        with open(self.cluster.conf, "a", encoding="ascii") as conf:
            conf.write("[client]\nobjecter_op_timeuot = 5s\n")
        code, _, errors = self.cluster.try_lunar("ls")
        self.assertEqual((code, "did you mean 'objecter_op_timeout'" in errors), (0, True), errors)

    def test_without_a_configuration_every_command_says_so_at_once(self):
        environment = {**child_environment(), "HOME": str(self.folder)}
        result = subprocess.run([str(built("lunar")), "ls"], text=True, capture_output=True, timeout=60,
                                check=False, env=environment, cwd=self.folder)
        self.assertEqual(result.returncode, errno.EDESTADDRREQ, result.stderr)
        self.assertIn("no configuration was found", result.stderr)

    def test_bench_takes_the_words_of_rbd(self):
        self.cluster.lunar("create", "a", "--size", "64M")
        report = self.cluster.lunar_json("bench", "a", "--io-type", "rw", "--rw-mix-read", "25", "--io-threads", "4",
                                         "--io-total", "1M", "--io-pattern", "rand", "--seed", "1")
        self.assertEqual(report["ops"], 256)
        self.assertTrue(0 < report["reads"] < 128, report["reads"])


class KeyTest(TestCase):
    def test_a_wrong_key_is_said_at_once(self):
        cluster = self.start_cluster(authenticate=True)
        other = self.folder / "other"
        cluster.lunar("keyring", "add", other, "client.admin")
        began = time.monotonic()
        for words in (("ls",), ("status",), ("osd", "tree"), ("create", "a", "--size", "1G")):
            with self.subTest(words):
                code, sentence = cluster.lunar_fails(*words, "--keyring", other)
                self.assertEqual(code, errno.EACCES, sentence)
        code, sentence = cluster.lunar_fails("ls", "--keyring", self.folder / "absent")
        self.assertEqual((code, "absent" in sentence), (errno.EACCES, True), sentence)
        self.assertLess(time.monotonic() - began, 15)  # not objecter_op_timeout, which is 20 s

    def test_no_mode_in_common_is_said_at_once(self):
        cluster = self.start_cluster(num_osds=2, authenticate=True, options={"ms_service_mode": "secure"})
        for words in (("ls",), ("status",)):
            with self.subTest(words):
                began = time.monotonic()
                code, sentence = cluster.lunar_fails(*words, "--ms-client-mode", "crc")
                self.assertEqual(code, errno.EPROTONOSUPPORT, sentence)
                self.assertIn("ms_client_mode here must have a mode in common with ms_service_mode", sentence)
                self.assertLess(time.monotonic() - began, 10)

    def test_another_cluster_than_the_configured_one_is_said(self):
        cluster = self.start_cluster(num_osds=1, store="mem")
        cluster.lunar("ls", "--fsid", cluster.fsid)
        other = "99999999-89ab-4def-8123-456789abcdef"
        code, sentence = cluster.lunar_fails("ls", "--fsid", other)
        self.assertEqual(code, errno.EINVAL, sentence)
        self.assertIn(cluster.fsid, sentence)
        self.assertIn(other, sentence)


class ListsTest(CliTestCase):
    def test_images_are_listed_with_size_state_and_lock(self):
        self.cluster.lunar("create", "small", "--size", "64M")
        self.cluster.lunar("create", "large", "--size", "2G")
        running = self.start("bench", "small", "--io-type", "write", "--io-total", "1T")
        wait_until(lambda: self.cluster.lunar_json("lock", "ls", "small"), 60, "the lock")
        self.assertEqual(self.cluster.lunar("ls", "-l").splitlines(),
                         ["NAME     SIZE  STATE  LOCK", "large   2 GiB  ready", "small  64 MiB  ready  exclusive"])
        listed = self.cluster.lunar_json("ls", "-l")
        self.assertEqual([(each["name"], each["size"], each["lock"]) for each in listed],
                         [("large", 2048 * MIB, ""), ("small", 64 * MIB, "exclusive")])
        (who,) = self.cluster.lunar_json("info", "small")["registrations"]
        self.assertIsInstance(who["nonce"], str)
        self.end_by(running, signal.SIGTERM)

    def test_du_says_what_has_space(self):
        self.cluster.lunar("create", "empty", "--size", "1G")
        self.cluster.lunar("import", self.random_source(5 * MIB), "full", "--size", "64M", "--pad")
        usage = self.cluster.lunar_json("du")
        self.assertEqual([(each["name"], each["provisioned_size"], each["used_size"]) for each in usage["images"]],
                         [("empty", 1024 * MIB, 0), ("full", 64 * MIB, 5 * MIB)])
        self.assertEqual(usage["total_used_size"], 5 * MIB)
        self.assertEqual(self.cluster.lunar("du", "rbd/full").split("\n")[1].split(), "full 64 MiB 5 MiB".split())

    def test_df_and_status_say_how_full_the_servers_are(self):
        space = self.cluster.lunar_json("df")
        self.assertEqual([each["osd"] for each in space["servers"]], [0, 1, 2])
        self.assertEqual(sum(each["total"] for each in space["servers"]), space["capacity"]["total"])
        self.assertGreater(space["capacity"]["available"], 0)
        self.assertEqual(self.cluster.lunar_json("status")["capacity"]["total"], space["capacity"]["total"])
        self.assertRegex(self.cluster.lunar("df"), r"(?s)^SERVER +SIZE +USED +AVAIL +%USE +STATE\nosd.0 .*\ntotal ")
        self.assertRegex(self.cluster.lunar("status"), r"capacity +\S+ \wiB of ")

    def test_answers_of_servers_are_tables_and_their_ids_text(self):
        tree = self.cluster.lunar("osd", "tree")
        self.assertNotIn("{", tree)
        self.assertRegex(tree, r"ID +NAME +STATUS +STORE +ADDRESSES +OBJECTSTORE +POOLS\n 0 +osd\.0 +up ")
        for words in (("osd", "dump"), ("map", "dump"), ("pool", "get", "rbd")):
            self.assertNotIn("{", self.cluster.lunar(*words))
        for osd in self.cluster.lunar_json("osd", "dump")["osds"]:
            self.assertIsInstance(osd["incarnation"], str)


class StatusTest(CliTestCase):
    def test_it_answers_soon_though_the_authority_is_silent(self):
        self.cluster.osds[0].send(signal.SIGSTOP)
        self.addCleanup(self.cluster.osds[0].send, signal.SIGCONT)
        began = time.monotonic()
        status = self.cluster.lunar_json("status")
        self.assertLess(time.monotonic() - began, 4)  # 1.6 s, and what a busy machine adds
        self.assertEqual(status["health"], "HEALTH_WARN")
        self.assertIn("osd.0", status["health_details"][0])
        self.assertIn("the map cannot change without it", status["health_details"][0])

    def test_its_exit_code_is_the_health_if_that_is_wanted(self):
        self.assertEqual(self.cluster.try_lunar("status", "--exit-code")[0], 0)
        self.cluster.kill_osd(2)
        wait_until(lambda: self.cluster.lunar_json("status")["num_up_osds"] == 2, 60, "osd.2 to be down")
        self.assertEqual(self.cluster.try_lunar("status", "--exit-code")[0], 1)
        self.assertEqual(self.cluster.try_lunar("status")[0], 0)


class CopyTest(CliTestCase):
    def used(self, image):
        return self.cluster.lunar_json("du", image)["images"][0]["used_size"]

    def test_a_copy_has_the_content_and_the_holes(self):
        source = self.sparse_file("source", 256 * MIB)
        with open(source, "r+b") as file:
            for at in (0, 100, 255):
                file.seek(at * MIB)
                file.write(os.urandom(MIB // 2))
        self.cluster.lunar("pool", "create", "other")
        self.cluster.lunar("import", source, "a", "--object-size", "1M")
        self.cluster.lunar("cp", "a", "other/b")
        self.cluster.lunar("cp", "a", "c", "--object-size", "4M")
        for name, object_size in (("other/b", MIB), ("c", 4 * MIB)):
            back = self.folder / "back"
            self.cluster.lunar("export", name, back, "--overwrite")
            self.assertTrue(filecmp.cmp(source, back, shallow=False))
            self.assertEqual(self.cluster.lunar_json("info", name)["object_size"], object_size)
            self.assertEqual(self.used(name), 3 * MIB // 2)
        code, sentence = self.cluster.lunar_fails("cp", "a", "c")
        self.assertEqual((code, "'c' exists" in sentence), (errno.EEXIST, True), sentence)

    def write(self, spec, data):
        """Through the C API, which writes zeroes as it is told."""
        api = ctypes.CDLL(str(built("liblunar.so")))
        cluster, image = ctypes.c_void_p(), ctypes.c_void_p()
        self.assertEqual(api.lunar_create(ctypes.byref(cluster), str(self.cluster.conf).encode(), None), 0)
        self.assertEqual(api.lunar_connect(cluster), 0)
        self.assertEqual(api.lunar_open(cluster, spec.encode(), 0, ctypes.byref(image)), 0)
        api.lunar_write.restype = ctypes.c_int64
        written = api.lunar_write(image, ctypes.c_uint64(0), ctypes.c_size_t(len(data)), data)
        self.assertEqual(written, len(data))
        self.assertEqual(api.lunar_close(image), 0)
        api.lunar_shutdown(cluster)

    def test_sparsify_frees_zeroes_and_nothing_else(self):
        data = bytes(2 * MIB) + os.urandom(MIB) + bytes(12288) + os.urandom(MIB) + bytes(4096 - 12288 % 4096)
        self.cluster.lunar("create", "a", "--size", "64M")
        self.write("rbd/a", data)
        self.assertEqual(self.used("a"), len(data))
        freed = self.cluster.lunar_json("sparsify", "a")["zeroes_freed"]
        self.assertEqual(freed, 2 * MIB + 12288 + 4096)
        self.assertEqual(self.used("a"), 2 * MIB)
        back = self.folder / "back"
        self.cluster.lunar("export", "a", back)
        self.assertEqual(back.read_bytes()[:len(data)], data)

    def test_sparsify_needs_the_lock(self):
        self.cluster.lunar("create", "a", "--size", "64M")
        self.start("bench", "a", "--io-type", "write", "--io-total", "1T")
        wait_until(lambda: self.cluster.lunar_json("lock", "ls", "a"), 60, "the lock")
        code, sentence = self.cluster.lunar_fails("sparsify", "a")
        self.assertEqual(code, errno.EBUSY, sentence)


if __name__ == "__main__":
    restart_preloaded()
    unittest.main(verbosity=2)
