# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every event is recorded with its fields: from a program, and from a plugin loaded as tgtd does it.

usage: record_test.py FOLDER-OF-THE-BUILT-PROGRAMS
"""

import os
import pathlib
import signal
import subprocess
import sys
import unittest

import private_lttng

EXPECTED = """\
lunar_scsi:cmd_start: { io_id = 0x100000001, lun = "rbd/disk", opcode = 0x8A, lba = 2048, blocks = 16384, bytes = 8388608 }
lunar_scsi:cmd_abort: { io_id = 0x100000001, opcode = 0x8A }
lunar_scsi:cmd_done: { io_id = 0x100000001, status = 0x2, sense_key = 0xB, asc_ascq = 0x4B00 }
lunar_scsi:cmd_returned: { io_id = 0x100000001 }
lunar_gateway:io_start: { io_id = 0x100000001, image_id = 0x1A, type = ( "write" : container = 1 ), offset = 1048576, length = 8388608 }
lunar_gateway:io_split: { io_id = 0x100000001, reason = ( "object_boundary" : container = 1 ), extents = 3, offset = 1048576, length = 8388608 }
lunar_gateway:extent_path: { io_id = 0x100000001, index = 2, object_no = 7, offset = 0, length = 1048576, path = ( "inline" : container = 0 ), reason = ( "link_lacks" : container = 7 ) }
lunar_gateway:extent_submit: { io_id = 0x100000001, tid = 42, object_no = 7, offset = 0, length = 1048576 }
lunar_gateway:io_done: { io_id = 0x100000001, error = -5, bytes = 0 }
lunar_objecter:op_submit: { io_id = 0x100000001, tid = 42, attempt = 1, pool = 3, pg = 17, osd = -1, epoch = 9, bytes = 4096 }
lunar_objecter:op_wait: { io_id = 0x100000001, tid = 42, attempt = 1, reason = ( "osd_down" : container = 1 ) }
lunar_objecter:op_resend: { io_id = 0x100000001, tid = 42, attempt = 1, reason = ( "session_reset" : container = 1 ), osd = 2, epoch = 9 }
lunar_objecter:op_delivery: { io_id = 0x100000001, tid = 42, attempt = 1, path = ( "inline" : container = 0 ), reason = ( "retry_inline" : container = 10 ), bytes = 4096 }
lunar_objecter:op_reply: { io_id = 0x100000001, tid = 42, attempt = 1, osd = 2, result = -110, bytes_inline = 512, bytes_one_sided = 65536 }
lunar_objecter:op_cancel: { io_id = 0x100000001, tid = 42, reason = ( "abort" : container = 1 ) }
lunar_objecter:op_done: { io_id = 0x100000001, tid = 42, result = -125 }
lunar_objecter:map_received: { epoch = 10 }
lunar_msgr:frame_queued: { io_id = 0x100000001, tid = 42, conn = 0xC0, type = 5 }
lunar_msgr:frame_sent: { io_id = 0x100000001, tid = 42, conn = 0xC0, seq = 77, type = 5, front = 120, data = 4096 }
lunar_msgr:frame_received: { io_id = 0x100000001, tid = 42, conn = 0xC0, seq = 78, type = 6, front = 64, data = 0 }
lunar_msgr:link_up: { conn = 0xC0, peer = "[::1]:6800", generation = 4 }
lunar_msgr:link_down: { conn = 0xC0, error = -104 }
lunar_msgr:session_open: { conn = 0xC0, peer = "osd.2" }
lunar_msgr:session_replay: { conn = 0xC0, messages = 12 }
lunar_msgr:session_reset: { conn = 0xC0, error = -103 }
lunar_msgr:credit_wait: { qp = 17, bytes = 65536 }
lunar_msgr:credit_resume: { qp = 17, wait_ns = 40000 }
lunar_msgr:keepalive: { conn = 0xC0, offset_ns = -1500, rtt_ns = 250000 }
lunar_osd:op_received: { io_id = 0x100000001, tid = 42, attempt = 1, client = "client.gw", pool = 3, pg = 17, bytes = 4096 }
lunar_osd:op_queued: { io_id = 0x100000001, tid = 42, ahead = 2 }
lunar_osd:op_start: { io_id = 0x100000001, tid = 42 }
lunar_osd:store_submit: { io_id = 0x100000001, tid = 42, kind = ( "vector" : container = 10 ), bytes = 4096 }
lunar_osd:store_done: { io_id = 0x100000001, tid = 42, error = -28 }
lunar_osd:pull_start: { io_id = 0x100000001, tid = 42, attempt = 1, fragment = 1, offset = 524288, bytes = 131072 }
lunar_osd:pull_done: { io_id = 0x100000001, tid = 42, attempt = 1, fragment = 1, bytes = 131072, result = 0 }
lunar_osd:push_start: { io_id = 0x100000001, tid = 42, attempt = 1, fragment = 0, offset = 0, bytes = 524288 }
lunar_osd:push_done: { io_id = 0x100000001, tid = 42, attempt = 1, fragment = 0, bytes = 524288, result = -5 }
lunar_osd:op_replied: { io_id = 0x100000001, tid = 42, result = -28, bytes = 0 }
lunar_osd:op_cancelled: { io_id = 0x100000001, tid = 42 }
""".splitlines()

RUN_SECONDS = 90
# Of one recording: its daemon begins and ends, and five commands.
RECORDING_SECONDS = private_lttng.START_SECONDS + 6 * private_lttng.COMMAND_SECONDS

# Prints whether somebody connects to where root's session daemon would listen. In a mount namespace.
ROOTS_DAEMON = """
import os, private_lttng, socket
os.mkdir(private_lttng.ROOTS_PLACE)
listener = socket.socket(socket.AF_UNIX)
listener.bind(private_lttng.ROOTS_PLACE + "/sessiond-notification")
listener.listen()
listener.setblocking(False)
with private_lttng.PrivateRecording() as recording:
    recording.stop()
