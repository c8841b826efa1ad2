#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""The checkers of tools/dev find what they are for, and let through what follows the rules."""

import os
import subprocess
import sys
import tempfile
import unittest

DEV = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "tools", "dev")
sys.path.insert(0, DEV)
sys.dont_write_bytecode = True

import check_classes  # noqa: E402
import check_coroutines  # noqa: E402
import check_layers  # noqa: E402
import check_one_place  # noqa: E402
import check_text  # noqa: E402
import junit_summary  # noqa: E402
import tracked  # noqa: E402


class Layers(unittest.TestCase):
    TREE = {
        "common/bytes.h", "tracing/tracepoints.h", "msgr/messenger.h", "msgr/event/post_queue.h",
        "msgr/net/link.h", "msgr/posix/posix_link.h", "msgr/session/session.h", "msgr/wire/frame.h",
        "msgr/rdma/rdma_options.h", "msgr/rdma/memory/arena.h", "msgr/rdma/link/rdma_link.h",
        "objecter/objecter.h", "objecter/cluster/map_hunt.h", "objecter/protocol/op.h", "gateway/image.h",
        "osd/object_store.h",
        "osd/store/file_store.h", "bstore_plugin/plugin_api.h", "tests/support/fake.h",
        "tools/lunar/command.h",
    }  # fmt: skip

    def complaints(self, path, text):
        return [message for _, message in check_layers.check_text(path, text, self.TREE.__contains__)]

    def assert_allowed(self, path, *names):
        text = "".join(f'#include "{name}"\n' for name in names)
        self.assertEqual(self.complaints(path, text), [])

    def assert_refused(self, path, name, because):
        found = self.complaints(path, f'#include "{name}"\n')
        self.assertEqual(len(found), 1, found)
        self.assertIn(because, found[0])

    def test_arrows_are_followed_however_long(self):
        self.assert_allowed("gateway/image.cc", "gateway/image.h", "objecter/objecter.h",
                            "objecter/protocol/op.h", "msgr/messenger.h", "common/bytes.h",
                            "tracing/tracepoints.h")  # fmt: skip
        self.assert_allowed("osd/daemon/main.cc", "objecter/protocol/op.h", "osd/store/file_store.h")
        self.assert_allowed("osd/daemon/main.cc", "objecter/cluster/map_hunt.h")
        self.assert_allowed("objecter/map/map_client.cc", "objecter/cluster/map_hunt.h")
        self.assert_allowed("tools/lunar/main.cc", "gateway/image.h", "tools/lunar/command.h")

    def test_an_arrow_never_points_back(self):
        self.assert_refused("msgr/messenger.h", "objecter/objecter.h", "msgr/ may not include")
        self.assert_refused("objecter/objecter.cc", "gateway/image.h", "may not include from")
        self.assert_refused("gateway/image.cc", "osd/object_store.h", "may not include from")
        self.assert_refused("common/bytes.h", "tracing/tracepoints.h", "may not include from")
        self.assert_refused("osd/daemon/main.cc", "objecter/objecter.h", "may not include from")
        self.assert_refused("objecter/protocol/op.h", "objecter/objecter.h", "may not include from")
        self.assert_refused("objecter/cluster/map_hunt.cc", "objecter/objecter.h", "may not include from")

    def test_a_header_in_a_subfolder_is_private(self):
        self.assert_refused("objecter/objecter.cc", "msgr/session/session.h", "private to msgr/")
        self.assert_refused("tools/lunar/main.cc", "osd/store/file_store.h", "private to osd/")

    def test_only_the_stack_table_names_a_transport(self):
        self.assert_allowed("msgr/stack_table.cc", "msgr/posix/posix_link.h")
        self.assert_allowed("msgr/posix/posix_link.h", "msgr/net/link.h", "msgr/wire/frame.h")
        self.assert_refused("msgr/session/session.cc", "msgr/posix/posix_link.h", "may not include")
        self.assert_allowed("msgr/messenger.h", "msgr/net/link.h")
        self.assert_refused("msgr/messenger.h", "msgr/wire/frame.h", "may not include")
        self.assert_refused("msgr/net/link.h", "msgr/session/session.h", "may not include")

    def test_a_room_of_a_room_has_arrows_of_its_own(self):
        self.assert_allowed("msgr/rdma/link/rdma_link.h", "msgr/rdma/memory/arena.h", "msgr/net/link.h",
                            "msgr/rdma/rdma_options.h")  # fmt: skip
        self.assert_allowed("msgr/rdma/rdma_stack.cc", "msgr/rdma/link/rdma_link.h")
        self.assert_refused("msgr/rdma/memory/arena.cc", "msgr/rdma/link/rdma_link.h", "may not include")
        self.assert_refused("msgr/rdma/rdma_options.h", "msgr/rdma/memory/arena.h", "may not include")
        self.assert_refused("msgr/session/session.cc", "msgr/rdma/memory/arena.h", "may not include")

    def test_a_new_subfolder_of_msgr_needs_a_row(self):
        self.assert_refused("msgr/magic/a.cc", "msgr/messenger.h", "not in the table")

    def test_the_rooms_of_osd_point_one_way(self):
        layers = check_layers.check_include
        self.assertIsNone(layers("osd/clients/client_session.cc", "osd/ops/client_op.h"))
        self.assertIsNone(layers("osd/ops/op_run.cc", "osd/object_store.h"))
        self.assertIn("may not include", layers("osd/ops/op_run.cc", "osd/clients/client_session.h"))
        self.assertIn("may not include", layers("osd/object_store.h", "osd/records/client_name.h"))
        self.assertIn("not in the table", layers("osd/attic/x.h", "osd/object_store.h"))

    def test_tests_may_include_anything_and_nobody_includes_tests(self):
        self.assert_allowed("tests/osd/x_test.cc", "msgr/session/session.h", "tests/support/fake.h")
        self.assert_refused("osd/daemon/main.cc", "tests/support/fake.h", "outside tests/")

    def test_only_c_files_of_the_plugin_see_foreign_quoted_headers(self):
        self.assert_allowed("bstore_plugin/bs_lunar.c", "tgtd.h")
        self.assert_refused("bstore_plugin/lun.cc", "tgtd.h", "only C files")
        self.assert_refused("gateway/image.cc", "tgtd.h", "not a file of the tree")

    def test_includes_are_written_from_the_root_and_in_quotes(self):
        self.assert_refused("gateway/image.cc", "image.h", "from the root")
        self.assertEqual(len(self.complaints("gateway/image.cc", "#include <gateway/image.h>")), 1)
        self.assertEqual(self.complaints("gateway/image.cc", "#include <vector>\n"), [])

    def test_the_line_is_told(self):
        found = list(check_layers.check_text(
            "msgr/messenger.h", '// x\n\n#include "osd/object_store.h"\n', self.TREE.__contains__))  # fmt: skip
        self.assertEqual(found[0][0], 3)


