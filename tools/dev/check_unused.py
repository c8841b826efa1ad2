#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Finds what the product declares and does not use; a use in tests alone is none.

  undefined   functions that a header declares and no file defines
  functions   functions of headers that nothing calls
  counters    members PerfCounter, PerfGauge, PerfTimeAverage, PerfHistogram that nothing counts with
  constants   constants (kName) and enumerators that nothing names
  options     rows of common/options.cc that nobody reads

It reads text, not syntax, and goes by names: two things of one name hide each other. What it prints is sure, but for
ALLOWED, which says why a thing stays; a row of it that nothing needs any more is a finding too.

  check_unused.py [--root DIR] [--only KIND]
"""

import argparse
import collections
import os
import re
import sys

from check_coroutines import blank_comments_and_strings
from check_names import TYPE, in_product, line_of
from tracked import tracked

KINDS = ("undefined", "functions", "counters", "constants", "options")
OPTIONS = "common/options.cc"
OWN_PATH = "tools/dev/check_unused.py"

# (path pattern, name pattern): why it is there although nothing of ours uses it.
ALLOWED = [
    (r".*", r"await_(ready|suspend|resume)|initial_suspend|final_suspend|get_return_object|return_value|return_void"
            r"|unhandled_exception", "the compiler calls it"),
    (r"msgr/rdma/.*", r"rdma_counters|bytes_registered|free_bytes|has_grant|outstanding",
     "tests see by it what leaves no other trace"),
    (r"msgr/(event_center|session/\w+|wire/frame_decoder)\.h",
     r"run_until_idle|held_bytes|(queued|unacked)_count|is_at_boundary",
     "tests see by it what leaves no other trace"),
    (r"msgr/wire/frame\.h", r"check_data_crc", "tests check sealed frames by it; the decoder sums up what arrives"),
    (r"msgr/message\.h", r"k(Low|Highest)", "the scale of priorities is Ceph's, and whole"),
    (r"tracing/analysis/event\.h", r"k\w+", "each event of the catalogue has a kind, used or not"),
    (OPTIONS, r"ms_async_rdma_type", "it accepts one word, and refuses others with the reason"),
    (r"common/host\.h|msgr/loopback/loopback_stack\.h", r"set_simulated_host|kill", "the cluster simulator's"),
    (r"common/visible_text\.h", r"format", "an attribute"),
    (r"common/log\.h", r"log_levels", "tests look at what a change of debug_* does"),
    (r"common/log\.h", r"k(Auth|Tools)", "each has its option debug_*, as in Ceph"),
]

IDENTIFIER = re.compile(r"[A-Za-z_]\w*")
QUALIFIERS = re.compile(
    r"\s*(?:const\b|noexcept\b(?:\s*\([^()]*\))?|override\b|final\b|mutable\b|&&?|->\s*[\w:<>,\s*&]+|"
    r"[A-Z][A-Z_]+\s*\((?:[^()]|\([^()]*\))*\)|[A-Z]+_[A-Z_]+\b)")
OWNER = re.compile(r"\b(\w+)\s*(?:<[^;(){}]*>)?\s*::\s*$")
NOT_NAMES = {"if", "while", "for", "switch", "return", "sizeof", "alignof", "decltype", "noexcept", "catch",
             "defined", "static_assert", "alignas", "operator", "explicit", "co_await", "co_return", "requires"}


BRACKETS = {"(": re.compile(r"[()]"), "{": re.compile(r"[{}]"), "[": re.compile(r"[\[\]]")}
SPACE = re.compile(r"\s*")


def matching(text, at):
    """The index of the bracket that closes the one at `at`, or len(text)."""
    depth = 0
    for match in BRACKETS[text[at]].finditer(text, at):
        depth += 1 if match.group() == text[at] else -1
        if depth == 0:
            return match.start()
    return len(text)


def after_qualifiers(text, at):
    while True:
        match = QUALIFIERS.match(text, at)
        if not match or match.end() == at:
            break
        at = match.end()
    return SPACE.match(text, at).end()


def definitions(text):
    """Yields (name, its class or "") of functions that this text defines."""
    for match in re.finditer(r"(~?\b[a-zA-Z_]\w*)\s*\(", text):
        name = match.group(1)
        if name in NOT_NAMES:
            continue
        end = matching(text, match.end() - 1)
        at = after_qualifiers(text, end + 1)
        tail = text[at : at + 2]
        makes = name[0].isupper() and tail[:1] == ":" and tail != "::"  # a constructor with initialisers
        if tail[:1] == "{" or makes or re.match(r"=\s*(default|delete)", text[at : at + 12]):
            owner = OWNER.search(text[max(0, match.start() - 80) : match.start()])
            yield name, owner.group(1) if owner else ""


def functions_of(text):
    """Yields (name, class, index, is defined here, is virtual) for each function a header declares."""
    def scan(begin, end, owner):
        start = i = begin
        while i < end:
            c = text[i]
            if c == "(" or c == "[":
                i = matching(text, i)
            elif c == ";":
                yield from one(start, i, owner, False)
                start = i + 1
            elif c == "{":
                close = matching(text, i)
                head = text[start:i]
                kind = TYPE.search(head + "{")
                if re.search(r"\bnamespace\b[^;{}()]*$|\bextern\s+\"[^\"]*\"\s*$", head):
                    yield from scan(i + 1, close, owner)
                elif kind and not kind.group("key").startswith("enum") and kind.end() == len(head) + 1:
                    yield from scan(i + 1, close, kind.group("name").split("::")[-1])
                else:
                    yield from one(start, i, owner, True)
                start = close + 1
                i = close
            elif c == ":" and re.search(r"\b(public|private|protected)\s*$", text[start:i]):
                start = i + 1
            i += 1

    def one(begin, end, owner, has_body):
        head = text[begin:end]
        if re.match(r"\s*(using|typedef|friend|static_assert|#)", head) or "operator" in head:
            return
        depth = 0
        for match in re.finditer(r"[<>()=]|(~?[A-Za-z_]\w*)\s*(?=\()", head):
            word = match.group(1)
            if match.group() == "<":
                depth += 1
            elif match.group() == ">":
                depth -= 1
            elif match.group() == "=" and depth <= 0:
                return
            elif word and depth <= 0:
                if re.match(r"\s*\*", head[match.end() + 1 :]):  # a pointer to a function
                    return
                if word in NOT_NAMES or word.isupper():
                    if word == "requires" or word.isupper():
                        continue
                    return
                close = matching(head, match.end())
                tail = head[close + 1 :]
                made = has_body or re.search(r"=\s*(0|default|delete)\s*$", tail)
                # `= 0` and `override`: the name is called through another class.
                virtual = bool(re.search(r"\bvirtual\b", head) or re.search(r"\boverride\b|\bfinal\b", tail))
                yield word, owner, begin + match.start(1), bool(made), virtual
                return
            elif match.group() == "(" and depth <= 0:
                return

    text = re.sub(r"^[ \t]*#[^\n]*(?:\\\n[^\n]*)*", lambda m: re.sub(r"[^\n]", " ", m.group()), text, flags=re.M)
    yield from scan(0, len(text), "")


class Sources:
    """The product's text, without comments and strings, counted once."""

    def __init__(self, files):
        self.raw = {path: text for path, text in files.items() if in_product(path)}
        self.text = {path: blank_comments_and_strings(text) for path, text in self.raw.items()}
        self.names = collections.Counter()
        self.defined = collections.Counter()
        self.defined_in = set()
        for text in self.text.values():
            self.names.update(IDENTIFIER.findall(text))
            for name, owner in definitions(text):
                self.defined[name] += 1
                self.defined_in.add((owner, name))

    def headers(self):
        return {path: text for path, text in self.text.items() if path.endswith(".h")}


