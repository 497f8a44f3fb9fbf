#!/usr/bin/env python3
"""Shows that each rule of check.py passes good code and fails on the breach that it is there for."""
import pathlib
import shutil
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import check  # noqa: E402  # the path above comes first

GOOD_HEADER = "#pragma once\n"


def breaches(rule, files):
    """What a rule says about a tree of exactly these files (name -> text)."""
    with tempfile.TemporaryDirectory() as directory:
        root = pathlib.Path(directory).resolve()
        for name, text in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        return list(check.RULES[rule](root))


class Arrows(unittest.TestCase):
    def test_along_the_arrows(self):
        self.assertEqual([], breaches("arrows", {
            "server/a.cpp": '#include "sandbox/client.h"\n#include "core/json/json.h"\n#include <boost/asio.hpp>\n',
            "cli/a.cpp": '#include "images/catalogue.h"\n',
            "tests/unit/storage_a.cpp": '#include "storage/store.h"\n#include "core/job.h"\n',
            "tests/system/a.cpp": '#include "server/jobs.h"\n'}))

    def test_against_the_arrows(self):
        for name, line in (("sandbox/a.cpp", '#include "images/catalogue.h"'), ("core/a.h", '#include "sandbox/client.h"'),
                           ("core/a.h", '#include "core/json/json.h"'), ("judge/a.cpp", '#include "storage/store.h"'),
                           ("cli/a.cpp", '#include "server/jobs.h"'), ("cli/a.cpp", '#include "judge/judge.h"'),
                           ("sandbox/a.cpp", "#include <nlohmann/json.hpp>"), ("storage/a.cpp", "  # include <boost/asio.hpp>"),
                           ("server/a.cpp", "#include <SQLiteCpp/Database.h>"), ("sandbox/a.cpp", "#include <judge/judge.h>"),
                           ("tests/unit/judge_a.cpp", '#include "storage/store.h"')):
            found = breaches("arrows", {name: "// first line\n" + line + "\n"})
            self.assertEqual(1, len(found), (name, line))
            self.assertTrue(found[0].startswith(name + ":2: "), found)


class Links(unittest.TestCase):
    def test_along_the_arrows(self):
        self.assertEqual([], breaches("links", {
            "server/CMakeLists.txt": "bailiff_room(server bailiff_core bailiff_core_json\n  bailiff_storage)\n",
            "core/json/CMakeLists.txt": "bailiff_room(core_json bailiff_core)\n",
            "tests/CMakeLists.txt": "target_link_libraries(x bailiff_server)\n"}))

    def test_against_the_arrows(self):
        self.assertEqual(["judge/CMakeLists.txt:2: judge may not link bailiff_storage"],
                         breaches("links", {"judge/CMakeLists.txt": "# a\nbailiff_room(judge bailiff_core bailiff_storage)\n"}))
        self.assertEqual(1, len(breaches("links", {
            "sandbox/CMakeLists.txt": "target_link_libraries(bailiff-launcher PRIVATE\n bailiff_core_json)\n"})))


class Sizes(unittest.TestCase):
    def function(self, head, lines):
        return head + " {\n" + "  f();\n" * (lines - 2) + "}\n"

    def test_at_the_bounds(self):
        self.assertEqual([], breaches("sizes", {
            "core/a.h": GOOD_HEADER + "\n" * 599,
            "core/a.cpp": "namespace a {\n" + self.function("int f(int a)", 70) * 3 + "}\n",
            "core/b.cpp": "struct Table {\n" + "  int a = 0;\n" * 100 + "};\nint table[] = {\n" + "  f(1),\n" * 100 + "};\n",
            "core/c.cpp": "// " + "x" * 137 + "\n// " + "ü" * 137 + "\n"}))

    def test_past_the_bounds(self):
        for name, text in (("core/a.h", GOOD_HEADER + "\n" * 600), ("core/a.h", "int a;\n"), ("core/a.cpp", "// " + "x" * 138 + "\n"),
                           ("core/a.cpp", self.function("int f(int a)", 71)),
                           ("core/a.cpp", "namespace a {\nnamespace {\n" + self.function("auto f() -> int", 71) + "}\n}\n"),
                           ("core/a.cpp", self.function("A::A(int b) : b_(b), c_{1}, d_{b}", 71)),
                           ("core/a.cpp", self.function("TEST(A, b)", 71)),
                           ("core/a.cpp", "char q = '{'; int n = 1'000'000; const char* s = \"}{\";\n" + self.function("int f()", 71)),
                           ("core/a.cpp", "class A {\n" + self.function("  int f(int a) const override", 71) + "};\n")):
            self.assertEqual(1, len(breaches("sizes", {name: text})), text[:60])