class Coroutines(unittest.TestCase):
    GOOD = [
        "auto link = co_await open_link(peer);",
        "const Result<std::pair<int, int>> r = co_await step(std::move(a), b[3]);",
        "Result<Frame>* p = co_await next();",
        "co_await SleepFor(center_, backoff.next());",
        "while (!closing_) { auto x = co_await f(); if (!x) co_return x.error(); }",
        "if (late) co_await f(); else co_await g();",
        "for (int i = 0; i < 3; ++i) co_await f(i);",
        "switch (k) { case Kind::kA: co_await f(); break; default: co_await g(); }",
        "// if (co_await x)\n/* return co_await y; */ log(\"f(co_await z)\");",
        "std::sort(a, b, [this](int x) { return x < limit_; }); co_await f();",
    ]
    BAD = [
        "if (co_await f()) g();",
        "while (!co_await f()) g();",
        "for (int i = 0; co_await f(); ++i) {}",
        "switch (co_await f()) {}",
        "return co_await f();",
        "co_return co_await f();",
        "auto v = !co_await f();",
        "auto v = co_await f() && g;",
        "auto v = a ? co_await f() : b;",
        "co_await (c ? f() : g()) + 1;",
        "auto v = co_await x == 3;",
        "g(co_await f());",
        "auto v = std::vector<int>{co_await f(), co_await g()};",
        "v = co_await f();",
        "co_await f([s] { use(s); });",
        "auto v = T{co_await f()};",
        "auto v = co_await f(co_await g());",
    ]

    def rules(self, path, text):
        return [rule for _, rule, _ in check_coroutines.check_text(path, text)]

    def body(self, statement):
        return f"Task<void> Session::run(int n) {{\n  {statement}\n}}\n"

    def test_forms_that_g_plus_plus_12_compiles_right_pass(self):
        for statement in self.GOOD:
            with self.subTest(statement):
                self.assertEqual(self.rules("msgr/session/session.cc", self.body(statement)), [])

    def test_forms_it_miscompiles_are_found(self):
        for statement in self.BAD:
            with self.subTest(statement):
                self.assertIn(1, self.rules("msgr/session/session.cc", self.body(statement)))

    def test_a_lambda_is_never_a_coroutine(self):
        for introducer in ("[this]", "[&]", "[]"):
            text = f"void f() {{ go({introducer}(int n) mutable -> Task<void> {{ co_await g(n); }}); }}"
            self.assertIn(3, self.rules("msgr/session/a.cc", text), introducer)

    def test_a_parameter_never_binds_to_a_temporary(self):
        for parameter in ("const std::string& name", "std::string&& name", "Map<int, int> m, const T& t"):
            self.assertEqual(self.rules("msgr/session/a.h", f"Task<Result<int>> f({parameter});"), [3], parameter)
        for parameter in ("std::string name", "EventCenter& center", "const char* p, std::span<const int> s"):
            self.assertEqual(self.rules("msgr/session/a.h", f"Detached Session::f({parameter}) {{}}"), [], parameter)

    def test_the_path_of_an_op_has_no_coroutine(self):
        for path in ("objecter/objecter.cc", "gateway/image.cc", "bstore_plugin/lun.cc", "osd/ops/op_run.cc",
                     "osd/service/op_service.cc", "msgr/net/link.h", "msgr/posix/posix_link.cc",
                     "msgr/rdma/link/rdma_link.cc", "msgr/event_center.cc"):
            self.assertEqual(self.rules(path, self.body("co_await f();")), [7], path)
        for path in ("tests/msgr/coroutine_test.cc", "msgr/session/session.cc", "msgr/awaiters.h"):
            self.assertEqual(self.rules(path, self.body("co_await f();")), [], path)
        self.assertEqual(self.rules("gateway/image.cc", "// no co_await here\n"), [])


