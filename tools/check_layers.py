#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks what the compiler does not: which folder may include which, and the house rules that a search can decide.

usage: check_layers.py [--self-test] [--root FOLDER]

The folders are the quiver_layer lines in src/quiver/CMakeLists.txt: each may include what its USES names, and no other;
`cli` may include all. The lines must make a graph without a cycle. Each run first plants one violation of every rule in
a small tree and expects it to be found; --self-test stops there. Prints `file:line: rule` for each finding and exits 1
if there is one.
"""
import argparse
import re
import sys
import tempfile
from pathlib import Path

SOURCE_FOLDERS = ("src", "tests", "bench", "examples")
SCRIPT_FOLDERS = ("tools", "bench", "tests", "examples", "cmake", "src", ".ci")
CPP = {".h", ".cpp", ".cu", ".cuh"}
SCRIPTS = {".py", ".sh", ".cmake"}
MAX_LINES = 600
NO_TORCH = {"base", "kernels", "text", "data"}
MAY_PRINT = {"cli"}
MAY_PRINT_FILES = {"src/quiver/base/progress.cpp", "src/quiver/recipes/child_process.cpp"}  # drawing; a child after fork

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
INTRINSICS = re.compile(r"^(?:[a-z]*mmintrin|immintrin|x86intrin|x86gprintrin|intrin|arm_neon|arm_sve|arm_acle)\.h$")
PRINTS = re.compile(
    r"std::(?:cout|cerr|clog)\b|\bfmt::print\b"
    r"|(?<![\w.>])(?:printf|fprintf|vprintf|vfprintf|puts|fputs|putchar|fputc|perror|exit|_exit|quick_exit|abort)\s*\(")
UNFINISHED = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X)\b")
LITERALS = re.compile(r'//[^\n]*|/\*.*?\*/|R"\((?:.|\n)*?\)"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'', re.S)


def allowed_folders(root):
    """Folder: the folders that it may include. A folder is declared after those that it uses, so there is no cycle."""
    lines = re.findall(r"^quiver_layer\((\w+)([^)]*)\)", (root / "src/quiver/CMakeLists.txt").read_text(), re.M)
    allowed = {}
    for name, rest in lines:
        uses = re.search(r"USES((?:\s+[a-z_]+)*)", rest)
        allowed[name] = set(uses.group(1).split()) if uses else set()
        for used in allowed[name] - allowed.keys() | (allowed[name] & {name}):
            sys.exit(f"check_layers: src/quiver/CMakeLists.txt: {name} uses {used}, which is not declared before it")
    allowed["cli"] = set(allowed)
    return allowed


def without_literals(text):
    """The code alone: comments and strings become blanks, lines keep their numbers."""
    return LITERALS.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text)


def files_of(root, folders, suffixes, names=()):
    for folder in folders:
        for path in sorted((root / folder).rglob("*")):
            if path.is_file() and (path.suffix in suffixes or path.name in names):
                yield path


def check_includes(root, path, lines, allowed):
    parts = path.relative_to(root).parts
    layer = parts[2] if parts[:2] == ("src", "quiver") and len(parts) > 3 else None
    if layer is not None and layer not in allowed:
        yield 1, f"folder '{layer}' has no quiver_layer line in src/quiver/CMakeLists.txt"
        return
    for number, line in enumerate(lines, 1):
        match = INCLUDE.match(line)
        if not match:
            continue
        quoted, name = match.group(1) == '"', match.group(2)
        if name == "torch/torch.h" or name == "torch/all.h":
            yield number, f"{name} costs 10 s to compile: include the ATen or autograd header that is needed"
        if INTRINSICS.match(name) and layer != "kernels":
            yield number, f"intrinsics ({name}) belong in kernels"
        if layer in NO_TORCH and re.match(r"(?:torch|ATen|c10)/", name):
            yield number, f"no LibTorch in {layer} ({name})"
        if not quoted:
            continue
        if not (root / "src" / name).is_file() and not (root / name).is_file():
            yield number, f'"{name}" does not exist below src/: name project headers by their path from there'
        target = name.split("/")[1] if name.startswith("quiver/") and name.count("/") > 1 else None
        if layer is not None and target != layer and target in allowed and target not in allowed[layer]:
            yield number, f"{layer} may not include {target} ({name}): its USES in src/quiver/CMakeLists.txt has it not"


def check_code(root, path, text):
    relative = path.relative_to(root)
    layer = relative.parts[2] if relative.parts[:2] == ("src", "quiver") and len(relative.parts) > 3 else None
    code = without_literals(text).splitlines()
    quiet = layer is not None and layer not in MAY_PRINT and not path.name.endswith("_test.cpp") \
        and relative.as_posix() not in MAY_PRINT_FILES
    for number, line in enumerate(code, 1):
        if quiet and (match := PRINTS.search(line)):
            yield number, f"the library does not print, exit or abort ({match.group().rstrip('( ')})"
        if path.suffix in (".h", ".cuh") and re.search(r"\busing\s+namespace\b", line):
            yield number, "no `using namespace` in a header"


def check_text(path, text):
    lines = text.splitlines()
    head = lines[1:2] if lines[:1] and lines[0].startswith("#!") else lines[:1]
    if not head or "SPDX-License-Identifier: Apache-2.0" not in head[0]:
        yield 1, "the first line (after #!) is not the SPDX line"
    if len(lines) > MAX_LINES:
        yield MAX_LINES, f"{len(lines)} lines, {MAX_LINES} are allowed"
    for number, line in enumerate(lines, 1):
        if UNFINISHED.search(line):
            yield number, "unfinished work is an issue, not a remark"


def findings(root):
    allowed = allowed_folders(root)
    for path in files_of(root, SOURCE_FOLDERS, CPP):
        text = path.read_text()
        for number, what in (*check_includes(root, path, text.splitlines(), allowed), *check_code(root, path, text)):
            yield path, number, what
    everything = set(files_of(root, SOURCE_FOLDERS, CPP)) \
        | set(files_of(root, SCRIPT_FOLDERS, SCRIPTS, ("CMakeLists.txt", "run"))) \
        | {path for path in (root / "dev", root / "CMakeLists.txt") if path.is_file()}
    for path in sorted(everything):
        for number, what in check_text(path, path.read_text()):
            yield path, number, what


SPDX = "// SPDX-License-Identifier: Apache-2.0\n"
PLANTED = {  # file of the planted tree: (its text, words that the one finding must contain; None: there must be none)
    "src/quiver/base/good.cpp": (SPDX + '#include "quiver/base/a.h"\n// printf("x") in a comment\nauto s = "exit(";\n', None),
    "src/quiver/base/a.h": (SPDX, None),
    "src/quiver/kernels/k.h": (SPDX + '#include <immintrin.h>\n#include "quiver/base/a.h"\n', None),
    "src/quiver/cli/main.cpp": (SPDX + '#include "quiver/ops/o.h"\nint main() { printf("hello"); }\n', None),
    "src/quiver/ops/a_test.cpp": (SPDX + 'void f() { std::cout << 1; }\n', None),
    "src/quiver/ops/o.h": (SPDX + "void print(); void g() { file.abort(); }\n", None),
    "src/quiver/base/up.cpp": (SPDX + '#include "quiver/ops/o.h"\n', "base may not include ops"),
    "src/quiver/ops/across.cpp": (SPDX + '#include "quiver/kernels/k.h"\n', "ops may not include kernels"),
    "src/quiver/base/torch.cpp": (SPDX + "#include <ATen/core/Tensor.h>\n", "no LibTorch in base"),
    "src/quiver/ops/all.cpp": (SPDX + "#include <torch/torch.h>\n", "costs 10 s"),
    "src/quiver/ops/fast.cpp": (SPDX + "#include <immintrin.h>\n", "belong in kernels"),
    "src/quiver/ops/short.cpp": (SPDX + '#include "o.h"\n', "does not exist below src"),
    "src/quiver/ops/print.cpp": (SPDX + "void f() { std::cout << 1; }\n", "does not print"),
    "src/quiver/ops/exit.cpp": (SPDX + "void f() { std::exit(1); }\n", "does not print"),
    "src/quiver/ops/using.h": (SPDX + "using namespace std;\n", "using namespace"),
    "src/quiver/ops/bare.cpp": ("int x;\n", "SPDX"),
    "src/quiver/ops/long.cpp": (SPDX + "\n" * MAX_LINES, "are allowed"),
    "src/quiver/ops/later.cpp": (SPDX + "// TO" "DO: later\n", "an issue"),
    "src/quiver/stray/x.cpp": (SPDX, "no quiver_layer line"),
    "tools/tool.py": ("#!/usr/bin/env python3\nprint()\n", "SPDX"),
}


def self_test():
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name, (text, _) in PLANTED.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(text)
        layers = "".join(f"quiver_layer({name} {uses} LINKS x)\n"
                         for name, uses in (("base", ""), ("kernels", "USES base"), ("ops", "USES base")))
        (root / "src/quiver/CMakeLists.txt").write_text("# SPDX-License-Identifier: Apache-2.0\n" + layers)
        found = {}
        for path, _, what in findings(root):
            found.setdefault(path.relative_to(root).as_posix(), []).append(what)
    for name, (_, words) in PLANTED.items():
        got = found.pop(name, [])
        if (words is None and got) or (words is not None and (len(got) != 1 or words not in got[0])):
            sys.exit(f"check_layers: self-test: {name}: expected {words!r}, found {got}")
    if found:
        sys.exit(f"check_layers: self-test: unexpected findings {found}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--self-test", action="store_true", help="only prove that every rule can fail")
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parent.parent)
    options = parser.parse_args()
    self_test()
    if options.self_test:
        print("check_layers: self-test passed")
        return 0
    found = list(findings(options.root))
    for path, number, what in found:
        print(f"{path.relative_to(options.root)}:{number}: {what}")
    print(f"check_layers: {len(found)} findings")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