def check_functions(sources):
    """Yields (kind, path, line, name, message)."""
    declared, seen = collections.Counter(), []
    for path, text in sources.headers().items():
        for name, owner, at, is_defined, is_virtual in functions_of(text):
            seen.append((path, text, name, owner, at, is_defined, is_virtual))
            if not is_defined or name not in sources.defined:
                declared[name] += 1
    for path, text, name, owner, at, is_defined, is_virtual in seen:
        plain = name.lstrip("~")
        if name != plain and is_defined:
            continue
        where = line_of(text, at)
        if not is_defined and (owner, name) not in sources.defined_in and not (
                not owner and any(key[1] == name for key in sources.defined_in)):
            yield ("undefined", path, where, name,
                   f"{owner + '::' if owner else ''}{name}() is declared and never defined")
        elif plain in (owner, name[1:]) or is_virtual:
            continue
        elif sources.names[name] <= declared[name] + sources.defined[name]:
            yield ("functions", path, where, name,
                   f"{owner + '::' if owner else ''}{name}() is used by nothing of the product")


COUNTER = re.compile(r"\bPerf(?:Counter|Gauge|TimeAverage|Histogram)\s*[&*]\s*(?P<name>\w+)\s*(?P<end>[;=])")


# A use of a member: through an object, or followed by one of its own. A name that ends in _ is used wherever it
# stands but in its declaration and its initialiser.
MEMBER_USE = re.compile(r"(?:\.|->|&\w+::)\s*([A-Za-z_]\w*)|\b([A-Za-z_]\w*)(?=\s*(?:\.|->))")
OWN_USE = re.compile(r"(?<![&*])(?<![&*] )\b(\w+_)\b(?!\s*\()")


