#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks that every #include of the project's own files follows the arrows of its design.

A folder may include what its arrows reach. A header in the root of a folder is public; one in a
subfolder is private to that folder, except in the rooms of the table that are subfolders themselves
(objecter/protocol/ …). tests/ may include anything.

  check_layers.py [--root DIR] [FILE...]    without files: every source git tracks
"""

import argparse
import os
import re
import sys

from tracked import tracked

# Folder -> folders it may include from, beside itself. Only direct arrows: REACH adds the rest.
ARROWS = {
    "common": [],
    "tracing": [],
    "tracing/analysis": ["tracing", "common"],
    "msgr": ["common", "tracing"],
    "objecter/protocol": ["common", "msgr"],
    "objecter/cluster": ["objecter/protocol", "msgr"],
    "objecter": ["objecter/protocol", "objecter/cluster", "msgr"],
    "gateway": ["objecter"],
    "bstore_plugin": ["gateway"],
    "osd": ["msgr", "objecter/protocol", "objecter/cluster"],
    "packaging": ["common"],
    "tools": ["gateway", "objecter", "msgr", "osd", "bstore_plugin", "tracing/analysis"],
}

# Rooms inside a folder that are libraries of their own, with public headers.
NESTED = [folder for folder in ARROWS if "/" in folder]

# Inside msgr/, the subfolder "" being its root. Its public headers name what a transport is
# (LinkCapabilities, NetworkStack) and nothing else below. A .cc file of a room may name every room
# below it: the stack table lives in the root, and is the only place that knows posix and rdma;
# rdma's stack is made of all the rooms of rdma/, of which each knows only those above its line.
MSGR_ARROWS = {
    "": ["net"],
    "event": [""],
    "wire": [""],
    "net": ["", "event", "wire"],
    "loopback": ["", "event", "wire", "net"],
    "inject": ["", "event", "wire", "net"],
    "posix": ["", "event", "wire", "net"],
    "memory": [""],
    "local": ["", "event", "wire", "net", "posix", "memory"],  # its stack has TCP inside
    "rdma": ["", "event", "wire", "net", "posix"],  # its stack has TCP inside
    "rdma/queue": ["", "wire", "rdma"],
    "rdma/device": ["", "rdma"],
    "rdma/memory": ["", "memory", "rdma", "rdma/queue", "rdma/device"],
    "rdma/link": ["", "wire", "net", "rdma", "rdma/queue", "rdma/device", "rdma/memory"],
    "rdma/setup": ["", "net", "rdma", "rdma/device", "rdma/memory", "rdma/link"],
    "tls": ["", "event", "net"],
    "session": ["", "event", "wire", "net", "tls"],
}

# Inside osd/, its root being what a store is (object_store.h).
OSD_ARROWS = {
    "": [],
    "store": [""],
    "rados": ["", "store"],
    "rados/module": ["rados"],
    "records": [""],
    "ops": ["", "records"],
    "clients": ["", "records", "ops"],
    "watch": ["", "records"],
    "access": [],
    "map": ["", "records", "access"],
    "service": ["", "records", "ops", "clients", "watch", "access", "map"],
    "server": ["", "records", "ops", "clients", "watch", "access", "map", "service"],
    "daemon": ["", "store", "rados", "map", "service", "server"],
}

SOURCE_SUFFIXES = (".h", ".c", ".cc", ".inc")
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.MULTILINE)


def reachable(folder):
    """The folders that `folder` may include from, itself among them."""
    seen, todo = set(), [folder]
    while todo:
        at = todo.pop()
        if at not in seen:
            seen.add(at)
            todo += ARROWS[at]
    return seen


REACH = {folder: reachable(folder) for folder in ARROWS}


def folder_of(path):
    """The room of the table that a file lives in, or None for files outside the tree's folders."""
    for room in NESTED:
        if path.startswith(room + "/"):
            return room
    first = path.split("/", 1)[0]
    return first if first in ARROWS or first == "tests" else None


def subfolder_of(path, folder):
    rest = path[len(folder) + 1 :]
    return rest.rsplit("/", 1)[0] if "/" in rest else ""


def check_include(includer, included):
    """Why `includer` may not include `included` (both paths from the root), or None."""
    source, target = folder_of(includer), folder_of(included)
    if source in (None, "tests"):
        return None
    if target is None or target == "tests":
        return "nothing outside tests/ may include it"
    if target not in REACH[source]:
        return f"{source}/ may not include from {target}/"
    inside = source == target or {source, target} == {"objecter", "objecter/protocol"}
    if not inside and subfolder_of(included, target):
        return f"it is private to {target}/"
    if source == target == "msgr":
        return check_msgr(includer, included)
    if source == target == "osd":
        return check_osd(includer, included)
    return None


def check_msgr(includer, included):
    source, target = subfolder_of(includer, "msgr"), subfolder_of(included, "msgr")
    for room in (source, target):
        if room not in MSGR_ARROWS:
            return f"msgr/{room}/ is not in the table of check_layers.py"
    below = target.startswith(source + "/") or source == ""
    if source == target or (below and includer.endswith(".cc")):
        return None
    if target not in MSGR_ARROWS[source]:
        return f"msgr/{source or ' (root headers)'} may not include from msgr/{target or ' (root)'}"
    return None


def check_osd(includer, included):
    source, target = subfolder_of(includer, "osd"), subfolder_of(included, "osd")
    for room in (source, target):
        if room not in OSD_ARROWS:
            return f"osd/{room}/ is not in the table of check_layers.py"
    if source != target and target not in OSD_ARROWS[source]:
        return f"osd/{source or ' (root)'} may not include from osd/{target or ' (root)'}"
    return None


def check_text(path, text, exists):
    """Yields (line, message) for each bad #include of one file. `exists` tells if a path is there."""
    for match in INCLUDE.finditer(text):
        bracket, name = match.groups()
        line = text.count("\n", 0, match.start()) + 1
        if bracket == "<":
            if folder_of(name) and exists(name):
                yield line, f'<{name}> is ours: write "{name}"'
            continue
        if not exists(name):
            beside = os.path.normpath(os.path.join(os.path.dirname(path), name))
            if exists(beside):
                yield line, f'"{name}": write it from the root, "{beside}"'
            elif not path.startswith("bstore_plugin/"):
                yield line, f'"{name}" is not a file of the tree; other headers go in <>'
            elif not path.endswith(".c"):
                yield line, f'"{name}" is not a file of the tree; only C files may see tgt'
            continue
        why = check_include(path, name)
        if why:
            yield line, f'"{name}": {why}'


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", default=os.path.join(os.path.dirname(__file__), "..", ".."))
    parser.add_argument("files", nargs="*", help="paths from the root; default: all tracked")
    args = parser.parse_args()
    files = args.files or [path for path in tracked(args.root) if path.endswith(SOURCE_SUFFIXES)]
    bad = 0
    for path in files:
        full = os.path.join(args.root, path)
        if not path.endswith(SOURCE_SUFFIXES) or not os.path.isfile(full):
            continue
        with open(full, encoding="utf-8") as source:
            text = source.read()
        exists = lambda name: os.path.isfile(os.path.join(args.root, name))
        for line, message in check_text(path, text, exists):
            print(f"{path}:{line}: {message}")
            bad += 1
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
