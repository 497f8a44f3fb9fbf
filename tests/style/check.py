#!/usr/bin/env python3
"""tests/style/check.py [--root DIR] [RULE...]: proves the rules of the house that a compiler does not.

Prints one line `file:line: what` for each breach and exits 1 if there is any; 77 when a tool that a rule needs is missing.
Each rule is a function from a root directory to its breaches, so the self-test can show that it fails where it must.
"""
import argparse
import pathlib
import re
import shutil
import subprocess
import sys

ROOMS = ("core", "sandbox", "images", "storage", "judge", "server", "cli")
KNOWS = {  # room -> the rooms whose headers it may include and whose libraries it may link (docs/architecture.md, "Rooms")
    "core": {"core"},
    "core/json": {"core", "core/json"},
    "sandbox": {"core", "sandbox"},
    "images": {"core", "core/json", "images"},
    "storage": {"core", "storage"},
    "judge": {"core", "judge"},
    "server": {"core", "core/json", "sandbox", "images", "storage", "judge", "server"},
    "cli": {"core", "core/json", "sandbox", "images", "storage", "cli"},
}
LIBRARIES = {  # first part of an include in <> -> the rooms that may use it; what is not named here is the C++ or the system library
    "boost": {"server", "cli"},
    "nlohmann": {"core/json", "images", "server", "cli"},
    "spdlog": {"server"},
    "prometheus": {"server"},
    "SQLiteCpp": {"storage"},
    "sqlite3.h": {"storage"},
    "seccomp.h": {"sandbox"},
    "toml++": {"images", "server"},
    "openssl": {"images", "storage", "server"},
    "archive.h": {"images"},
    "archive_entry.h": {"images"},
    "fmt": {"images", "storage", "server", "cli"},
    "CLI": {"server", "cli"},
    "curl": {"cli"},
}
MAX_FILE_LINES, MAX_FUNCTION_LINES, MAX_COLUMNS = 600, 70, 140
CODE_DIRECTORIES = ROOMS + ("tests", "bench")
CODE_SUFFIXES = {".h", ".cpp", ".cc"}


def files_below(root, directories):
    for directory in directories:
        for path in sorted((root / directory).rglob("*")):
            if path.is_file():
                yield path


def code_files(root, directories=CODE_DIRECTORIES):
    return [path for path in files_below(root, directories) if path.suffix in CODE_SUFFIXES]


def breach(root, path, line, text):
    return f"{path.relative_to(root)}:{line}: {text}"


def room_of(name):
    """The room that a path relative to the root belongs to, or None. A room's unit tests may know what the room may know."""
    parts = pathlib.PurePosixPath(name).parts
    if parts[:2] == ("core", "json"):
        return "core/json"
    if parts[0] in ROOMS:
        return parts[0]
    if parts[:2] == ("tests", "unit"):
        room = parts[2].split("_")[0].split(".")[0]
        # JSON texts of the core types are tested beside the core types.
        return {"core": "core/json"}.get(room, room) if room in ROOMS else None
    return None


def blank(match):
    return re.sub(r"[^\n]", " ", match.group(0))


def without_comments(text, strings_too=True):
    """The source with comments (and the insides of literals) blanked, every line where it was."""
    literal = r'R"([^()\s\\]{0,16})\((?:.|\n)*?\)\1"|"(?:\\.|[^"\\\n])*"|(?<![0-9A-Za-z_])(?:u8|u|U|L)?\'(?:\\.|[^\'\\\n])+\''
    pattern = re.compile(r"//[^\n]*|/\*(?:.|\n)*?\*/|" + literal)

    def replace(match):
        found = match.group(0)
        if found.startswith(("//", "/*")) or strings_too:
            return blank(match)
        return found

    return pattern.sub(replace, text)


def rule_arrows(root):
    """No include crosses the rooms except along the arrows."""
    for path in code_files(root):
        room = room_of(path.relative_to(root).as_posix())
        if room is None:
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            found = re.match(r'\s*#\s*include\s*(["<])([^">]+)[">]', line)
            if not found:
                continue
            target = room_of(found.group(2)) if found.group(1) == '"' or found.group(2).split("/")[0] in ROOMS else None
            if target and target not in KNOWS[room]:
                yield breach(root, path, number, f"{room} may not know {target}: {found.group(2)}")
            library = LIBRARIES.get(found.group(2).split("/")[0]) if found.group(1) == "<" else None
            if library is not None and room not in library:
                yield breach(root, path, number, f"{room} may not use {found.group(2)}")


