#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks that every header compiles alone, without a build folder.

A header that some .cc file includes before anything else is left to the build, which proves it by
compiling that file; --all takes those too. A header that compiled is remembered in build/cache by a hash of all it
is made of (the compiler, the flags, its text and that of every header of ours it includes), so a second run takes no
time.

  check_headers.py [--all] [--root DIR] [FILE...]    without files: every header git tracks
"""

import argparse
import concurrent.futures
import hashlib
import os
import re
import subprocess
import sys

from tracked import tracked

COMPILER = "g++"
FLAGS = ["-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE", "-x", "c++"]
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"', re.MULTILINE)
ANY_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*[<"]([^>"]+)[>"]', re.MULTILINE)


class Tree:
    """The headers below a root, read once. Not for sharing between threads."""

    def __init__(self, root):
        self.root = root
        self.texts = {}

    def text(self, path):
        if path not in self.texts:
            full = os.path.join(self.root, path)
            self.texts[path] = open(full, encoding="utf-8").read() if os.path.isfile(full) else None
        return self.texts[path]

    def closure(self, path):
        """The header and all of ours it includes, sorted."""
        seen, todo = set(), [path]
        while todo:
            at = todo.pop()
            if at not in seen and self.text(at) is not None:
                seen.add(at)
                todo += INCLUDE.findall(self.text(at))
        return sorted(seen)

    def key(self, path, salt):
        digest = hashlib.sha256(salt.encode())
        for part in self.closure(path):
            digest.update(f"\0{part}\0{self.text(part)}".encode())
        return digest.hexdigest()


def proven_by_build(tree):
    """The headers that are the first #include of a source."""
    firsts = (ANY_INCLUDE.search(tree.text(p) or "") for p in tracked(tree.root, "*.cc"))
    return {first.group(1) for first in firsts if first}


def compile_alone(root, path):
    """The compiler's complaint, empty if there is none."""
    done = subprocess.run(
        [COMPILER, *FLAGS, "-I.", "-include", path, "/dev/null"],
        cwd=root, capture_output=True, text=True,
    )
    return "" if done.returncode == 0 else done.stderr or f"{COMPILER} ended with {done.returncode}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", default=os.path.join(os.path.dirname(__file__), "..", ".."))
    parser.add_argument("--cache", help="default: build/cache/headers below the root")
    parser.add_argument("--all", action="store_true", help="also what the build proves")
    parser.add_argument("files", nargs="*", help="paths from the root; default: all tracked")
    args = parser.parse_args()
    root = os.path.abspath(args.root)
    cache = args.cache or os.path.join(root, "build", "cache", "headers")
    os.makedirs(cache, exist_ok=True)
    version = subprocess.run([COMPILER, "--version"], check=True, capture_output=True, text=True)
    tree, salt = Tree(root), version.stdout + " ".join(FLAGS)
    files = args.files or tracked(root, "*.h")
    if not args.all and not args.files:
        proven = proven_by_build(tree)
        files = [p for p in files if p not in proven]
    wanted = {p: tree.key(p, salt) for p in files if p.endswith(".h") and tree.text(p) is not None}
    todo = [p for p, key in wanted.items() if not os.path.exists(os.path.join(cache, key))]
    bad = 0
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for path, complaint in zip(todo, pool.map(lambda p: compile_alone(root, p), todo)):
            if complaint:
                bad += 1
                print(f"{path}: does not compile alone\n{complaint}")
            else:
                open(os.path.join(cache, wanted[path]), "w").close()
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