class Names(unittest.TestCase):
    def test_names_that_say_something(self):
        self.assertEqual([], breaches("names", {"core/commonplace.h": "class Utilisation {};\nusing T = std::common_type_t<int>;\n",
                                                "script/a": "mktemp a.XXXXXX\n"}))

    def test_names_that_do_not(self):
        for name, text in (("core/string_utils.h", ""), ("server/helper.cpp", ""), ("core/a.cpp", "class JobManager {};"),
                           ("core/a.cpp", "namespace bailiff::common {}"), ("core/a.cpp", "struct path_helper {};"),
                           ("script/a", "# TO" "DO: later"), ("docs/a.md", "FIX" "ME"), ("core/a.cpp", "// X" "XX why")):
            self.assertEqual(1, len(breaches("names", {name: text + "\n"})), (name, text))


class Cloexec(unittest.TestCase):
    def test_with_it(self):
        self.assertEqual([], breaches("cloexec", {"core/a.cpp": """
            int a = open(path.c_str(), O_RDONLY | O_CLOEXEC);
            int b = ::memfd_create("x", MFD_CLOEXEC | MFD_ALLOW_SEALING);
            // open(path, O_RDONLY) is only talked about
            auto c = TreeReader::open(3), d = store.open(x), e = file->open(y);
            static core::Result<Store> open(const Options& options);
            long f = syscall(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC);
            """}))

    def test_without_it(self):
        for line in ("int a = open(path, O_RDONLY);", "return ::open(path.c_str(), flags);", "core::Fd a(openat(dir, name,\n O_PATH));",
                     "socket(AF_UNIX, SOCK_STREAM, 0);", "pipe(fds);", "if (accept(s, nullptr, nullptr) < 0) return;", "pipe2(fds, O_NONBLOCK);",
                     "memfd_create(\"CLOEXEC\", 0);", "syscall(SYS_open_tree, -1, path, OPEN_TREE_CLONE);", "int a = dup(1);"):
            self.assertEqual(1, len(breaches("cloexec", {"sandbox/a.cpp": "\n" + line + "\n"})), line)


class Security(unittest.TestCase):
    def documented(self, test):
        return breaches("security", {
            "tests/sandbox/a_test.cpp": "TEST_F(SandboxTest, Holds) {}\n",
            "docs/security.md": "# Security\n| a | b | `Elsewhere` |\n## Properties and their tests\n| property | mechanism | test |\n|---|---|---|\n"
                                f"| walls | kernel | {test} |\n## Known gaps\n| a | b | `Elsewhere` |\n"})

    def test_tests_that_are_there(self):
        self.assertEqual([], self.documented("`Holds`, `tests/sandbox/a_test.cpp` (`SandboxTest`)"))

    def test_tests_that_are_not(self):
        self.assertEqual(["docs/security.md:6: no such test: Hold"], self.documented("`Hold`"))
        self.assertEqual(["docs/security.md:6: a property without a test: walls"], self.documented("-"))
        self.assertEqual(["docs/security.md:6: no such test: tests/sandbox/b_test.cpp"], self.documented("`Holds` in `tests/sandbox/b_test.cpp`"))


@unittest.skipUnless(shutil.which("clang-format-19"), "clang-format-19 is missing; the rule's own test says so")
class Layout(unittest.TestCase):
    def test_layout(self):
        self.assertEqual([], breaches("layout", {"core/a.cpp": "int f(int a) { return a; }\n"}))
        self.assertEqual(1, len(breaches("layout", {"core/a.cpp": "int f(int a)\n{\n\treturn a;\n}\n"})[:1]))


if __name__ == "__main__":
    unittest.main()
