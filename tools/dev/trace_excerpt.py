#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Shows one IO of a trace as a person reads it: how it was split, and one of its ops on both sides.

    babeltrace2 --clock-seconds TRACE | trace_excerpt.py [--process PID=NAME]...

Wants events recorded with the context vpid. Takes the largest SCSI command of the trace, and every
event that carries its io_id, whichever process recorded it.
"""

import argparse
import re
import sys

LINE = re.compile(r"^\[(\d+)\.(\d{9})\] .*?(lunar_\w+):(\w+): (\{.*\})$")
FIELD = re.compile(r'(\w+) = (?:\( "(\w+)" : container = -?\d+ \)|"([^"]*)"|([^\s,}]+))')
HIDDEN = {"cpu_id", "vpid", "procname", "io_id", "image_id", "tid", "attempt", "conn", "epoch"}
HEAD = ("cmd_start", "io_start", "io_split", "extent_path")
TAIL = ("io_done", "cmd_done")
LAYERS_OF_AN_OP = ("lunar_objecter", "lunar_osd")


class Event:
    def __init__(self, match):
        seconds, nanoseconds, self.provider, self.name, payload = match.groups()
        self.time_ns = int(seconds) * 10**9 + int(nanoseconds)
        self.fields = {name: enum or text or value
                       for name, enum, text, value in FIELD.findall(payload)}

    def number(self, field):
        return int(self.fields.get(field, "0"), 0)

    def process(self, names):
        pid = self.fields.get("vpid", "?")
        return names.get(pid, pid)


def read_events(lines):
    return [Event(match) for match in map(LINE.match, lines) if match]


def of_largest_command(events):
    """The events of one IO, in order of time; empty if there is no command."""
    starts = [event for event in events if event.name == "cmd_start"]
    if not starts:
        return []
    io_id = max(starts, key=lambda event: event.number("bytes")).number("io_id")
    return sorted((event for event in events if event.number("io_id") == io_id),
                  key=lambda event: event.time_ns)


def show(event, start_ns, names):
    shown = " ".join(f"{name}={value}" for name, value in event.fields.items() if name not in HIDDEN)
    micros = (event.time_ns - start_ns) / 1000
    return f"{micros:9.0f}  {event.process(names):7} {event.provider + ':' + event.name:27} {shown}"


def excerpt(io, names):
    """Lines of text. ValueError if the trace does not join the two sides."""
    submits = [event for event in io if event.name == "op_submit"]
    if not submits:
        raise ValueError("no object op of that command is in the trace")
    tid = submits[0].number("tid")
    op = [event for event in io
          if event.number("tid") == tid and event.provider in LAYERS_OF_AN_OP]
    if not any(event.provider == "lunar_osd" for event in op):
        raise ValueError("no object server recorded anything with that io_id")
    start_ns = io[0].time_ns
    extents = sum(event.name == "extent_path" for event in io)
    lines = [f"       us  process event{'':22} ({len(io)} events have io_id "
             f"{io[0].number('io_id'):#x})"]
    lines += [show(event, start_ns, names) for event in io if event.name in HEAD]
    lines += [f"           - the op of extent 0 (tid {tid}); {extents - 1} more went the same way"
              if extents > 1 else f"           - its op (tid {tid})"]
    lines += [show(event, start_ns, names) for event in op]
    lines += ["           - and back"]
    lines += [show(event, start_ns, names) for event in io if event.name in TAIL]
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--process", action="append", default=[], metavar="PID=NAME")
    options = parser.parse_args()
    names = dict(pair.split("=", 1) for pair in options.process)
    io = of_largest_command(read_events(sys.stdin))
    if not io:
        print("trace_excerpt.py: the trace has no SCSI command", file=sys.stderr)
        return 1
    try:
        print("\n".join(excerpt(io, names)))
    except ValueError as error:
        print(f"trace_excerpt.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
