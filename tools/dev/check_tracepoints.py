#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks that a tracepoint costs nothing while nobody records.

Its arguments are values at hand: names, members, casts and the accessors named below. Whatever has to be
computed (text made, containers walked) stands under LUNAR_TRACE_ENABLED of the same event, and so does a
local variable that is computed for a tracepoint alone: that one would be computed always.

  check_tracepoints.py [--root DIR] [FILE...]    without files: every source git tracks
"""

import argparse
import os
import re
import sys

from tracked import tracked

# What may be called in an argument: they return what they hold. data_bytes and payload_bytes add up
# the few fragments of one reply, and trace_store_kind looks a code up in a table: neither is evaluated
# while the event is off. trace_value is constexpr.
ACCESSORS = {
    "c_str", "count", "data", "data_bytes", "empty", "epoch", "get", "id", "io_id", "length", "meta", "op",
    "payload_bytes", "peer", "size", "spec", "tid", "trace_store_kind", "trace_value", "value",
}  # fmt: skip
TRACE = re.compile(r"\bLUNAR_TRACE\s*\(")
ENABLED = re.compile(r"\bif\s*\(\s*LUNAR_TRACE_ENABLED\s*\(\s*(\w+)\s*,\s*(\w+)\s*\)\s*\)\s*\{")
CALL = re.compile(r"(\w+)\s*(<[^;()]*?>)?\s*\(")
MAKES = re.compile(r"\b(new|std::string|std::vector|fmt::format)\b")
COMMENT_OR_TEXT = re.compile(r'//[^\n]*|/\*.*?\*/|"(?:[^"\\\n]|\\.)*"', re.DOTALL)


def closing(text, start, pair="()"):
    """Index of what closes the bracket at `start`."""
    depth = 0
    for end in range(start, len(text)):
        depth += {pair[0]: 1, pair[1]: -1}.get(text[end], 0)
        if depth == 0:
            return end
    return len(text) - 1


def without_comments(text):
    """Same length and lines, with comments and the insides of texts blanked."""
    return COMMENT_OR_TEXT.sub(
        lambda match: re.sub(r"[^\n]", " ", match.group()) if match.group()[0] == "/"
        else '"' + " " * (len(match.group()) - 2) + '"', text)


def costly_calls(expression):
    """Names of what `expression` calls beyond accessors and casts."""
    found = [match.group() for match in MAKES.finditer(expression)]
    for match in CALL.finditer(expression):
        name = match.group(1)
        if not name.endswith("_cast") and name not in ACCESSORS:
            found.append(name)
    return found


def guards(text):
    """[(begin, end, provider, event)] of the blocks under LUNAR_TRACE_ENABLED."""
    found = []
    for match in ENABLED.finditer(text):
        brace = match.end() - 1
        found.append((brace, closing(text, brace, "{}"), match.group(1), match.group(2)))
    return found


def locals_for_trace_only(text, begin, arguments, spans):
    """Yields (name, call) of variables that are computed before the tracepoint and used only in one."""
    for name in sorted(set(re.findall(r"(?<![\w.>:])([a-z]\w*)\b(?!\s*[\(:])", arguments))):
        declared = None
        for declared in re.finditer(rf"^[ \t]+(?:\[\[maybe_unused\]\]\s*)?(?:const\s+)?[\w:<>*&]+\s+{name}"
                                    rf"\s*=\s*([^;]*);", text[:begin], re.MULTILINE):
            pass
        if declared is None or "\n}" in text[declared.end():begin]:
            continue
        end = text.find("\n}", declared.end())
        uses = [declared.end() + use.start()
                for use in re.finditer(rf"(?<![\w.>]){name}\b", text[declared.end():end])]
        if all(any(first <= use <= last for first, last in spans) for use in uses):
            for call in costly_calls(declared.group(1)):
                yield declared.start(), name, call


def check_text(path, text):
    """Yields (line, message)."""
    del path
    text = without_comments(text)
    blocks = guards(text)
    spans = [(match.start(), closing(text, match.end() - 1)) for match in TRACE.finditer(text)]
    for begin, end in spans:
        arguments = text[text.index("(", begin) + 1:end]
        words = [word.strip() for word in arguments.split(",", 2)]
        if len(words) < 3 or text[:begin].rstrip().endswith("#define"):
            continue
        provider, event, fields = words
        covering = [block for block in blocks if block[0] < begin < block[1]]
        line = text.count("\n", 0, begin) + 1
        if covering:
            if (provider, event) not in [block[2:] for block in covering]:
                yield line, f"{provider}:{event} stands under LUNAR_TRACE_ENABLED of another event"
            continue
        for call in costly_calls(fields):
            yield line, f"{provider}:{event} computes {call}: put it under LUNAR_TRACE_ENABLED"
        for at, name, call in locals_for_trace_only(text, begin, fields, spans):
            yield (text.count("\n", 0, at) + 2 if text[at] == "\n" else text.count("\n", 0, at) + 1,
                   f"'{name}' is computed ({call}) for {provider}:{event} alone: "
                   "put it under LUNAR_TRACE_ENABLED")


def tracked_sources(root):
    return [path for path in tracked(root, "*.cc", "*.c", "*.h") if not path.startswith(("tests/", "tracing/"))]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", default=os.path.join(os.path.dirname(__file__), "..", ".."))
    parser.add_argument("files", nargs="*", help="paths from the root; default: all tracked")
    args = parser.parse_args()
    bad = 0
    for path in args.files or tracked_sources(args.root):
        full = os.path.join(args.root, path)
        if not os.path.isfile(full):
            continue
        with open(full, encoding="utf-8") as source:
            for line, message in check_text(path, source.read()):
                print(f"{path}:{line}: {message}")
                bad += 1
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