def rule_links(root):
    """No CMake target of a room links a room that it may not know."""
    for path in sorted(root.glob("*/**/CMakeLists.txt")):
        room = room_of(path.relative_to(root).as_posix())
        if room is None or path.relative_to(root).parts[0] == "tests":
            continue
        text = re.sub(r"#[^\n]*", "", path.read_text())
        for call in re.finditer(r"\b(bailiff_room|target_link_libraries)\s*\(([^)]*)\)", text):
            for name in re.findall(r"\bbailiff_(\w+)", call.group(2)):
                target = "core/json" if name == "core_json" else name
                if target in KNOWS and target not in KNOWS[room]:
                    number = text.count("\n", 0, call.start()) + 1
                    yield breach(root, path, number, f"{room} may not link bailiff_{name}")


def functions_of(text):
    """(first line, last line) of every function body at namespace or class scope. Lambdas count as part of the function around them."""
    code = without_comments(text)
    code = re.sub(r"(?m)^[ \t]*#(?:[^\n]*\\\n)*[^\n]*", blank, code)
    stack, head, head_line, line = [], "", 1, 1
    for character in code:
        if character == "\n":
            line += 1
        if character == "{":
            if any(kind == "function" for kind, _ in stack):
                kind = "inner"
            elif re.search(r"\)[^()]*(?<!:):(?!:)", head) and re.search(r"[\w>]\s*$", head) and not re.search(r"\)\s*(const|noexcept)?\s*$", head):
                kind = "initializer"  # one member of a constructor's list: the head goes on behind it
            elif re.search(r"=\s*$|\breturn\s*$", head) or "(" not in head:
                kind = "scope"
            else:
                kind = "function"
            stack.append((kind, head_line))
            if kind != "initializer":
                head = ""
        elif character == "}":
            if stack:
                kind, first = stack.pop()
                if kind == "function":
                    yield first, line
                if kind == "initializer":
                    head += "()"
                else:
                    head = ""
        elif character == ";":
            head = ""
        else:
            if not head.strip() and not character.isspace():
                head_line = line
            head += character


def rule_sizes(root):
    """Files, functions and lines have bounds; headers are included once."""
    for path in code_files(root):
        text = path.read_text()
        lines = text.splitlines()
        if len(lines) > MAX_FILE_LINES:
            yield breach(root, path, len(lines), f"{len(lines)} lines; a file has at most {MAX_FILE_LINES}")
        for first, last in functions_of(text):
            if last - first + 1 > MAX_FUNCTION_LINES:
                yield breach(root, path, first, f"a function of {last - first + 1} lines; {MAX_FUNCTION_LINES} are the most")
        for number, line in enumerate(lines, 1):
            if len(line) > MAX_COLUMNS and 'R"' not in text:
                yield breach(root, path, number, f"{len(line)} columns; {MAX_COLUMNS} are the most")
        if path.suffix == ".h" and "#pragma once" not in lines:
            yield breach(root, path, 1, "a header without #pragma once")


VAGUE = "util|utils|common|helper|helpers|manager|managers|misc"


def rule_names(root):
    """Nothing is called by a name that says nothing, and nothing is left for later."""
    later = re.compile(r"\b(" + "|".join(("TO" "DO", "FIX" "ME", "X" "XX", "HA" "CK")) + r")\b")
    for path in files_below(root, CODE_DIRECTORIES + ("script", "web", "docs", ".ci")):
        if path.suffix in (".pyc", ".png", ".ico") or {"__pycache__", "node_modules", "dist"} & set(path.parts):
            continue
        is_data = path.suffix == ".toml"  # named by what clients and operators type
        if not is_data and re.search(rf"(?:^|[_\-.])(?:{VAGUE})(?:[_\-.]|$)", path.name, re.I):
            yield breach(root, path, 1, "the file's name says nothing")
        text = path.read_text(errors="replace")
        for number, line in enumerate(text.splitlines(), 1):
            if later.search(line):
                yield breach(root, path, number, "left for later: " + later.search(line).group(0))
        if path.suffix in CODE_SUFFIXES:
            for found in re.finditer(r"\b(?:class|struct|namespace|enum(?:\s+class)?)\s+([\w:]+)", without_comments(text)):
                words = re.findall(r"[A-Z]?[a-z]+", found.group(1))
                if any(re.fullmatch(VAGUE, word, re.I) for word in words):
                    number = text.count("\n", 0, found.start()) + 1
                    yield breach(root, path, number, f"a name that says nothing: {found.group(1)}")


