#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Makes a man page from what a program prints for --help, and for SUBCOMMAND --help all the way down.

  help_page.py --page NAME.SECTION --version VERSION [--see TEXT] -- PROGRAM

Understands the layout that CLI11, argparse and lunar-osd share: headings that end in a colon, and items that
are indented, with two spaces or a line break between the item and its text.
"""

import argparse
import os
import re
import subprocess
import sys

USAGE = re.compile(r"^[Uu]sage: *(.*)$")
HEADING = re.compile(r"^(\S[^:]*):$")
ITEM = re.compile(r"^ {2,6}(\S.*?)(?: {2,}(\S.*))?$")
COMMON = "Common options"  # the same for each subcommand: shown once


def quoted(text):
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + text if text[:1] in (".", "'") else text


def help_of(words):
    result = subprocess.run([*words, "--help"], text=True, capture_output=True, check=False,
                            stdin=subprocess.DEVNULL, env={**os.environ, "COLUMNS": "100"})
    if result.returncode != 0:
        sys.exit(f"help_page.py: {' '.join(words)} --help ended with {result.returncode}: {result.stderr}")
    return result.stdout


class Help:
    """A text of --help taken apart: `synopsis`, `intro` lines, and `sections` of (heading, [(item, text)])."""

    def __init__(self, text):
        self.synopsis, self.intro, self.sections = [], [], []
        indent = None  # of the items' text
        is_usage = is_text = False
        for line in text.splitlines():
            if not line.strip():
                is_usage = is_text = False
                continue
            usage, heading, item = USAGE.match(line), HEADING.match(line), ITEM.match(line)
            if usage:
                self.synopsis.append(usage[1])
                is_usage = True
            elif is_usage and line.startswith(" "):
                self.synopsis[-1] += " " + line.strip()
            elif heading:
                self.sections.append((heading[1], []))
            elif item and (indent is None or self.indent_of(line) < indent):
                if not self.sections:
                    self.sections.append(("Usage", []))
                self.sections[-1][1].append([item[1], item[2] or ""])
                if item[2]:
                    indent = line.index(item[2], len(item[1]))
            elif line.startswith(" ") and self.sections and self.sections[-1][1]:
                self.sections[-1][1][-1][1] += " " + line.strip()
            elif self.sections and is_text:
                self.sections[-1][1][-1][1] += " " + line.strip()
            elif self.sections:
                self.sections[-1][1].append(["", line.strip()])
                is_text = True
            else:
                self.intro.append(line.strip())

    @staticmethod
    def indent_of(line):
        return len(line) - len(line.lstrip())

    def subcommands(self):
        """As they are listed: "mv", or "mv, rename" of one with another name."""
        for heading, items in self.sections:
            if heading == "Subcommands":
                yield from (item[0] for item in items)
            elif heading == "positional arguments":  # argparse
                yield from (item[0] for item in items if re.fullmatch(r"[a-z][a-z-]*", item[0]))


def print_section(heading, items, macro):
    print(f'.{macro} "{heading.upper() if macro == "SH" else heading}"')
    for item, text in items:
        if item:
            print(f".TP\n\\fB{quoted(item)}\\fR")
        else:
            print(".PP")
        if text:
            print(quoted(text.strip()))


def print_subcommands(words, names, title):
    for name in names:
        command = [*words, name.split(",")[0]]
        described = Help(help_of(command))
        print(f'.SS "{quoted(" ".join([*title, name]))}"')
        print("\n".join(quoted(line) for line in described.intro) or "See above.")
        for line in described.synopsis:
            print(f".PP\n\\fB{quoted(line)}\\fR")
        for heading, items in described.sections:
            if heading in (COMMON, "Subcommands", "positional arguments"):
                continue
            for item, text in items:
                if re.match(r"-h\b", item):
                    continue
                print(f".TP\n\\fB{quoted(item)}\\fR\n{quoted(text.strip())}")
        print_subcommands(command, list(described.subcommands()), [*title, command[-1]])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--page", required=True)
    parser.add_argument("--version", required=True)
    parser.add_argument("--see", default="")
    parser.add_argument("program")
    args = parser.parse_args()
    name, _, section = args.page.rpartition(".")
    described = Help(help_of([args.program]))
    first, *more = re.split(r"(?<=\.) ", re.sub(rf"^{re.escape(name)} - ", "", " ".join(described.intro)))
    print(f'.TH {name.upper()} {section} "" "Lunar {args.version}" "Lunar"')
    print(f".SH NAME\n{name} \\- {quoted(first.rstrip('.'))}\n.SH SYNOPSIS")
    for line in described.synopsis or [f"{name} [OPTIONS]"]:
        words = line.split(" ", 1)
        print(f"\\fB{name}\\fR {quoted(words[1] if len(words) > 1 else '')}")
    if name == "lunar-cli":
        print(".SH DESCRIPTION\nThis is the command that the documentation calls \\fBlunar\\fR. It has that name "
              "too, unless\nthe machine has another package whose command is \\fBlunar\\fR (Debian has one).")
    elif more:
        print(f".SH DESCRIPTION\n{quoted(' '.join(more))}")
    for heading, items in described.sections:
        print_section(heading, items, "SH")
    names = list(described.subcommands())
    if names:
        print(".SH COMMANDS")
        print_subcommands([args.program], names, [])
    if args.see:
        others = [word for word in args.see.split(", ") if not word.startswith(f"{name}(")]
        print(f".SH SEE ALSO\n{quoted(', '.join(others))}")


if __name__ == "__main__":
    main()