def check_counters(sources):
    used = set()
    for text in sources.text.values():
        for match in MEMBER_USE.finditer(text):
            used.update(match.groups())
        used.update(OWN_USE.findall(text))
    for path, text in sources.headers().items():
        for match in COUNTER.finditer(text):
            name = match.group("name")
            if name not in used:
                yield "counters", path, line_of(text, match.start()), name, f"nothing counts with {name}"


CONSTANT = re.compile(
    r"\b(?:constexpr|const|constinit)\s+[\w:<>,\s*&]*?\b(?P<name>k[A-Z]\w*)\s*(?:\[[^\]]*\]\s*)?[={(]"
)
ENUM = re.compile(r"\benum\b(?:\s+(?:class|struct))?\s*\w*\s*(?::\s*[\w:\s]+)?\{")


def check_constants(sources):
    declared, places = collections.Counter(), []
    for path, text in sources.text.items():
        for match in CONSTANT.finditer(text):
            declared[match.group("name")] += 1
            places.append((path, match.group("name"), line_of(text, match.start("name"))))
        for match in ENUM.finditer(text):
            begin = match.end()
            body = text[begin : matching(text, begin - 1)]
            for item in re.finditer(r"(?:^|,)\s*(\w+)\s*(?:=[^,]*)?(?=,|\s*$)", body):
                declared[item.group(1)] += 1
                places.append((path, item.group(1), line_of(text, begin + item.start(1))))
    for path, name, line in places:
        if sources.names[name] <= declared[name]:
            yield "constants", path, line, name, f"{name} is named by nothing of the product"


ROW = re.compile(r"^[ \t]*\{\s*\"([a-z]\w*)\"\s*,\s*k[A-Z]", re.MULTILINE)


def check_options(sources):
    table = sources.raw.get(OPTIONS, "")
    others = "".join(text for path, text in sources.raw.items() if path != OPTIONS)
    for match in ROW.finditer(table):
        name = match.group(1)
        is_level = name.startswith("debug_") and '"debug_"' in others
        if f'"{name}"' not in others and f"${{{name}}}" not in table and not is_level:
            yield "options", OPTIONS, line_of(table, match.start(1)), name, f"option {name} is read by nobody"


def check(files, only=None, allowed=ALLOWED):
    """Yields (path, line, message); `files` is {path: text}. With `only`, rows of `allowed` are not checked."""
    sources = Sources(files)
    needed = set()
    for rule in (check_functions, check_counters, check_constants, check_options):
        for kind, path, line, name, message in rule(sources):
            rows = [row for row in allowed if re.fullmatch(row[0], path) and re.fullmatch(row[1], name)]
            needed.update(rows)
            if not rows and only in (None, kind):
                yield path, line, message
    for row in allowed:
        if only is None and row not in needed:
            yield OWN_PATH, 1, f"the row ({row[0]}, {row[1]}) of ALLOWED matches nothing: remove it"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", default=os.path.join(os.path.dirname(__file__), "..", ".."))
    parser.add_argument("--only", choices=KINDS)
    args = parser.parse_args()
    files = {}
    for path in tracked(args.root, "*.h", "*.c", "*.cc"):
        full = os.path.join(args.root, path)
        if in_product(path) and os.path.isfile(full):
            with open(full, encoding="utf-8") as source:
                files[path] = source.read()
    bad = 0
    for path, line, message in check(files, args.only):
        print(f"{path}:{line}: {message}")
        bad += 1
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
