#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Checks names: the rules of docs/style.md, the words of docs/glossary.md.

  types     a class, structure, enumeration or alias of a header is declared once in the product's tree, nested ones
            included; a type local to a .cc file does not take the name of one in a header.
  booleans  what is bool in a header reads as a statement: is_open, has_link, accepts().
  functions a function of a namespace is declared in one header of the product, unless it is an overload that means
            the same of each type.
  words     a word that the glossary does not use is not part of an identifier.

It reads text, not syntax.

  check_names.py [--root DIR] [--only types|booleans|functions|words]
"""

import argparse
import os
import re
import sys

from check_coroutines import blank_comments_and_strings, matching
from tracked import tracked

PRODUCT = ("common/", "tracing/", "msgr/", "objecter/", "gateway/", "bstore_plugin/", "osd/", "tools/")

# Names that many classes give to a nested type, because they are always read with their class.
ROLES = {
    "Options": "what a class is made with",
    "State": "the states of its owner",
    "Kind": "the kinds of its owner",
    "Entry": "the element of its owner's table",
    "Done": "the callback that ends what its owner does",
    "Impl": "the private half of its owner",
    "Limits": "what its owner accepts",
    "Clock": "the standard clock that its owner goes by",
    "Callable": "the type that a function template was given",
    "TimePoint": "a time of its owner's clock",
    "promise_type": "C++ asks for this name in the return type of a coroutine",
    "is_transparent": "the standard library asks for it in a comparison",
}
ROLES.update(dict.fromkeys(
    ("iterator", "value_type", "difference_type", "iterator_category", "pointer", "reference", "handle_type"),
    "the standard library asks for it"))

MACRO = r"(?:\[\[[^\]]*\]\]|alignas\s*\([^)]*\)|[A-Z][A-Z_]+\s*\([^()]*\)|[A-Z]+_[A-Z_]+\b)\s*"
TYPE = re.compile(
    r"(?P<template>template\s*<[^;{}]*?>\s*)?\b(?P<key>enum\s+class|enum\s+struct|enum|class|struct|union)\s+"
    rf"(?:{MACRO})*(?P<name>(?:\w+::)*[A-Za-z_]\w*)\s*(?P<special><[^;{{}}]*>)?\s*(?:final\b\s*)?"
    r"(?::(?!:)[^;{}()]*(?:\([^()]*\)[^;{}()]*)*)?\{")
ALIAS = re.compile(r"\busing\s+(?P<name>[A-Za-z_]\w*)\s*=\s*(?P<of>[^;]*);")

# How a statement begins. Of functions besides: verbs in the third person, and those of a thing that is tried.
BE_AND_MODALS = {
    "is", "has", "had", "can", "was", "were", "are", "may", "might", "must", "should", "will", "would", "could",
    "did", "does", "wants", "needs", "knows",
}
THIRD_PERSON = {
    "accepts", "allows", "asks", "awaits", "begins", "blocks", "carries", "changes", "connects", "contains", "counts",
    "creates", "covers", "drops", "ends", "enforces", "equals", "executes", "exists", "expects", "fails", "fills",
    "fits", "follows", "frees", "gets", "gives", "goes", "holds", "keeps", "lacks", "leaves", "lies", "listens",
    "logs", "looks", "loses", "makes", "matches", "meets", "moves", "names", "offers", "owes", "owns", "passes",
    "pulls", "pushes", "reaches", "reads", "remembers", "replaces", "requires", "returns", "runs", "says", "sees",
    "sends", "serves", "shares", "shows", "spans", "starts", "stays", "stores", "supports", "takes", "tells",
    "travels", "uses", "waits", "wins", "works", "writes",
}
# Commands that answer whether they were carried out, as std::mutex::try_lock() does. Functions only.
COMMANDS = {
    "acknowledge", "add", "admit", "advance", "assign", "begin", "cancel", "chance", "claim", "check", "decode",
    "end", "erase", "feed", "find", "gain", "get", "give", "handle", "insert", "load", "match", "parse", "place",
    "poll", "post", "push", "put", "read", "receive", "record", "release", "remove", "reserve", "run", "send",
    "start", "stop", "store", "take", "try", "wait", "withdraw", "write", "on",
}
# Names that are not ours to choose, each with whose they are.
GIVEN_BOOLEANS = {
    "await_ready": "C++ coroutines", "await_suspend": "C++ coroutines", "empty": "as in the standard library",
    "contains": "as in the standard library", "ok": "as in Status of others",
    "fua": "SCSI", "unmap": "SCSI", "anchor": "SCSI: WRITE SAME", "crc_data": "option ms_crc_data",
    "tcp_nodelay": "option ms_tcp_nodelay", "one_sided": "option ms_async_rdma_one_sided",
    "log_to_stderr": "option", "to_stderr": "option log_to_stderr", "auth_required": "options auth_…_required",
    "data_only": "fdatasync", "exclusive": "O_EXCL", "create": "O_CREAT", "read_only": "O_RDONLY, rbd",
    "up": "OSD map",
    "send_with_invalidate": "verbs", "memory_windows": "verbs", "peer_to_peer": "verbs", "srq": "verbs",
    "json": "command-line option", "daemon": "command-line option", "use_srq": "option ms_async_rdma_support_srq",
    "use_cm": "option ms_async_rdma_cm", "use_hugepages": "option ms_async_rdma_enable_hugepage",
    "lossy": "Ceph: a connection's policy",
}
BOOL = re.compile(r"\bbool\b(?:\s+(?:noexcept|const))?\s*&?\s+(?:\w+::)*(?P<name>[a-z]\w*)\s*(?P<call>\()?")

# Functions of which each header may have one for its types, as they mean the same of each.
OVERLOADS = {
    "encode": "the bytes or the text of a value", "is_valid": "whether a value that came from outside can be used",
    "validate": "the same, with a sentence", "to_string": "a value as text", "name_of": "an enumerator as text",
    "describe": "a value as text for people", "make_error_code": "the standard library asks for it",
    "post_done": "calls a `done` later, on its loop",
}
FUNCTION = re.compile(
    r"^(?![ }#]|(?:using|template|namespace|struct|class|enum|friend|static_assert|extern|typedef)\b)"
    r"(?:\[\[nodiscard\]\] )?(?:inline |constexpr |static )*[\w:<>,\*& ]+?[\s\*&](?P<name>[a-z]\w*)\s*\(",
    re.MULTILINE)

# word: (why, [(path pattern, identifier pattern, reason it is allowed there)])
_FILES = "the name of a file"
FORBIDDEN = {
    "piece": [], "part": [], "slab": [], "wish": [], "stranger": [], "door": [], "tired": [], "backend": [],
    "volume": [], "sector": [],
    "chunk": [("msgr/rdma/", "", "an arena's"), ("msgr/local/", "", "an arena's"), ("msgr/memory/", "", "an arena's"),
              ("", r"(?i).*arena.*", "an arena's")],
    "node": [("msgr/event/post_queue", "", "a linked list's"), ("", r"node_?|nodes", "std::map::extract, JSON")],
    "path": [("common/", "", _FILES), ("tools/", "", _FILES), ("osd/", "", _FILES), ("bstore_plugin/", "", _FILES),
             ("gateway/", r"(conf_)?path", _FILES), ("tracing/", "", "recorded names are frozen"),
             ("", r"k?Trace\w+|LunarTrace\w+|(extent_)?path_reason|extent_path", "recorded names are frozen"),
             ("msgr/local/", r"sun_path|(socket_)?path", _FILES), ("msgr/rdma/", r"path_mtu|IBV_\w+", "verbs")],
    # An op, an IO or a command is meant; a question that a handshake, a socket or SCSI calls a request is one.
    "request": [("msgr/", "", "handshakes and verbs"), ("common/", "", "the admin socket"),
                ("osd/", "AdminRequest", "the admin socket"), ("tools/", "", "a question"),
                ("bstore_plugin/", r"(?i).*illegal_?request|request_sense|\w*invalid_request|AdminRequest",
                 "SCSI, tgt")],
}
WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
IDENTIFIER = re.compile(r"\b[A-Za-z_]\w*\b")


def in_product(path):
    return path.startswith(PRODUCT)


def line_of(text, at):
    return text.count("\n", 0, at) + 1


def types_of(path, source):
    """[(name, qualified by its classes, line, is it a new declaration)] of one file."""
    text = blank_comments_and_strings(source)
    spans = []  # (begin, end, name) of each class body
    found = []
    for match in TYPE.finditer(text):
        before = text[: match.start()].rstrip()
        if before.endswith(("<", ",")) and not match.group("template"):
            continue  # `template <class T` and the like
        brace = match.end() - 1
        name = match.group("name")
        outer = [span for span in spans if span[0] < match.start() < span[1]]
        scope = [span[2] for span in outer] + name.split("::")
        spans.append((brace, matching(text, brace), name))
        if not match.group("special"):
            found.append(("::".join(scope[-1:]), "::".join(scope), line_of(text, match.start("name"))))
    for match in ALIAS.finditer(text):
        name = match.group("name")
        if re.search(rf"::{name}\s*(<|$)", match.group("of").strip()):
            continue  # makes a name of another namespace known here
        outer = [span[2] for span in spans if span[0] < match.start() < span[1]]
        found.append((name, "::".join(outer + [name]), line_of(text, match.start("name"))))
    return found


def check_types(files):
    """Yields (path, line, message); `files` is {path: text}."""
    places = {}
    for path, text in files.items():
        for name, qualified, line in types_of(path, text):
            places.setdefault(name, []).append((path, line, qualified))
    for name, declared in sorted(places.items()):
        headers = [place for place in declared if place[0].endswith(".h")]
        if name in ROLES or len(declared) < 2 or not headers:
            continue
        kept = headers[0]
        for place in declared:
            # `struct Outer::Inner {` in a .cc file completes what the header of Outer announces.
            if place is not kept and not (place[2] == kept[2] and "::" in place[2]):
                yield place[0], place[1], f"type {place[2]}: {kept[0]}:{kept[1]} has {kept[2]}"


def check_functions(files):
    """Yields (path, line, message); `files` is {path: text}."""
    places = {}
    for path, source in files.items():
        if path.endswith(".h"):
            text = blank_comments_and_strings(source)
            for match in FUNCTION.finditer(text):
                places.setdefault(match.group("name"), {}).setdefault(path, line_of(text, match.start("name")))
    for name, declared in sorted(places.items()):
        if name in OVERLOADS:
            continue
        kept, *others = declared.items()
        for path, line in others:
            yield path, line, f"function {name}: {kept[0]}:{kept[1]} has one"


def reads_as_statement(name, is_function):
    name = name.rstrip("_")
    if re.match(r"k[A-Z]", name):  # a constant: kIsInline
        name = re.sub(r"[A-Z]", lambda capital: "_" + capital.group().lower(), name[1:]).lstrip("_")
    if name in GIVEN_BOOLEANS or name == "operator":
        return True
    first = name.split("_")[0]
    words = set(name.split("_"))
    if first in BE_AND_MODALS or first in THIRD_PERSON or words & {"is", "are", "was", "has", "may", "can", "must"}:
        return True
    return is_function and first in COMMANDS


def check_booleans(path, source):
    """Yields (line, message)."""
    text = blank_comments_and_strings(source)
    for match in BOOL.finditer(text):
        name = match.group("name")
        if not reads_as_statement(name, bool(match.group("call"))):
            kind = "function" if match.group("call") else "variable"
            yield line_of(text, match.start("name")), f"boolean {kind} '{name}' does not read as a statement"


def forbidden_word(path, identifier):
    """The word of the glossary's last list that `identifier` has in it, or None."""
    for word in WORDS.findall(identifier):
        word = word.lower()
        for form in {word, word[:-1] if word.endswith("s") else word}:
            if form in FORBIDDEN and not any(
                    path.startswith(where) and re.fullmatch(pattern or ".*", identifier)
                    for where, pattern, _ in FORBIDDEN[form]):
                return form
    return None


