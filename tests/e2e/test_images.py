#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Images by the command-line tool and by the C API."""

import ctypes
import filecmp
import json
import os
import random
import signal
import subprocess
import time
import unittest

from lunar_e2e import LunarTestCase, TestCase, admin_command, wait_until
from lunar_e2e.env import built, child_environment, find_built, restart_preloaded

MIB, GIB = 1 << 20, 1 << 30
EX_USAGE = 64
EPERM, ENOENT, ENOMEM, EBUSY, EEXIST, EINVAL, ESHUTDOWN, ETIMEDOUT, EHOSTUNREACH = 1, 2, 12, 16, 17, 22, 108, 110, 113


class ToolTest(TestCase):
    def setUp(self):
        super().setUp()
        self.cluster = self.start_cluster()

    def test_an_image_from_birth_to_death(self):
        lunar, lunar_json = self.cluster.lunar, self.cluster.lunar_json
        made = lunar_json("create", "rbd/a", "--size", "1G", "--object-size", "1M",
                          "--stripe-unit", "64K", "--stripe-count", "4")
        lunar("create", "rbd/b", "--size", "64M")
        self.assertEqual(lunar("ls", "rbd").split(), ["a", "b"])
        self.assertEqual([each["name"] for each in lunar_json("ls", "rbd")], ["a", "b"])
        info = lunar_json("info", "rbd/a")
        self.assertEqual(info, made)
        self.assertEqual(info["size"], GIB)
        self.assertIn("64 KiB", lunar("info", "rbd/a"))
        lunar("resize", "rbd/a", "--size", "2G")
        self.assertEqual(lunar_json("info", "rbd/a")["size"], 2 * GIB)
        lunar("rm", "rbd/a")
        self.assertEqual(lunar("ls", "rbd").split(), ["b"])

    def test_a_taken_name_and_an_absent_one_are_named(self):
        self.cluster.lunar("create", "rbd/a", "--size", "64M")
        code, sentence = self.cluster.lunar_fails("create", "rbd/a", "--size", "64M")
        self.assertEqual((code, "'a' exists" in sentence), (EEXIST, True), sentence)
        for words in (("info", "rbd/none"), ("rm", "rbd/none"),
                      ("resize", "rbd/none", "--size", "1G")):
            code, sentence = self.cluster.lunar_fails(*words)
            self.assertEqual((code, "'none'" in sentence), (ENOENT, True), sentence)
        code, sentence = self.cluster.lunar_fails("ls", "nowhere")
        self.assertIn("no pool 'nowhere'; there are: rbd", sentence)

    def test_an_image_is_renamed(self):
        lunar, lunar_json = self.cluster.lunar, self.cluster.lunar_json
        made = lunar_json("create", "rbd/a", "--size", "64M")
        lunar("create", "rbd/taken", "--size", "64M")
        lunar("mv", "rbd/a", "b")
        lunar("rename", "rbd/b", "rbd/c")
        self.assertEqual(lunar("ls", "rbd").split(), ["c", "taken"])
        self.assertEqual(lunar_json("info", "rbd/c"), {**made, "name": "c"})
        for to, expected, words in (("taken", EEXIST, "'taken' exists"), ("c", EEXIST, "has the name 'c' already"),
                                    ("other/d", EINVAL, "stays in its pool, which is 'rbd'"),
                                    (".d", EINVAL, "has no valid image name")):
            code, sentence = self.cluster.lunar_fails("mv", "rbd/c", to)
            self.assertEqual((code, words in sentence), (expected, True), sentence)
        code, sentence = self.cluster.lunar_fails("mv", "rbd/a", "d")
        self.assertEqual((code, "'a'" in sentence), (ENOENT, True), sentence)
        self.assertEqual(lunar_json("info", "rbd/c"), {**made, "name": "c"})

    def test_a_renaming_that_was_interrupted_is_shown_and_finished(self):
        lunar = self.cluster.lunar
        header = self.cluster.lunar_json("create", "rbd/a", "--size", "64M")
        (path,) = [path for osd in range(3)
                   for path in self.cluster.store_folder(osd).glob(f"pool.*/*/*/o.{header['id']}.header")]
        osd = int(path.relative_to(self.cluster.folder).parts[0].split(".")[1])
        self.cluster.kill_osd(osd)
        header.update(format=4, state="renaming", rename_to="b")
        path.write_text(json.dumps(header))
        self.cluster.start_osd(osd)
        how = "finish with 'lunar mv rbd/a b'"
        self.assertIn(how, lunar("info", "rbd/a"))
        self.assertIn(how, lunar("status", "rbd/a"))
        for words in (("rm", "rbd/a"), ("resize", "rbd/a", "--size", "128M")):
            code, sentence = self.cluster.lunar_fails(*words)
            self.assertEqual((code, how in sentence), (EBUSY, True), sentence)
        lunar("mv", "rbd/a", "b")
        self.assertEqual(lunar("ls", "rbd").split(), ["b"])
        self.assertEqual(self.cluster.lunar_json("info", "rbd/b")["state"], "ready")
        lunar("scrub", "rbd")

    def test_a_server_that_is_down_hides_only_the_names_that_are_on_it(self):
        names = [f"disk{number}" for number in range(12)]
        for name in names:
            self.cluster.lunar("create", f"rbd/{name}", "--size", "64M")
        server = {name: self.cluster.lunar_json("osd", "map", "rbd", "lunar_id." + name)["osd"] for name in names}
        self.cluster.kill_osd(2)
        wait_until(lambda: self.cluster.lunar_json("status")["num_up_osds"] == 2, 60, "osd.2 to be down")
        code, said, errors = self.cluster.try_lunar("ls", "rbd")
        self.assertEqual(said.split(), sorted(name for name in names if server[name] != 2))
        self.assertEqual(code, EHOSTUNREACH)
        self.assertIn("osd.2", errors)
        hidden = next(name for name in names if server[name] == 2)
        began = time.monotonic()
        code, sentence = self.cluster.lunar_fails("--objecter-op-timeout", "2s", "info", f"rbd/{hidden}")
        self.assertEqual((code, "osd.2, which has it, is down" in sentence), (ETIMEDOUT, True), sentence)
        self.assertLess(time.monotonic() - began, 15)  # not the 20 s of the configuration

    def test_without_the_authority_images_go_on_and_what_is_waited_for_is_said(self):
        def osd_of(thing):
            return self.cluster.lunar_json("osd", "map", "rbd", thing)["osd"]
        for number in range(100):
            name = f"disk{number}"
            made = self.cluster.lunar_json("create", f"rbd/{name}", "--size", "64M")
            if 0 not in (osd_of("lunar_id." + name), osd_of(made["id"] + ".header")):
                break
        self.cluster.lunar("auth", "caps", "client.shown", "allow r")
        self.cluster.kill_osd(0)
        self.assertEqual(self.cluster.lunar_json("info", f"rbd/{name}"), made)
        self.cluster.lunar("resize", f"rbd/{name}", "--size", "128M")
        for shows, expected in ((("osd", "tree"), "osd.0 "), (("pool", "ls"), "rbd"), (("status",), "HEALTH_WARN"),
                                (("auth", "ls"), "client.shown"), (("map", "dump"), "epoch")):
            with self.subTest(" ".join(shows)):
                began = time.monotonic()
                code, said, errors = self.cluster.try_lunar(*shows)
                self.assertEqual(code, 0, errors)
                self.assertIn("osd.0, the map authority, does not answer: osd.1 says what it knows", errors)
                self.assertIn(expected, said)
                self.assertLess(time.monotonic() - began, 10)  # one after the other it takes 5 s for each
        began = time.monotonic()
        with subprocess.Popen([str(built("lunar")), "-c", str(self.cluster.conf), "pool", "create", "more"],
                              text=True, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL,
                              env=child_environment(self.cluster.environment())) as waiting:
            said = next((line for line in waiting.stderr if "waiting for" in line), "")
            self.assertIn("waiting for osd.0, the map authority,", said)
            self.assertLess(time.monotonic() - began, 5)  # a second, and what a busy machine adds
            waiting.kill()

    def test_status_says_that_all_is_well(self):
        status = self.cluster.lunar_json("status")
        self.assertEqual((status["health"], status["health_details"]), ("HEALTH_OK", []))
        self.assertIn("HEALTH_OK", self.cluster.lunar("status"))

    def test_status_asks_silent_servers_at_the_same_time(self):
        for osd in (1, 2):
            self.cluster.osds[osd].send(signal.SIGSTOP)
        try:
            began = time.monotonic()
            status = self.cluster.lunar_json("status")
            self.assertLess(time.monotonic() - began, 10)  # one after the other it takes 5 s for each
        finally:
            for osd in (1, 2):
                self.cluster.osds[osd].send(signal.SIGCONT)
        self.assertEqual(status["health"], "HEALTH_WARN")
        self.assertEqual([detail.split()[0] for detail in status["health_details"]], ["osd.1", "osd.2"])

    def test_bench_reports_what_it_did(self):
        self.cluster.lunar("create", "rbd/a", "--size", "64M")
        for kind in ("write", "read"):
            report = self.cluster.lunar_json("bench", "rbd/a", "--io-type", kind, "--io-size", "4K",
                                             "--io-total", "1M", "--io-pattern", "rand",
                                             "--lunar-header-poll", "1h")
            self.assertEqual(report["ops"], 256)
            self.assertGreater(report["iops"], 0)
            self.assertEqual((report["bytes_inline"], report["bytes_one_sided"]), (1 << 20, 0))
            self.assertEqual(report["perf"]["objecter"]["op"], 256)
        servers = [admin_command(self.cluster.admin_socket(osd), "perf dump") for osd in range(3)]
        self.assertGreaterEqual(sum(each["msgr"]["bytes_in"] for each in servers), 1 << 20)

    # -- nothing is destroyed by the way

    def test_a_write_bench_overwrites_data_only_if_told(self):
        source = self.folder / "source"
        source.write_bytes(os.urandom(MIB))
        self.cluster.lunar("import", source, "rbd/a")
        words = ["bench", "rbd/a", "--io-type", "write", "--io-size", "4K", "--io-total", "64K"]
        for pattern in ("seq", "rand"):
            _, sentence = self.cluster.lunar_fails(*words, "--io-pattern", pattern)
            self.assertIn("--overwrite", sentence)
        back = self.folder / "back"
        self.cluster.lunar("export", "rbd/a", back)
        self.assertEqual(back.read_bytes(), source.read_bytes())
        self.cluster.lunar(*words, "--overwrite")
        code, sentence = self.cluster.lunar_fails("bench", "rbd/a")  # what it is to do must be said
        self.assertEqual(code, EX_USAGE, sentence)

    def test_shrinking_has_to_be_allowed(self):
        self.cluster.lunar("create", "rbd/a", "--size", "64M")
        _, sentence = self.cluster.lunar_fails("resize", "rbd/a", "--size", "32M")
        self.assertIn("--allow-shrink", sentence)
        self.assertEqual(self.cluster.lunar_json("info", "rbd/a")["size"], 64 * MIB)
        self.cluster.lunar("resize", "rbd/a", "--size", "32M", "--allow-shrink")
        self.assertEqual(self.cluster.lunar_json("info", "rbd/a")["size"], 32 * MIB)

    def test_a_pool_is_removed_when_it_is_named_twice(self):
        for words in (["rbd"], ["rbd", "rbd"], ["rbd", "--yes-i-really-really-mean-it"],
                      ["rbd", "other", "--yes-i-really-really-mean-it"]):
            _, sentence = self.cluster.lunar_fails("pool", "rm", *words)
            self.assertIn("twice", sentence)
        self.assertEqual(self.cluster.lunar("pool", "ls").split(), ["rbd"])
        self.cluster.lunar("pool", "rm", "rbd", "rbd", "--yes-i-really-really-mean-it")
        self.assertEqual(self.cluster.lunar("pool", "ls"), "")

    def test_a_backup_of_the_map_replaces_only_an_older_one(self):
        saved = self.folder / "map.json"
        self.cluster.lunar("map", "backup", saved)
        older = json.loads(saved.read_text())
        self.cluster.lunar("pool", "create", "more")
        self.cluster.lunar("map", "backup", saved)
        self.assertGreater(json.loads(saved.read_text())["epoch"], older["epoch"])
        for other in ({**older, "epoch": older["epoch"] + 1000},
                      {**older, "fsid": "00000000-0000-4000-8000-000000000000"}, {"mine": True}):
            saved.write_text(json.dumps(other))
            _, sentence = self.cluster.lunar_fails("map", "backup", saved)
            self.assertIn("--overwrite", sentence)
            self.assertEqual(json.loads(saved.read_text()), other)
        self.cluster.lunar("map", "backup", saved, "--overwrite")

    # -- import and export

    def allocated(self):
        """Bytes that the stores take on disk."""
        total = 0
        for osd in range(3):
            for path in self.cluster.store_folder(osd).glob("pool.*/**/*"):
                total += path.stat().st_blocks * 512 if path.is_file() else 0
        return total

    def sparse_source(self, size, pieces, piece_bytes):
        path = self.sparse_file("source", size)
        rng = random.Random(51)
        with open(path, "r+b") as file:
            for _ in range(pieces):
                file.seek(rng.randrange(0, size - piece_bytes) // 4096 * 4096)
                file.write(rng.randbytes(piece_bytes))
        return path

    def test_sparse_gibibyte_comes_back_and_takes_no_more_than_its_data(self):
        source = self.sparse_source(GIB, pieces=24, piece_bytes=192 << 10)
        before = self.allocated()
        self.cluster.lunar("import", source, "rbd/a")
        data = source.stat().st_blocks * 512
        self.assertLessEqual(self.allocated() - before, data + MIB)  # headers, names
        back = self.folder / "back"
        self.cluster.lunar("export", "rbd/a", back)
        self.assertTrue(filecmp.cmp(source, back, shallow=False))
        self.assertLessEqual(back.stat().st_blocks * 512, data + MIB)
        self.cluster.lunar("rm", "rbd/a")
        self.assertLessEqual(self.allocated() - before, MIB)

    def test_through_pipes(self):
        data = os.urandom(3 * MIB + 5)
        words = [str(built("lunar")), "-c", str(self.cluster.conf)]
        subprocess.run([*words, "import", "-", "rbd/a", "--size", "4M", "--pad"], input=data, check=True,
                       timeout=120)
        back = subprocess.run([*words, "export", "rbd/a", "-"], capture_output=True, check=True,
                              timeout=120).stdout
        self.assertEqual(back, data + bytes(4 * MIB - len(data)))

    def import_fails(self, data, *words):
        """The sentence of an import from a pipe, after which there must be no image."""
        _, errors = self.cluster.lunar_fails("import", "-", "rbd/a", *words, input=data, text=False)
        self.assertEqual(self.cluster.lunar("ls", "rbd"), "")
        return errors.decode()

    def test_a_pipe_that_is_not_as_long_as_said_makes_no_image(self):
        data = os.urandom(MIB)
        said = self.import_fails(data, "--size", "2M")
        self.assertIn("ended after 1048576 of 2097152 bytes", said)
        self.assertIn("--pad", said)
        said = self.import_fails(data + b"x", "--size", "1M")
        self.assertIn("has more than the 1048576 bytes of --size", said)
        self.assertIn("--cut", said)
        self.assertIn("give --size", self.import_fails(data))

    def test_a_file_of_another_size_is_cut_and_padded_only_if_told(self):
        source = self.folder / "source"
        source.write_bytes(os.urandom(2 * MIB))
        for size, word in (("1M", "--cut"), ("3M", "--pad")):
            _, sentence = self.cluster.lunar_fails("import", source, "rbd/a", "--size", size)
            self.assertIn(word, sentence)
            self.assertEqual(self.cluster.lunar("ls", "rbd"), "")
            self.cluster.lunar("import", source, "rbd/a", "--size", size, word)
            back = self.folder / f"back{size}"
            self.cluster.lunar("export", "rbd/a", back)
            length = int(size[0]) * MIB
            self.assertEqual(back.read_bytes(), (source.read_bytes() + bytes(MIB))[:length])
            self.cluster.lunar("rm", "rbd/a")

    def test_import_replaces_no_image(self):
        self.cluster.lunar("create", "rbd/a", "--size", "64M")
        source = self.sparse_file("source", MIB)
        _, sentence = self.cluster.lunar_fails("import", source, "rbd/a")
        self.assertIn("'a' exists", sentence)
        self.assertEqual(self.cluster.lunar_json("info", "rbd/a")["size"], 64 * MIB)

    def test_export_overwrites_no_file(self):
        self.cluster.lunar("create", "rbd/a", "--size", "64M")
        there = self.sparse_file("there", 10)
        _, sentence = self.cluster.lunar_fails("export", "rbd/a", there)
        self.assertIn(str(there), sentence)
        self.assertEqual(there.stat().st_size, 10)


class RenameTest(LunarTestCase):
    def test_the_image_of_an_open_lun_is_renamed_under_load(self):
        self.start_lunar(options={"lunar_header_poll": "100ms"})
        lun = self.new_lun(size="64M", object_size="1M")
        running = self.start_load("verify", lun.url, bytes="64M", seed=43, span="16M")
        self.wait_for_writes(running)
        for name, other in (("image", "other"), ("other", "another"), ("another", "image"), ("image", "last")):
            self.cluster.lunar("mv", f"rbd/{name}", other)
        (report,) = running.finish()
        self.assertEqual(report["verdict"], "clean")
        self.assertEqual(self.cluster.lunar("ls", "rbd").split(), ["last"])
        self.assertIn("client.admin", self.cluster.lunar("status", "rbd/last"))
        self.cluster.lunar("resize", "rbd/last", "--size", "128M")
        wait_until(lambda: self.command(lun.url, "readcap")["bytes"] == 128 * MIB, 60, "the new capacity")


class CApiTest(TestCase):
    def setUp(self):
        super().setUp()
        self.osds = self.start_cluster(num_osds=2)
        path = find_built("liblunar.so")
        self.assertIsNotNone(path, "liblunar.so has not been built")
        self.api = ctypes.CDLL(str(path))
        self.api.lunar_last_error.restype = ctypes.c_char_p
        for name in ("lunar_read", "lunar_write", "lunar_image_list"):
            getattr(self.api, name).restype = ctypes.c_int64
        self.api.lunar_completion_mismatch.restype = ctypes.c_uint64
        self.cluster = ctypes.c_void_p()
        self.call("create", ctypes.byref(self.cluster), str(self.osds.conf).encode(), None)
        self.call("connect", self.cluster)
        self.addCleanup(self.api.lunar_shutdown, self.cluster)

    def call(self, name, *arguments):
        result = getattr(self.api, "lunar_" + name)(*arguments)
        self.assertGreaterEqual(result, 0, f"{name}: {self.api.lunar_last_error()}")
        return result

    def open(self, spec=b"rbd/c", size=8 * MIB):
        self.call("image_create", self.cluster, spec, ctypes.c_uint64(size), ctypes.c_uint64(MIB),
                  ctypes.c_uint64(0), ctypes.c_uint32(0))
        image = ctypes.c_void_p()
        self.call("open", self.cluster, spec, 0, ctypes.byref(image))
        return image

    def wait(self, submit, *arguments):
        """One aio call and its result."""
        completion = ctypes.c_void_p()
        self.call("completion_create", None, None, ctypes.byref(completion))
        self.call(submit, *arguments, completion)
        self.call("completion_wait", completion)
        result = self.api.lunar_completion_result(completion)
        mismatch = self.api.lunar_completion_mismatch(completion)
        self.api.lunar_completion_release(completion)
        return result, mismatch

    def test_write_read_discard_flush(self):
        image = self.open()
        data = os.urandom(3 * MIB)
        at, size = ctypes.c_uint64(MIB // 2), ctypes.c_size_t(len(data))
        self.assertEqual(self.call("write", image, at, size, data), len(data))
        back = ctypes.create_string_buffer(len(data))
        self.assertEqual(self.call("read", image, at, size, back), len(data))
        self.assertEqual(back.raw, data)
        self.call("flush", image)
        self.call("discard", image, at, ctypes.c_uint64(len(data)))
        self.call("read", image, at, size, back)
        self.assertEqual(back.raw, bytes(len(data)))
        self.call("close", image)

    def test_compare_and_write_names_the_difference(self):
        image = self.open()
        at, size = ctypes.c_uint64(4096), ctypes.c_size_t(512)
        zero, one = bytes(512), b"\1" * 512
        answer = self.wait("aio_compare_and_write", image, at, size, zero, one, 0)
        self.assertEqual(answer[0], 0)
        two = b"\1" * 100 + b"\2" * 412
        result, mismatch = self.wait("aio_compare_and_write", image, at, size, two, zero, 0)
        self.assertEqual((result, mismatch), (-84, 100))  # EILSEQ
        self.call("close", image)

    def test_failures_have_a_code_and_a_sentence(self):
        image = ctypes.c_void_p()
        result = self.api.lunar_open(self.cluster, b"rbd/none", 0, ctypes.byref(image))
        self.assertEqual(result, -ENOENT)
        self.assertIn(b"'none'", self.api.lunar_last_error())
        opened = self.open()
        back = ctypes.create_string_buffer(512)
        result = self.api.lunar_read(opened, ctypes.c_uint64(8 * MIB), ctypes.c_size_t(512), back)
        self.assertEqual(result, -EINVAL)
        self.call("close", opened)

    def test_a_write_that_fails_says_why(self):
        image = self.open()
        (who,) = self.osds.lunar_json("lock", "ls", "rbd/c")
        self.osds.lunar("osd", "fence", who["entity"], who["instance"], who["nonce"])
        result = self.api.lunar_write(image, ctypes.c_uint64(0), ctypes.c_size_t(512), bytes(512))
        self.assertEqual(result, -ESHUTDOWN)
        self.assertIn(b"this client was fenced", self.api.lunar_last_error())
        self.api.lunar_close(image)

    def test_registered_buffers_serve_io_until_they_run_out(self):
        image = self.open()
        at, size = ctypes.c_uint64(0), ctypes.c_size_t(MIB)
        source, sink = ctypes.c_void_p(), ctypes.c_void_p()
        for buffer in (source, sink):
            self.call("buffer_alloc", self.cluster, size, ctypes.byref(buffer))
            self.assertEqual(buffer.value % 4096, 0)
        data = os.urandom(MIB)
        ctypes.memmove(source, data, MIB)
        self.call("write", image, at, size, source)
        self.call("read", image, at, size, sink)
        self.assertEqual(ctypes.string_at(sink, MIB), data)
        taken = []
        while True:
            more = ctypes.c_void_p()
            result = self.api.lunar_buffer_alloc(self.cluster, ctypes.c_size_t(16 * MIB),
                                                 ctypes.byref(more))
            if result != 0:
                break
            taken.append(more)
        self.assertEqual(result, -ENOMEM)
        self.assertIn(b"use plain memory", self.api.lunar_last_error())
        for buffer in (*taken, source, sink):
            self.api.lunar_buffer_free(self.cluster, buffer)
        self.call("close", image)

    def test_shrinking_has_to_be_allowed(self):
        self.call("close", self.open())
        half = ctypes.c_uint64(4 * MIB)
        self.assertEqual(self.api.lunar_image_resize(self.cluster, b"rbd/c", half), -EPERM)
        self.assertIn(b"destroys the data at its end", self.api.lunar_last_error())
        self.call("image_resize2", self.cluster, b"rbd/c", half, 1)
        self.call("image_resize", self.cluster, b"rbd/c", ctypes.c_uint64(16 * MIB))

    def test_names_and_removal(self):
        self.call("close", self.open(b"rbd/one"))
        self.call("close", self.open(b"rbd/two"))
        names = ctypes.create_string_buffer(100)
        size = self.call("image_list", self.cluster, b"rbd", names, ctypes.c_size_t(100))
        self.assertEqual(names.raw[:size], b"one\0two\0")
        self.call("image_remove", self.cluster, b"rbd/one")
        size = self.call("image_list", self.cluster, b"rbd", names, ctypes.c_size_t(100))
        self.assertEqual(names.raw[:size], b"two\0")


if __name__ == "__main__":
    restart_preloaded()
    unittest.main(verbosity=2)
