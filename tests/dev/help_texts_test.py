#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Each command and option of the tools has a help that means something when it is printed alone, as in a man page.

The rule is in docs/style.md: a clause of three words at least, which begins with nothing that refers to another text.
"""

import ast
import glob
import os
import re
import sys
import unittest

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
sys.path.insert(0, os.path.join(ROOT, "tools", "dev"))
from check_coroutines import blank_comments_and_strings, matching  # noqa: E402

CXX = ("tools/lunar/*.cc", "tools/perf_msgr/*.cc", "tools/trace/*.cc")
PYTHON = ("tools/lunar-exporter", "tools/lunar-luns", "tools/lunar-vstart")
REFERS = ("of ", "the same", "with ", "without ", "default", "as ", "such as", "its ", "instead")

# The argument of a call that is the help.
HELP_AT = {"add_subcommand": 1, "add_option": 2, "add_flag": 2, "context.add": 2, "simple": 2, "std::pair": 1,
           "add_size_option": 3, "add_size": 3}
CALL = re.compile(
    r"(?<![\w.:])(?:\w+(?:\.|->))?(?P<name>add_subcommand|add_option|add_flag|add_size_option|add_size)\s*\("
    r"|(?<![\w.:])(?P<other>context\.add|simple|std::pair)\s*\("
    r"|(?<=->)(?P<last>add_option|add_flag)\s*\(")
LITERALS = re.compile(r'\s*(?:"(?:\\.|[^"\\\n])*"\s*)+')
LITERAL = re.compile(r'"((?:\\.|[^"\\\n])*)"')


def arguments(text, source, at):
    """The arguments of the call whose bracket opens at `at`, as the source has them."""
    end, start, depth, found = matching(text, at), at + 1, 0, []
    for i in range(at + 1, end):
        if text[i] in "({[":
            depth += 1
        elif text[i] in ")}]":
            depth -= 1
        elif text[i] == "," and depth == 0:
            found.append(source[start:i])
            start = i + 1
    return found + [source[start:end]]


def helps_of_cxx(source):
    """Yields (line, help) of each call that adds a command or option; help is None if it has none."""
    text = blank_comments_and_strings(source)
    for match in CALL.finditer(text):
        name = match.group("name") or match.group("other") or match.group("last")
        given = arguments(text, source, match.end() - 1)
        if "CLI::App&" in given[0]:  # the declaration of one of them
            continue
        line = text.count("\n", 0, match.start()) + 1
        help_text = given[HELP_AT[name]] if len(given) > HELP_AT[name] else ""
        if help_text.strip() == "help":  # handed on: the callers have it
            continue
        is_literal = LITERALS.fullmatch(help_text) is not None
        yield line, "".join(LITERAL.findall(help_text)) if is_literal else None


def helps_of_python(source):
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        if node.func.attr not in ("add_argument", "add_parser"):
            continue
        value = next((each.value for each in node.keywords if each.arg == "help"), None)
        parts = getattr(value, "values", [value])
        texts = [part.value if isinstance(part, ast.Constant) else "X" for part in parts if part is not None]
        yield node.lineno, "".join(texts) or None


def complaint(help_text):
    """Why this help says nothing by itself, or None."""
    if help_text is None:
        return "has no help"
    if len(help_text.split()) < 3:
        return f"'{help_text}' has fewer than three words"
    if help_text.lower().startswith(REFERS):
        return f"'{help_text}' begins with a reference to something else"
    return None


class HelpTexts(unittest.TestCase):
    def files(self, *patterns):
        for pattern in patterns:
            found = sorted(glob.glob(os.path.join(ROOT, pattern)))
            self.assertTrue(found, pattern)
            yield from found

    def check(self, path, helps):
        for line, text in helps:
            why = complaint(text)
            self.assertIsNone(why, f"{os.path.relpath(path, ROOT)}:{line}: {why}")

    def test_each_help_of_the_tools_stands_alone(self):
        count = 0
        for path in self.files(*CXX, *PYTHON):
            with open(path, encoding="utf-8") as file:
                source = file.read()
            helps = list(helps_of_cxx(source) if path.endswith(".cc") else helps_of_python(source))
            count += len(helps)
            self.check(path, helps)
        self.assertGreater(count, 100)

    def test_what_a_call_says_is_found(self):
        found = lambda text: [help_text for _, help_text in helps_of_cxx(text)]
        self.assertEqual(found('app.add_option("-x", value, "one "\n "two");'), ["one two"])
        self.assertEqual(found('c->add_flag("-x", f(1, 2), "a, b (c");'), ["a, b (c"])
        self.assertEqual(found('made\n  ->add_option("x", value, "text")->required();'), ["text"])
        self.assertEqual(found('context.add(app, "ls", "text", [a, b] { g(); });'), ["text"])
        self.assertEqual(found('app.add_option("--connections", value)->check(x);'), [None])
        self.assertEqual(found('app.add_option("-x", value, is_a ? "a" : "b");'), [None])
        self.assertEqual(found('void add_size(CLI::App& app, const std::string& help) {}'), [])
        self.assertEqual(found('context.add(app, verb, help, run); // add_flag("a", b, "c")'), [])
        python = 'p.add_argument("-x", help=f"a {b} c")\np.add_argument("-y")\ns.add_parser("z", help="d")\n'
        self.assertEqual([text for _, text in helps_of_python(python)], ["a X c", None, "d"])

    def test_a_help_that_refers_to_something_or_says_too_little_is_refused(self):
        for text in (None, "", "POOL/IMAGE", "its name", "of --crossover, in turn", "the same as before",
                     "with or without keys", "default: the pool's", "as 'lunar info' shows it"):
            self.assertIsNotNone(complaint(text), text)
        for text in ("name of the pool", "show who may write an image", "asks for keys, or not"):
            self.assertIsNone(complaint(text), text)


if __name__ == "__main__":
    unittest.main()
