#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""check_names.py finds a name that is taken, a boolean that is no statement, a word the glossary does not use."""

import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tools", "dev"))
sys.dont_write_bytecode = True

import check_names  # noqa: E402


class Types(unittest.TestCase):
    def complaints(self, **files):
        named = {path.replace("__", "/").replace("_h", ".h").replace("_cc", ".cc"): text
                 for path, text in files.items()}
        return [(path, line) for path, line, _ in check_names.check_types(named)]

    def test_a_type_of_two_headers_is_found_nested_or_not(self):
        for other in ("struct Link {};", "class Link final : public A<B> {};", "enum class Link : int { kA };",
                      "class Peer {\n  struct Link {};\n};", "using Link = int;", "class [[nodiscard]] Link {};",
                      'class CAPABILITY("x") Link {};', "template <typename T>\nstruct Link {};"):
            found = self.complaints(msgr__a_h="class Link {};\n", osd__b_h=other)
            self.assertEqual([path for path, _ in found], ["osd/b.h"], other)

    def test_the_line_is_told(self):
        self.assertEqual(self.complaints(msgr__a_h="class Link {};", osd__b_h="// x\n\nstruct Link {};"),
                         [("osd/b.h", 3)])

    def test_a_type_local_to_a_source_must_not_hide_one_of_a_header(self):
        self.assertEqual(self.complaints(msgr__a_h="class Link {};", osd__b_cc="namespace {\nstruct Link {};\n}"),
                         [("osd/b.cc", 2)])

    def test_two_sources_may_each_have_a_helper_of_one_name(self):
        self.assertEqual(self.complaints(msgr__a_cc="struct Args {};", osd__b_cc="struct Args {};"), [])

    def test_names_that_are_read_with_their_class_may_repeat(self):
        self.assertEqual(self.complaints(msgr__a_h="class A { struct Options { int a; }; };",
                                         osd__b_h="class B { struct Options { int b; }; };"), [])

    def test_what_is_announced_and_completed_elsewhere_is_one_type(self):
        self.assertEqual(self.complaints(msgr__a_h="class A {\n  class Watch;\n};\nclass A::Watch {};",
                                         msgr__a_cc="struct A::Inner {};", osd__b_h="class A;"), [])

    def test_specialisations_comments_and_template_parameters_declare_nothing(self):
        self.assertEqual(self.complaints(
            msgr__a_h="template <>\nstruct std::hash<Link> {};\n// struct Link {}\nclass Link {};",
            osd__b_h="template <>\nstruct std::hash<Op> {};\ntemplate <class Link>\nvoid f() {}"), [])


class Booleans(unittest.TestCase):
    def names(self, text):
        return [message.split("'")[1] for _, message in check_names.check_booleans("msgr/a.h", text)]

    def test_what_reads_as_no_statement_is_found(self):
        header = "struct A {\n  bool busy_ = false;\n  bool stopped() const;\n  void f(bool tell);\n};"
        self.assertEqual(self.names(header), ["busy_", "stopped", "tell"])

    def test_statements_pass(self):
        self.assertEqual(self.names("bool is_open_; bool has_link() const; void f(bool wants_signal);\n"
                                    "bool flush_is_posted_; bool accepts(int); bool try_arm(); "
                                    "bool operator==(int) const;"), [])

    def test_a_command_may_answer_but_is_no_variable(self):
        self.assertEqual(self.names("bool cancel(int id);"), [])
        self.assertEqual(self.names("bool cancel_ = false;"), ["cancel_"])

    def test_names_of_options_and_of_the_wire_stay(self):
        self.assertEqual(self.names("bool crc_data; bool fua; bool tcp_nodelay;"), [])


class Functions(unittest.TestCase):
    def found(self, **headers):
        files = {path.replace("__", "/") + ".h": text for path, text in headers.items()}
        return [(path, message) for path, _, message in check_names.check_functions(files)]

    def test_a_function_of_two_headers_is_found(self):
        self.assertEqual(
            self.found(osd__a="namespace o {\nstd::vector<int> names_of(const A& a);\n}",
                       gateway__b="namespace g {\n// Of all.\n[[nodiscard]] inline int names_of(int b) {\n}"),
            [("gateway/b.h", "function names_of: osd/a.h:2 has one")])

    def test_overloads_of_one_header_methods_and_what_means_the_same_of_each_type_pass(self):
        self.assertEqual(self.found(a="int f(int a);\nint f(char b);\nvoid encode(const A& a);",
                                    b="struct B {\n  int f(int a);\n};\nvoid encode(const B& b);"), [])


class Words(unittest.TestCase):
    def words(self, path, text):
        return [message.split("'")[3] for _, message in check_names.check_words(path, text)]

    def test_words_that_the_glossary_does_not_use_are_found_in_any_spelling(self):
        self.assertEqual(self.words("msgr/a.h", "int max_pieces_; class SlabTable; int kMaxStrangers;"),
                         ["piece", "slab", "stranger"])

    def test_only_whole_words_count(self):
        self.assertEqual(self.words("msgr/a.h", "int partial; int department; int indoors;"), [])

    def test_a_word_is_allowed_where_it_means_what_it_should(self):
        self.assertEqual(self.words("osd/store/a.cc", "std::string path;"), [])
        self.assertEqual(self.words("msgr/rdma/arena.h", "struct Chunk {};"), [])
        self.assertEqual(self.words("osd/store/a.cc", "struct Chunk {};"), ["chunk"])
        self.assertEqual(self.words("objecter/a.cc", "LUNAR_TRACE(p, extent_path, path_reason);"), [])

    def test_comments_texts_and_includes_are_not_read(self):
        self.assertEqual(self.words("msgr/a.h", '#include "msgr/piece.h"\n// a piece\nauto a = "piece";'), [])


if __name__ == "__main__":
    unittest.main()