try:
    listener.accept()
    print("connected")
except BlockingIOError:
    print("alone")
"""

# Prints what a private daemon sees where root's makes its sockets, when root's comes later than it.
LATE_ROOTS_DAEMON = """
import os, pathlib, private_lttng
with private_lttng.PrivateRecording() as recording:
    os.makedirs(private_lttng.ROOTS_PLACE, exist_ok=True)
    pathlib.Path(private_lttng.ROOTS_PLACE, "sessiond-notification").touch()
    print(os.listdir(f"/proc/{recording.daemon.pid}/root" + private_lttng.ROOTS_PLACE))
"""


def without_context(line):
    """Provider, event and payload of a line of babeltrace2: no time, host or CPU."""
    head, cpu, payload = line.split("{ ", 2)
    assert cpu.startswith("cpu_id"), line
    name = next(word for word in head.split() if word.startswith("lunar_"))
    return f"{name} {{ {payload}"


class RecordTest(unittest.TestCase):
    maxDiff = None
    built = None

    def record(self, command, register_milliseconds):
        with private_lttng.PrivateRecording() as recording:
            done = subprocess.run(command, env=recording.environment(register_milliseconds),
                                  capture_output=True, text=True, timeout=RUN_SECONDS, check=False)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            recording.stop()
            return [without_context(line) for line in recording.lines()]

    def test_a_program_records_every_event(self):
        events = self.record([self.built / "trace_emitter"], private_lttng.REGISTER_MILLISECONDS)
        self.assertEqual(events, EXPECTED)

    def test_a_plugin_of_a_plain_c_host_records_every_event(self):
        # LTTNG_UST_REGISTER_TIMEOUT=0 is how tgtd is run: dlopen() must not wait for a daemon.
        with private_lttng.PrivateRecording() as recording:
            command = [self.built / "trace_plugin_host", self.built / "libtrace_plugin.so"]
            with subprocess.Popen(command, env=recording.environment(0), stdin=subprocess.PIPE,
                                  stdout=subprocess.PIPE, text=True) as host:
                try:
                    self.assertEqual(host.stdout.readline(), "enabled\n")
                    # Known to the daemon by now: it waits for the program's answer to both.
                    recording.restart()
                    host.communicate("go\n", timeout=RUN_SECONDS)
                finally:
                    host.kill()
            self.assertEqual(host.returncode, 0)
            recording.stop()
            events = [without_context(line) for line in recording.lines()]
        self.assertEqual(events, EXPECTED)

    def output_with_own_run(self, program):
        """What a program in Python prints as root, with a /run of its own."""
        words = ["unshare", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"]), "--mount",
                 "--propagation", "private", "sh", "-c", 'mount -t tmpfs tmpfs /run && exec "$@"', "sh",
                 sys.executable, "-B", "-c", program]
        with subprocess.Popen(words, env={**os.environ, "PYTHONPATH": str(pathlib.Path(__file__).resolve().parent)},
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              start_new_session=True) as running:
            try:
                said, errors = running.communicate(timeout=RECORDING_SECONDS)
            except BaseException:
                os.killpg(running.pid, signal.SIGKILL)  # with its session daemon
                raise
        self.assertEqual(running.returncode, 0, errors)
        return said

    # Another user's daemon cannot depend on root's: it may not connect.
    def test_a_private_daemon_does_not_depend_on_that_of_root(self):
        self.assertEqual(self.output_with_own_run(ROOTS_DAEMON), "alone\n")

    def test_a_private_daemon_does_not_see_that_of_root_if_it_comes_later(self):
        self.assertEqual(self.output_with_own_run(LATE_ROOTS_DAEMON), "[]\n")

    def test_a_program_runs_where_nobody_records(self):
        with private_lttng.PrivateRecording(pattern="nothing_like_this") as recording:
            done = subprocess.run([self.built / "trace_emitter"], env=recording.environment(),
                                  timeout=RUN_SECONDS, check=False)
            self.assertEqual(done.returncode, 0)
            recording.stop()


if __name__ == "__main__":
    RecordTest.built = pathlib.Path(sys.argv.pop(1)).resolve()
    unittest.main(verbosity=2)
