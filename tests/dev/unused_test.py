#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""check_unused.py finds what is declared and not defined, or not used, and nothing that is."""

import os
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tools", "dev"))
sys.dont_write_bytecode = True

import check_unused  # noqa: E402


class Unused(unittest.TestCase):
    def found(self, only, **files):
        named = {path.replace("__", "/").replace("_h", ".h").replace("_cc", ".cc"): text
                 for path, text in files.items()}
        return [message.split("(")[0].split(" ")[-1 if only == "counters" else 0]
                for _, _, message in check_unused.check(named, only)]

    def test_functions_that_no_file_defines(self):
        header = """
            class Link : public Base {
             public:
              explicit Link(int fd);
              ~Link() override;
              void close() noexcept REQUIRES(mutex_);
              virtual void read() = 0;
              Link(const Link&) = delete;
              int fd() const { return fd_; }
              std::function<void(int)> on_end;
             private:
              void forgotten(int a, std::span<const int> b = {});
              int fd_ = -1;
            };
            void helper(Link& link);
            void lost();
            """
        source = """
            Link::Link(int fd) : fd_(fd) {}
            Link::~Link() = default;
            void Link::close() noexcept { if (fd() > 0) forgotten(1); }
            void helper(Link& link) { link.close(); }
            """
        self.assertEqual(self.found("undefined", msgr__a_h=header, msgr__a_cc=source), ["Link::forgotten", "lost"])

    def test_functions_that_nothing_calls(self):
        header = ("class A {\n  int used() const { return a_; }\n  int idle() const { return a_; }\n"
                  "  void out_of_line();\n};\n")
        source = "void A::out_of_line() {}\nint f(A& a) { return x ? a.used() : 0; }\n"
        self.assertEqual(self.found("functions", msgr__a_h=header, msgr__a_cc=source), ["A::idle", "A::out_of_line"])

    def test_a_use_in_a_test_is_none(self):
        self.assertEqual(self.found("functions", msgr__a_h="inline int idle() { return 1; }",
                                    tests__a_cc="int x = idle();"), ["idle"])

    def test_what_is_called_through_a_base_is_not_idle(self):
        header = "class A : B { void on_frame() override {} ~A() {} };"
        self.assertEqual(self.found("functions", msgr__a_h=header), [])

    def test_counters_that_nothing_counts_with(self):
        header = """
            struct Counters {
              PerfCounter& sent = group.counter("sent", "x");
              PerfGauge& idle = group.gauge("idle", "x");
            };
            class A { PerfCounter& used_; PerfHistogram& never_; };
            """
        source = ("A::A() : used_(g.counter()), never_(g.histogram()) {}\n"
                  "void f() { counters.sent.add(); used_.add(); }")
        self.assertEqual(self.found("counters", msgr__a_h=header, msgr__a_cc=source), ["idle", "never_"])

    def test_constants_and_enumerators_that_nothing_names(self):
        header = ("constexpr int kUsed = 1;\nconstexpr std::size_t kIdle = 2;\n"
                  "enum class E : int { kA = 1, kB, kC };\n")
        source = "int f(E e) { return e == E::kB ? kUsed : E::kC; }"
        self.assertEqual(self.found("constants", msgr__a_h=header, msgr__a_cc=source), ["kIdle", "kA"])

    def test_options_that_nobody_reads(self):
        table = ' {"ms_used", kUint, "0", ""},\n {"ms_idle", kBool, "true", ""},\n {"dir", kString, ""},\n' \
                ' {"file", kString, "${dir}/x"},\n {"debug_ms", kLogLevel, "0"},\n'
        files = {"common/options.cc": table, "msgr/a.cc": 'get("ms_used"); get("file"); f("debug_" + name);'}
        self.assertEqual([message for _, _, message in check_unused.check(files, "options")],
                         ["option ms_idle is read by nobody"])

    def test_a_row_of_the_allowed_that_matches_nothing_is_found(self):
        files = {"msgr/a.h": "inline int idle() { return 1; }\ninline int used() { return idle2 + 2; }",
                 "msgr/a.cc": "int x = used();"}
        rows = [(r"msgr/.*", r"idle", "a test sees by it"), (r"msgr/.*", r"used", "it is used, so this says nothing"),
                (r"osd/.*", r"idle", "it is elsewhere")]
        found = [message for _, _, message in check_unused.check(files, allowed=rows)]
        self.assertEqual(found, ["the row (msgr/.*, used) of ALLOWED matches nothing: remove it",
                                 "the row (osd/.*, idle) of ALLOWED matches nothing: remove it"])
        self.assertEqual(list(check_unused.check(files, "functions", rows)), [])


if __name__ == "__main__":
    unittest.main()