class Text(unittest.TestCase):
    def spdx(self, path, text):
        return len(list(check_text.check_spdx(path, text)))

    def test_each_folder_has_its_licence(self):
        lgpl, gpl = "SPDX-License-Identifier: LGPL-2.1-or-later", "SPDX-License-Identifier: GPL-2.0-only"
        self.assertEqual(self.spdx("msgr/a.cc", f"// {lgpl}\n"), 0)
        self.assertEqual(self.spdx("tools/a.sh", f"#!/bin/sh\n# {lgpl}\n"), 0)
        self.assertEqual(self.spdx("bstore_plugin/a.c", f"// {gpl}\n"), 0)
        self.assertEqual(self.spdx("tracing/a.h", f"/* {lgpl} */\n"), 0)
        self.assertEqual(self.spdx("bstore_plugin/a.c", f"// {lgpl}\n"), 1)
        self.assertEqual(self.spdx("msgr/a.cc", f"// {gpl}\n"), 1)
        self.assertEqual(self.spdx("msgr/a.cc", f"\n// {lgpl}\n"), 1)
        self.assertEqual(self.spdx("msgr/CMakeLists.txt", ""), 1)
        self.assertEqual(self.spdx("README.md", "Lunar\n"), 0)

    def test_paths_and_hosts_of_one_machine_are_found(self):
        find = lambda text: [line for line, _ in check_text.check_machine("docs/a.md", text)]
        slash = "/"
        self.assertEqual(find(f"see\n{slash}work/main/x\n"), [2])
        self.assertEqual(find(f"cd {slash}root/x"), [1])
        self.assertEqual(find("http://deb" + ".debian.org/debian"), [1])
        self.assertEqual(
            find(f"the framework{slash}src and ~{slash}work{slash}lunar and ${{HOME}}{slash}root{slash}"), [])

    def test_long_lines_are_found_counted_in_characters(self):
        find = lambda text, path="docs/a.md": [line for line, _ in check_text.check_columns(path, text)]
        self.assertEqual(find("x" * 118 + "\n" + "x" * 119 + "\n" + "é" * 118), [2])
        self.assertEqual(find("see https://example.org/" + "x" * 119), [])
        self.assertEqual(find("x" * 119, "LICENSES/MIT.txt"), [])


