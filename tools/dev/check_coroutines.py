#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks the coroutine rules that keep g++ 12 from miscompiling (style rules 1, 3 and 7).

  1  co_await is the whole initialiser of a named local, or a statement by itself: never inside a
     condition, a ?:, an argument, a return expression, nor with a lambda as its operand.
  3  a coroutine is a named function: never a lambda; no parameter binds to a temporary.
  7  coroutines live in the folders of ALLOWED_FOLDERS and in ALLOWED_FILES, nowhere else.

It reads text, not syntax: enough for code that follows the rules, and strict where it is unsure.

  check_coroutines.py [--root DIR] [FILE...]    without files: every C++ source git tracks
"""

import argparse
import os
import re
import sys

from tracked import tracked

KEYWORD = re.compile(r"\bco_(await|return|yield)\b")
ALLOWED_FOLDERS = (
    "msgr/session/", "objecter/cluster/", "gateway/metadata/", "gateway/scrub/", "osd/daemon/", "osd/server/",
    "osd/service/command_service.",  # not op_service: the path of an op
    "tests/",
)
ALLOWED_FILES = ("msgr/awaiters.h", "gateway/c_api/cluster.cc")

# What may stand before co_await in its statement: nothing, or `type name =`.
DECLARATION = re.compile(r"(?:const\s+)?[A-Za-z_][\w:]*(?:\s*<.*>)?(?:\s*[&*]+\s*|\s+)[A-Za-z_]\w*\s*=$", re.S)
LABEL = re.compile(r"^(?:case\b[^:]*(?:::[^:]*)*|default)\s*:(?!:)\s*")
LAMBDA = re.compile(
    r"(?<![\w\])])\[[^\[\]]*\]\s*(?:\([^()]*(?:\([^()]*\)[^()]*)*\)\s*)?"
    r"(?:mutable\s*|noexcept\s*|->\s*[\w:<>, *&]+\s*)*\{"
)
FUNCTION = re.compile(r"\b(?:Task\s*<[^;{}()]*>|Detached)\s+(?:[\w:~]+::)?\w+\s*\(")


def blank_comments_and_strings(text):
    """The text with comments, strings and characters replaced by blanks of the same length."""
    pattern = re.compile(
        r"//[^\n]*|/\*.*?\*/|R\"(?P<d>[^()\\\s]{0,16})\(.*?\)(?P=d)\"|\"(?:\\.|[^\"\\\n])*\"|"
        r"(?<!\w)'(?:\\.|[^'\\\n])+'",
        re.S,
    )
    return pattern.sub(lambda m: re.sub(r"[^\n]", " ", m.group()), text)


def matching(text, at):
    """The index of the bracket that closes the one at `at`, or len(text)."""
    close = {"(": ")", "{": "}", "[": "]"}[text[at]]
    depth = 0
    for i in range(at, len(text)):
        if text[i] == text[at]:
            depth += 1
        elif text[i] == close:
            depth -= 1
            if depth == 0:
                return i
    return len(text)


def statement_before(text, at):
    """The text between the start of the statement and `at`; None if inside ( or [ of the block."""
    depth, start = 0, None
    for i in range(at - 1, -1, -1):
        c = text[i]
        if depth == 0 and start is None and c in ";{}":
            start = i + 1
        if c in ")]}":
            depth += 1
        elif c in "([{" and depth > 0:
            depth -= 1
        elif c in "([":
            return None
        elif c == "{":
            break
    return text[start or 0 : at]


def strip_control(before):
    """Removes labels, else/do and whole `if (...)`, `while (...)`, `for (...)` from the front."""
    while True:
        before = before.strip()
        head = LABEL.match(before) or re.match(r"(?:else|do)\b", before)
        if head:
            before = before[head.end() :]
            continue
        head = re.match(r"(?:if|while|for)\s*\(", before)
        if not head:
            return before
        before = before[matching(before, head.end() - 1) + 1 :]


def operand_after(text, at):
    """The operand up to its ';', or None if something else ends it first."""
    i = at
    while i < len(text):
        c = text[i]
        if c in "({[":
            i = matching(text, i)
        elif c == ";":
            return text[at:i]
        elif c in ")}],":
            return None
        i += 1
    return None


def outside_brackets(text):
    out, i = [], 0
    while i < len(text):
        if text[i] in "({[":
            i = matching(text, i)
        else:
            out.append(text[i])
        i += 1
    return "".join(out)


def check_await(text, at):
    """Why the co_await at `at` breaks rule 1, or None."""
    before = statement_before(text, at)
    if before is None:
        return "co_await inside a condition, an argument or another expression"
    before = strip_control(before)
    if before and (re.match(r"(return|co_return|throw)\b", before) or not DECLARATION.fullmatch(before)):
        return "co_await must be a statement or the whole initialiser of a new local"
    operand = operand_after(text, at + len("co_await"))
    if operand is None:
        return "co_await must reach to the end of its statement"
    if KEYWORD.search(operand):
        return "two co_await in one statement"
    if re.search(r"\?|&&|\|\||[=!]=|\s[-+]\s", outside_brackets(operand)):
        return "co_await must not be part of a larger expression"
    if LAMBDA.search(operand):
        return "the operand of co_await must not hold a lambda"
    return None


def split_parameters(text):
    parts, depth, start = [], 0, 0
    for i, c in enumerate(text):
        if c in "(<{[":
            depth += 1
        elif c in ")>}]":
            depth -= 1
        elif c == "," and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    return [p.strip() for p in parts + [text[start:]] if p.strip()]


def check_text(path, source):
    """Yields (line, rule, message) for each break of a rule in one file."""
    text = blank_comments_and_strings(source)
    line_of = lambda at: text.count("\n", 0, at) + 1
    keywords = [m.start() for m in KEYWORD.finditer(text)]
    if not path.startswith(ALLOWED_FOLDERS) and path not in ALLOWED_FILES:
        if keywords:
            yield line_of(keywords[0]), 7, f"coroutines live in {', '.join(ALLOWED_FOLDERS + ALLOWED_FILES)} only"
        return
    for match in re.finditer(r"\bco_await\b", text):
        why = check_await(text, match.start())
        if why:
            yield line_of(match.start()), 1, why
    for match in LAMBDA.finditer(text):
        end = matching(text, match.end() - 1)
        inner = next((k for k in keywords if match.end() <= k < end), None)
        if inner is not None:
            yield line_of(match.start()), 3, "a lambda must not be a coroutine: name the function"
    for match in FUNCTION.finditer(text):
        for parameter in split_parameters(text[match.end() : matching(text, match.end() - 1)]):
            if "&&" in parameter or re.search(r"\bconst\b[^&]*&", parameter):
                yield line_of(match.start()), 3, f"coroutine parameter '{parameter}': take it by value"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", default=os.path.join(os.path.dirname(__file__), "..", ".."))
    parser.add_argument("files", nargs="*", help="paths from the root; default: all tracked")
    args = parser.parse_args()
    bad = 0
    for path in args.files or tracked(args.root, "*.h", "*.cc"):
        full = os.path.join(args.root, path)
        if not path.endswith((".h", ".cc")) or not os.path.isfile(full):
            continue
        with open(full, encoding="utf-8") as source:
            for line, rule, message in check_text(path, source.read()):
                print(f"{path}:{line}: coroutine rule {rule}: {message}")
                bad += 1
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
