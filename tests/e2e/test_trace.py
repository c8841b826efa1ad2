#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""LTTng records of one IO, from the plugin as tgtd loads it to the servers."""

import collections
import pathlib
import re
import sys
import unittest

from lunar_e2e import LunarTestCase

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "tracing"))
from private_lttng import PrivateRecording  # noqa: E402 (needs the path)

MIB = 1 << 20
WRITE_16 = 0x8A

Event = collections.namedtuple("Event", "name fields")


def parse(line):
    """Provider:event and its fields, numbers as int and enumerators as their names."""
    head, _, payload = line.split("{ ", 2)
    name = next(word for word in head.split() if word.startswith("lunar_")).rstrip(":")
    fields = {}
    for key, label, text, number in re.findall(
            r'(\w+) = (?:\( "(\w+)" : container = \d+ \)|"([^"]*)"|(-?\w+))', payload):
        fields[key] = label or text if not number else int(number, 0)
    return Event(name, fields)


class TraceTest(LunarTestCase):
    def record(self, lba, blocks):
        """The events of one WRITE, by its io_id."""
        with PrivateRecording() as recording:
            environment = {key: value for key, value in recording.environment().items()
                           if key in ("LTTNG_HOME", "HOME", "LTTNG_UST_REGISTER_TIMEOUT")}
            self.start_lunar(extra_environment=environment)
            lun = self.new_lun(size="64M", object_size="1M")
            source = self.folder / "source"
            source.write_bytes(b"\x5c" * (blocks * 512))
            self.assert_good(self.command(lun.url, "write", **{"in": source}, lba=lba,
                                          blocks=blocks))
            self.osds = self.cluster.osds_of("rbd/image", range(2, 11))
            self.tgtd.stop()
            self.cluster.stop()
            recording.stop()
            events = [parse(line) for line in recording.lines()]
        (start,) = [event.fields for event in events
                    if event.name == "lunar_scsi:cmd_start" and event.fields["opcode"] == WRITE_16]
        self.assertEqual((start["lba"], start["blocks"]), (lba, blocks))
        self.assertNotEqual(start["io_id"], 0)
        mine = collections.defaultdict(list)
        for event in events:
            if event.fields.get("io_id") == start["io_id"]:
                mine[event.name].append(event.fields)
        return mine

    def test_one_large_write_from_command_to_stores(self):
        lba = 2 * MIB // 512 + 3  # in the middle of an object: nine of them for 8 MiB
        events = self.record(lba, 8 * MIB // 512)

        (io,) = events["lunar_gateway:io_start"]
        self.assertEqual((io["type"], io["offset"], io["length"]), ("write", lba * 512, 8 * MIB))
        (split,) = events["lunar_gateway:io_split"]
        self.assertEqual((split["reason"], split["extents"]), ("object_boundary", 9))
        paths = sorted(events["lunar_gateway:extent_path"], key=lambda each: each["index"])
        self.assertEqual([each["index"] for each in paths], list(range(9)))
        self.assertEqual([each["object_no"] for each in paths], list(range(2, 11)))
        self.assertEqual(sum(each["length"] for each in paths), 8 * MIB)
        self.assertEqual({each["path"] for each in paths}, {"inline"})

        tids = sorted(each["tid"] for each in events["lunar_gateway:extent_submit"])
        self.assertEqual(len(set(tids)), 9)
        servers = {each["osd"] for each in events["lunar_objecter:op_submit"]}
        self.assertEqual(servers, self.osds)
        for name in ("lunar_objecter:op_submit", "lunar_objecter:op_reply",
                     "lunar_objecter:op_done", "lunar_osd:op_received", "lunar_osd:op_start",
                     "lunar_osd:op_replied"):
            self.assertEqual(sorted(each["tid"] for each in events[name]), tids, name)
        # Each op is one frame there and one back, seen at both ends.
        for name in ("lunar_msgr:frame_sent", "lunar_msgr:frame_received"):
            seen = sorted(each["tid"] for each in events[name])
            self.assertEqual(seen, sorted(tids * 2), name)
        self.assertEqual(sum(each["data"] for each in events["lunar_msgr:frame_sent"]), 8 * MIB)
        self.assertTrue(events["lunar_osd:store_submit"])
        self.assertEqual({each["error"] for each in events["lunar_osd:store_done"]}, {0})

        (io_done,) = events["lunar_gateway:io_done"]
        self.assertEqual((io_done["error"], io_done["bytes"]), (0, 8 * MIB))
        (done,) = events["lunar_scsi:cmd_done"]
        self.assertEqual(done["status"], 0)


if __name__ == "__main__":
    unittest.main(verbosity=2)