class Headers(unittest.TestCase):
    def run_checker(self, root):
        return subprocess.run(
            [sys.executable, os.path.join(DEV, "check_headers.py"), "--root", root, "a.h"],
            capture_output=True, text=True,
        )  # fmt: skip

    def write(self, root, name, text):
        with open(os.path.join(root, name), "w", encoding="utf-8") as out:
            out.write(text)

    def test_a_header_must_stand_alone_and_is_checked_again_when_what_it_includes_changes(self):
        with tempfile.TemporaryDirectory() as root:
            self.write(root, "a.h", '#pragma once\n#include "b.h"\ninline B b;\n')
            self.write(root, "b.h", "#pragma once\nstruct B {};\n")
            self.assertEqual(self.run_checker(root).returncode, 0)
            self.write(root, "b.h", "#pragma once\nstruct C {};\n")
            failed = self.run_checker(root)
            self.assertEqual(failed.returncode, 1)
            self.assertIn("a.h: does not compile alone", failed.stdout)


class Tracked(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = folder.name
        for path in ("a.cc", "deep/b.h", "build/made.cc"):
            os.makedirs(os.path.dirname(os.path.join(self.root, path)), exist_ok=True)
            with open(os.path.join(self.root, path), "w", encoding="utf-8") as file:
                file.write("x")

    def test_an_archive_has_what_the_build_did_not_make(self):
        self.assertEqual(tracked.tracked(self.root), ["a.cc", "deep/b.h"])
        self.assertEqual(tracked.tracked(self.root, "*.h"), ["deep/b.h"])

    def test_a_checkout_has_what_git_tracks(self):
        for words in (["init", "-q"], ["add", "deep"]):
            subprocess.run(["git", "-C", self.root, *words], check=True)
        self.assertEqual(tracked.tracked(self.root), ["deep/b.h"])

    def test_nothing_at_all_is_an_error(self):
        with tempfile.TemporaryDirectory() as empty, self.assertRaises(SystemExit):
            tracked.tracked(empty)


class Classes(unittest.TestCase):
    def sizes(self, **files):
        with tempfile.TemporaryDirectory() as root:
            os.makedirs(os.path.join(root, "osd"))
            for path, text in files.items():
                with open(os.path.join(root, "osd", path.replace("__", ".")), "w", encoding="utf-8") as file:
                    file.write(text)
            return list(check_classes.sizes(root)), list(check_classes.findings(root))

    def test_members_and_functions_are_told_apart_and_nested_types_are_not_counted(self):
        found, _ = self.sizes(a__h="""class A final : public B<int> {
 public:
  explicit A(int limit) : limit_(limit) { start(); }
  bool operator==(const A&) const = default;
  virtual void f(std::function<void(int)> done) = 0;
  static constexpr int kMax = 3;
  using Map = std::map<int, int>;

 private:
  struct Entry {
    int a;
    int g() const;
  };
  const int limit_;
  std::map<int, void (*)(int)> table_{};
  Map other_ GUARDED_BY(mutex_);
};
""")
        self.assertEqual([(size.name, size.members, size.functions) for size in found],
                         [("A", 3, 3), ("Entry", 1, 1)])

    def test_what_is_too_large_is_found(self):
        members = "".join(f"  int m{i}_;\n" for i in range(25))
        functions = "".join(f"  void f{i}();\n" for i in range(49))
        small = "  void a();\n  void b();\n  void c();\n  void d();\n"
        self.assertEqual(len(self.sizes(a__h="class A {\n" + small + members + "};")[1]), 1)
        self.assertEqual(len(self.sizes(a__h="class A {\n" + functions + "};")[1]), 1)
        self.assertEqual(self.sizes(a__h="struct Values {\n" + members + "};")[1], [])
        sources = {f"{name}__cc": f"void A::{name}() {{\n}}\n" for name in "xyz"}
        self.assertIn("3 .cc files", self.sizes(a__h="class A {\n  void x();\n};", **sources)[1][0])


class OnePlace(unittest.TestCase):
    def found(self, path, text):
        with tempfile.TemporaryDirectory() as root:
            os.makedirs(os.path.dirname(os.path.join(root, path)))
            with open(os.path.join(root, path), "w", encoding="utf-8") as file:
                file.write("#include <nlohmann/json.hpp>\n" + text)
            return list(check_one_place.findings(root))

    def test_any_json_parser_but_ours_is_found(self):
        for call in ("const Json json = Json::parse(text, nullptr, false);", "auto j = nlohmann::json::parse(text);",
                     "nlohmann::ordered_json::sax_parse(t, &h)", "if (json::accept(text)) return;",
                     "auto j = json::from_cbor(bytes);", "file >> json;", "config >> parsed_json;"):
            self.assertEqual(len(self.found("osd/a.cc", call)), 1, call)

    def test_ours_the_one_place_comments_and_tests_are_not(self):
        self.assertEqual(self.found("osd/a.cc", "auto j = parse_json<Json>(text, kBounds);  // Json::parse()"), [])
        self.assertEqual(self.found("common/json.cc", "Json json = Json::parse(text);"), [])
        self.assertEqual(self.found("tests/osd/a_test.cc", "json::parse(text)"), [])

    def test_an_error_that_is_not_made_by_failure_is_found(self):
        for made in ("return tl::unexpected<Error>(result.error());",
                     "out = tl::unexpected<lunar::Error>{code, text};",
                     "co_return tl::unexpected<std::error_code>(\n    code);",
                     "return tl::unexpected(error);", "return tl::make_unexpected(error);"):
            self.assertEqual(len(self.found("osd/a.cc", made)), 1, made)
        for other in ("tl::unexpected<Error> no_answer(const std::string& path) {", "return failure(result.error());",
                      "return tl::unexpected<HandshakeFailure>(std::move(failure));"):
            self.assertEqual(self.found("osd/a.cc", other), [], other)

    def test_text_that_is_printed_as_it_is_is_found(self):
        for printed in ('std::printf("%s", text);', "std::fputs(text, stdout);", "std::cout << text;",
                        'fmt::print(stderr, "{}", text);', "std :: puts(text);"):
            self.assertEqual(len(self.found("tools/a.cc", printed)), 1, printed)
        for other in ('print_visible(stdout, "%s", text);', 'std::snprintf(text, sizeof text, "%d", 1);',
                      "std::fputc('\\n', stderr);"):
            self.assertEqual(self.found("tools/a.cc", other), [], other)


class JunitSummary(unittest.TestCase):
    """The forms are those of ctest 3.25 --output-junit."""

    def summarise(self, *cases):
        return junit_summary.summarise("<testsuite>" + "".join(cases) + "</testsuite>")

    def test_passed_and_failed_are_counted_and_named(self):
        good = '<testcase name="a" status="run"><system-out>fine</system-out></testcase>'
        bad = '<testcase name="b" status="fail"><failure message=""/></testcase>'
        self.assertEqual(self.summarise(good, bad, good), (2, ["b"]))

    def test_a_test_that_failed_says_why_once_more(self):
        said = "\n".join(f"line {number}" for number in range(100))
        cases = (f'<testcase name="b" status="fail"><failure message=""/><system-out>{said}</system-out></testcase>'
                 '<testcase name="a" status="run"><system-out>fine</system-out></testcase>')
        lines = junit_summary.what_was_said(f"<testsuite>{cases}</testsuite>")
        self.assertEqual((lines[0], lines[-1]), ("b said last:", "  line 99"))
        self.assertEqual(len(lines), 1 + junit_summary.MAX_LINES)

    def test_what_did_not_run_has_failed(self):
        for status in ("notrun", "disabled"):
            case = f'<testcase name="c" status="{status}"><skipped message=""/></testcase>'
            self.assertEqual(self.summarise(case), (0, ["c (was not run)"]))

    def test_a_case_skipped_inside_a_passing_test_is_seen(self):
        case = '<testcase name="d" status="run"><system-out>[  SKIPPED ] X.Y (0 ms)</system-out></testcase>'
        self.assertEqual(self.summarise(case), (0, ["d (skips some of its cases)"]))


if __name__ == "__main__":
    unittest.main()
