#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The commands of docs/tracing.md, run as they stand there, one after the other in one shell."""

import json
import os
import pathlib
import re
import subprocess
import unittest

import trace_recording
from lunar_e2e import LunarTestCase, build_dir
from lunar_e2e.env import built, child_environment
from trace_recording import PrivateRecording

ROOT = pathlib.Path(__file__).resolve().parents[2]


def commands():
    return re.findall(r"^    \$ (.+)$", (ROOT / "docs" / "tracing.md").read_text(), re.MULTILINE)


class TraceDocsTest(LunarTestCase):
    def run_all(self):
        """[(command, what it printed)]; a command that fails fails the test."""
        (self.folder / "build").mkdir()
        (self.folder / "build" / "release").symlink_to(build_dir())
        os.chmod(self.folder, 0o777)  # a session daemon of somebody else's writes here
        with PrivateRecording(pattern=None) as daemon:
            cluster = self.start_cluster(extra_environment=daemon.program_environment())
            cluster.create_image("rbd/disk1", "64M", object_size="1M")
            script = "set -e\n" + "".join(
                f"printf '\\001%s\\002' {number}\n{{ {command}\n}}\n" for number, command in enumerate(commands()))
            environment = {**child_environment(daemon.environment()), **cluster.environment(),
                           "PATH": f"{built('lunar-trace').parent}:{os.environ['PATH']}"}
            done = subprocess.run(daemon.command("sh", "-c", script), cwd=self.folder, text=True,
                                  env=environment, capture_output=True, timeout=300, check=False)
        parts = done.stdout.split("\001")[1:]
        answers = [(commands()[int(number)], text)
                   for number, _, text in (part.partition("\002") for part in parts)]
        self.assertEqual(done.returncode, 0, f"{answers[-1:]}\n{done.stderr}")
        self.assertEqual(len(answers), len(commands()))
        return answers

    def test_every_command_does_what_the_text_says(self):
        answers = self.run_all()
        self.assertGreater(len(answers), 12)
        texts = dict(answers)

        def text_of(beginning, *also):
            (text,) = [text for command, text in texts.items()
                       if command.startswith(beginning) and all(word in command for word in also)]
            return text

        self.assertIn("100 %", text_of("lunar-trace report my-trace flight"))
        self.assertEqual(json.loads(text_of("lunar-trace report my-trace --json |"))["percent"], 100)
        self.assertIn("op_replied", text_of("lunar-trace report my-trace --io"))
        self.assertIn("<canvas", (self.folder / "my-trace.html").read_text())
        self.assertTrue(json.loads((self.folder / "my-trace.json").read_text())["traceEvents"])
        otlp = (self.folder / "my-trace.otlp.json").read_text().splitlines()
        self.assertLess(max(map(len, otlp)), 1 << 20)
        names = {span["name"] for line in otlp for resource in json.loads(line)["resourceSpans"]
                 for scope in resource["scopeSpans"] for span in scope["spans"]}
        self.assertLessEqual({"write", "op", "attempt", "store write"}, names)
        self.assertEqual(len(text_of("babeltrace2 my-trace --begin", "io_split").splitlines()), 3)
        self.assertGreater(int(text_of("babeltrace2 my-trace --component=filter.utils.trimmer")), 100)
        self.assertIn("Event messages", text_of("babeltrace2 my-trace --component=sink.utils.counter"))
        self.assertIn("Slowest IOs", text_of("lunar-trace report first-second"))
        self.assertIn("100 %", text_of("babeltrace2 --plugin-path"))

    def test_faults_are_told_in_a_sentence(self):
        program = built("lunar-trace")
        (self.folder / "empty").mkdir()
        for words, sentence in ((("report", self.folder / "empty"), "holds no trace"),
                                (("report", self.folder / "nothing"), "is not a folder"),
                                (("report", self.folder / "empty", "--io", "x"), "is no IO id"),
                                (("record", "--output", self.folder, "true"), "not empty")):
            with self.subTest(words=words):
                done = subprocess.run([program, *words], capture_output=True, text=True, check=False,
                                      env=child_environment())
                self.assertEqual(done.returncode, 1)
                self.assertIn(sentence, done.stderr)
                self.assertEqual(len(done.stderr.splitlines()), 1)

    def test_without_a_trace_daemon_or_permission_the_reason_is_said(self):
        words = [built("lunar-trace"), "record", "--output", self.folder / "trace", "true"]
        environment = child_environment({"PATH": str(self.folder)})
        done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("install lttng-tools", done.stderr)

    def test_lost_events_come_first(self):
        with PrivateRecording(pattern=None) as daemon:
            done = subprocess.run(
                daemon.command(built("lunar-trace"), "record", "--output", self.folder / "trace",
                               "--subbuf-size", "4k", "--num-subbuf", "2", "--", built("trace_load"), "20000"),
                env=daemon.environment(), capture_output=True, text=True, timeout=120, check=False)
            self.assertEqual(done.returncode, 0, done.stderr)
        text = trace_recording.report(self.folder / "trace")
        self.assertRegex(text.splitlines()[0], r"^!!! \d+ EVENTS WERE LOST")
        found = trace_recording.report_json(self.folder / "trace")
        self.assertGreater(found["lost"]["events"], 0)
        self.assertLess(found["reconciliation"]["percent"], 100)


if __name__ == "__main__":
    unittest.main(verbosity=2)