MAKERS = {  # calls that make a descriptor -> what must stand in their arguments; None: the call has no way to say it
    "open": "CLOEXEC", "openat": "CLOEXEC", "open64": "CLOEXEC", "socket": "CLOEXEC", "socketpair": "CLOEXEC", "pipe2": "CLOEXEC",
    "accept4": "CLOEXEC", "memfd_create": "CLOEXEC", "eventfd": "CLOEXEC", "epoll_create1": "CLOEXEC", "timerfd_create": "CLOEXEC",
    "signalfd": "CLOEXEC", "inotify_init1": "CLOEXEC", "fanotify_init": "CLOEXEC", "dup3": "CLOEXEC", "mkostemp": "CLOEXEC",
    "fsopen": "CLOEXEC", "fsmount": "CLOEXEC", "fspick": "CLOEXEC", "open_tree": "CLOEXEC", "recvmsg": "CLOEXEC",
    "pipe": None, "accept": None, "creat": None, "epoll_create": None, "inotify_init": None, "dup": None, "mkstemp": None,
}


def arguments_at(code, start):
    depth = 0
    for position in range(start, len(code)):
        depth += {"(": 1, ")": -1}.get(code[position], 0)
        if depth == 0:
            return code[start + 1:position]
    return code[start + 1:]


def rule_cloexec(root):
    """Every descriptor is made close-on-exec, in the call that makes it."""
    call = re.compile(r"([\w>&*\]]+\s+|[\w\])>]*(?:\.|->|::))?\b(" + "|".join(MAKERS) + r")\s*\(")
    system_call = re.compile(r"\b(?:SYS|__NR)_(" + "|".join(MAKERS) + r")\b")
    for path in code_files(root, ROOMS + ("bench",)):
        code = without_comments(path.read_text())
        for found in call.finditer(code):
            before = (found.group(1) or "").strip()
            declared_or_member = before not in ("", "::", "return", "co_return", "else", "=", "&", "*") and not before.isdigit()
            if declared_or_member:
                continue
            yield from cloexec_breach(root, path, code, found.group(2), found.start(2), arguments_at(code, found.end() - 1))
        for found in system_call.finditer(code):
            end = code.find(";", found.end())
            yield from cloexec_breach(root, path, code, found.group(1), found.start(), code[found.end():end])


def cloexec_breach(root, path, code, name, position, arguments):
    number = code.count("\n", 0, position) + 1
    if MAKERS[name] is None:
        yield breach(root, path, number, f"{name}() cannot make a close-on-exec descriptor; use the call that can")
    elif MAKERS[name] not in arguments:
        yield breach(root, path, number, f"{name}() without {MAKERS[name]}")


def rule_security(root):
    """Every property in docs/security.md names tests, and they exist."""
    path = root / "docs" / "security.md"
    if not path.exists():
        return
    sources = "\n".join(file.read_text() for file in files_below(root, ("tests",)) if file.suffix in CODE_SUFFIXES)
    inside = False
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line.startswith("## "):
            inside = line == "## Properties and their tests"
        cells = [cell.strip() for cell in line.strip("|").split("|")] if inside and line.startswith("| ") else []
        if len(cells) != 3 or cells[0] == "property":
            continue
        words = re.findall(r"`([^`]+)`", cells[2])
        if not words:
            yield breach(root, path, number, f"a property without a test: {cells[0]}")
        for word in words:
            known = (root / word).exists() if "/" in word else re.search(rf"\b{re.escape(word)}\b", sources)
            if not known:
                yield breach(root, path, number, f"no such test: {word}")


def rule_layout(root):
    """Sources look as .clang-format says."""
    tool = shutil.which("clang-format-19")
    if tool is None:
        print("SKIPPED: clang-format-19 is missing: run script/bootstrap test")
        sys.exit(77)
    files = [str(path) for path in code_files(root)]
    if not files:
        return
    style = "--style=file:" + str(pathlib.Path(__file__).resolve().parents[2] / ".clang-format")
    result = subprocess.run([tool, "--dry-run", style, *files], capture_output=True, text=True, check=True)
    for found in re.finditer(r"(?m)^(/[^:\n]+):(\d+):\d+: (?:warning|error): ", result.stderr):
        yield breach(root, pathlib.Path(found.group(1)), found.group(2), "not laid out as .clang-format says (script/format)")


RULES = {name.removeprefix("rule_"): rule for name, rule in sorted(globals().items()) if name.startswith("rule_")}


def main():
    parser = argparse.ArgumentParser(description="Checks the rules of the house.")
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parents[2])
    parser.add_argument("rules", nargs="*", metavar="RULE", help=" ".join(RULES))
    arguments = parser.parse_args()
    unknown = [name for name in arguments.rules if name not in RULES]
    if unknown:
        parser.error("no such rule: " + " ".join(unknown))
    found = [text for name in arguments.rules or RULES for text in RULES[name](arguments.root.resolve())]
    print("\n".join(found) if found else "every rule holds")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