def check_words(path, source):
    """Yields (line, message), each identifier once."""
    text = re.sub(r"^[ \t]*#[ \t]*include[^\n]*", "", blank_comments_and_strings(source), flags=re.MULTILINE)
    seen = set()
    for match in IDENTIFIER.finditer(text):
        identifier = match.group()
        if identifier in seen or text[: match.start()].endswith("std::"):
            continue
        seen.add(identifier)
        word = forbidden_word(path, identifier)
        if word:
            yield line_of(text, match.start()), f"'{identifier}': the glossary does not use '{word}'"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--root", default=os.path.join(os.path.dirname(__file__), "..", ".."))
    parser.add_argument("--only", choices=("types", "booleans", "functions", "words"))
    args = parser.parse_args()
    files = {}
    for path in tracked(args.root, "*.h", "*.c", "*.cc"):
        full = os.path.join(args.root, path)
        if in_product(path) and os.path.isfile(full):
            with open(full, encoding="utf-8") as source:
                files[path] = source.read()
    found = []
    if args.only in (None, "types"):
        found += check_types(files)
    if args.only in (None, "functions"):
        found += check_functions(files)
    for path, text in files.items():
        if args.only in (None, "booleans") and path.endswith(".h"):
            found += [(path, *rest) for rest in check_booleans(path, text)]
        if args.only in (None, "words"):
            found += [(path, *rest) for rest in check_words(path, text)]
    for path, line, message in found:
        print(f"{path}:{line}: {message}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
