#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The files of the project: what git tracks; of a tree without git's folder (an archive), all but what a build makes.

  tracked.py [PATTERN...]    their paths from the root, each ended by NUL
"""

import fnmatch
import os
import subprocess
import sys

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
MADE = {".git", "__pycache__", "build"}


def _by_git(root):
    # The checkout may be another user's, as in a container.
    out = subprocess.run(["git", "-c", "safe.directory=*", "-C", root, "ls-files", "-z"], check=True,
                         capture_output=True, text=True).stdout
    return [path for path in out.split("\0") if path]


def _by_walking(root):
    found = []
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(set(folders) - MADE)
        found += [os.path.relpath(os.path.join(folder, name), root) for name in sorted(files)]
    return found


def tracked(root=ROOT, *patterns):
    """Paths from `root` that match one of the patterns ("*" also matches "/"); without patterns all."""
    found = _by_git(root) if os.path.exists(os.path.join(root, ".git")) else _by_walking(root)
    if not found:
        raise SystemExit(f"{root}: no file of the project is here")
    return [path for path in found
            if not patterns or any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)]


if __name__ == "__main__":
    sys.stdout.write("".join(path + "\0" for path in tracked(ROOT, *sys.argv[1:])))
