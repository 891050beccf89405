#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that no document names a path, a verb or an option that does not exist.

usage: check_documents.py [--self-test] [--binary QUIVER] [--root FOLDER]

Looks at README.md, CONTRIBUTING.md and docs/*.md:
  * links, and paths in `backticks`, are files or folders of the project (`*` matches, <name> stands for anything);
  * so are paths on the command lines of fenced blocks, where they start with a folder of the project;
  * `./dev VERB` is a verb that ./dev help lists;
  * `quiver VERB --option` is in the help text of the binary, where the binary has been built.
A document says which names are not meant to be in the project (build outputs, a user's own paths) in a comment
`<!-- not in the repository: build/ library.json *.gguf -->`; a trailing slash covers all below. Each run first proves on
a small tree that every check can fail; --self-test stops there. Prints `file:line: what`, exits 1 if there is any.
"""
import argparse
import fnmatch
import re
import subprocess
import sys
import tempfile
from pathlib import Path

DOCUMENTS = ("README.md", "CONTRIBUTING.md", "docs/*.md")
OUTSIDE = re.compile(r"<!-- not in the repository:(.*?)-->", re.S)
ALWAYS_OUTSIDE = ("build/", ".venv/", ".demo/", "~/", "/")
EXTENSIONS = r"md|h|cpp|cu|py|sh|cmake|json|jsonl|toml|txt|svg|html|safetensors|gguf|yml"
PATH = re.compile(rf"^[\w.~*<>@+-]*(?:/[\w.*<>@+-]+)+/?$|^[\w.*<>-]+/$|^[\w*<>.-]+\.(?:{EXTENSIONS})$")
LINK = re.compile(r"\]\(([^)\s]+)\)")
SPAN = re.compile(r"`([^`\n]+)`")
QUIVER = re.compile(r"^(?:\$ )?(?:\S*/)?quiver\s+([a-z][a-z-]*)\b(.*)$")
DEV = re.compile(r"(?:^|\s)\./dev\s+([a-z][a-z-]*)")


def is_outside(name, patterns):
    for pattern in patterns:
        if name == pattern or fnmatch.fnmatchcase(name, pattern) or (pattern.endswith("/") and name.startswith(pattern)):
            return True
    return False


def exists(root, base, name):
    """`*` and <name> match anything; a bare file name may stand in any folder of the sources."""
    pattern = re.sub(r"<[^>]*>", "*", name.removeprefix("./")).rstrip("/")
    for folder in (root, base):
        if "*" in pattern:
            parent, _, last = pattern.rpartition("/")
            if any(folder.glob(pattern)) or ("<" in name and parent and any(folder.glob(parent))):
                return True
        elif (folder / pattern).exists():
            return True
    if "/" in name:
        return False
    return any(any((root / top).rglob(pattern)) for top in ("src", "tests", "tools", "bench", "docs", "cmake", "examples"))


def lines_of(text):
    """Yields (number, line, fenced); a fenced line that ends in a backslash is joined with the next."""
    fenced, held, start = False, "", 0
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
            continue
        if fenced and line.endswith("\\"):
            start, held = start or number, held + line[:-1]
            continue
        yield start or number, held + line, fenced
        start, held = 0, ""


def named_paths(line, fenced, tops):
    if fenced:
        for word in line.split("#")[0].split():
            if "/" in word and word.removeprefix("./").split("/")[0] in tops and PATH.match(word):
                yield word
        return
    for target in LINK.findall(line):
        if "://" not in target and not target.startswith(("#", "mailto:")):
            yield target.split("#")[0]
    for span in SPAN.findall(line):
        if PATH.match(span):
            yield span


def commands(line, fenced):
    return [line.strip()] if fenced else SPAN.findall(line)


class Help:
    """The options of each verb, as the binary's own help tells them."""

    def __init__(self, binary):
        self.binary, self.texts = binary, {}

    def text(self, *words):
        if words not in self.texts:
            run = subprocess.run([self.binary, *words, "--help"], capture_output=True, text=True, timeout=60, check=False)
            self.texts[words] = run.stdout + run.stderr if run.returncode == 0 else ""
        return self.texts[words]

    def problems(self, verb, rest):
        if not re.search(rf"(?m)^\s+{re.escape(verb)}\b", self.text()):
            yield f"quiver has no verb '{verb}'"
            return
        known = self.text(verb)
        word = rest.split()[0] if rest.split() else ""
        if re.fullmatch(r"[a-z][a-z-]*", word):
            known += self.text(verb, word)
        for option in re.findall(r"(?<!\S)(--[a-z][a-z0-9-]*)", rest):
            if not re.search(rf"{re.escape(option)}(?![a-z0-9-])", known):
                yield f"quiver {verb} has no option {option}"


def dev_verbs(root):
    text = subprocess.run([root / "dev", "help"], capture_output=True, text=True, timeout=60, check=True).stdout
    return set(re.findall(r"(?m)^  ([a-z]+)\b", text))


def findings(root, binary):
    tops = {path.name for path in root.iterdir()}
    helps = Help(binary) if binary else None
    verbs = dev_verbs(root)
    for document in sorted(path for pattern in DOCUMENTS for path in root.glob(pattern)):
        text = document.read_text()
        outside = [*ALWAYS_OUTSIDE, *(name for block in OUTSIDE.findall(text) for name in block.split())]
        text = OUTSIDE.sub(lambda match: "\n" * match.group().count("\n"), text)
        for number, line, fenced in lines_of(text):
            for name in named_paths(line, fenced, tops):
                if not is_outside(name.removeprefix("./"), outside) and not exists(root, document.parent, name):
                    yield document, number, f"{name} does not exist"
            for command in commands(line, fenced):
                for verb in DEV.findall(command):
                    if verb not in verbs:
                        yield document, number, f"./dev has no verb '{verb}'"
                match = QUIVER.match(command)
                if helps and match:
                    yield from ((document, number, what) for what in helps.problems(*match.groups()))


PLANTED = """
[good](docs/a.md) `docs/*.md` `src/<name>.cpp` `a.h` `build/x/y` `experts/one.json` `./dev test` `quiver train --rank 8`
```
tools/t.py --x   # and docs/none.md in a comment
quiver train \\
  --rank 8
```
<!-- not in the repository: experts/ -->
"""
PLANTED_BAD = {
    "[bad](docs/missing.md)": "docs/missing.md does not exist",
    "`src/missing.cpp`": "src/missing.cpp does not exist",
    "`missing.h`": "missing.h does not exist",
    "`src/x*.cpp`": "src/x*.cpp does not exist",
    "`./dev fly`": "./dev has no verb 'fly'",
    "`quiver fly`": "quiver has no verb 'fly'",
    "`quiver train --fly`": "quiver train has no option --fly",
    "```\ntools/missing.py\n```": "tools/missing.py does not exist",
    "```\nquiver train --rank 8 \\\n --fly\n```": "quiver train has no option --fly",
}


def self_test():
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for name in ("docs/a.md", "src/a.h", "src/x.txt", "tools/t.py"):
            (root / name).parent.mkdir(exist_ok=True)
            (root / name).write_text("")
        for name, text in (("dev", "  test    x"), ("binary", "  train   x\n  --rank N")):
            (root / name).write_text(f"#!/bin/sh\necho '{text}'\n")
            (root / name).chmod(0o755)
        for text, expected in ((PLANTED, None), *PLANTED_BAD.items()):
            (root / "README.md").write_text(text)
            found = [what for _, _, what in findings(root, root / "binary")]
            if found != ([expected] if expected else []):
                sys.exit(f"check_documents: self-test: expected {expected!r} for {text!r}, found {found}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--self-test", action="store_true", help="only prove that every check can fail")
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parent.parent)
    parser.add_argument("--binary", type=Path, help="the program (default: build/release/quiver)")
    options = parser.parse_args()
    self_test()
    if options.self_test:
        print("check_documents: self-test passed")
        return 0
    binary = options.binary or options.root / "build/release/quiver"
    if not binary.is_file():
        print(f"check_documents: SKIPPED the options of quiver: {binary} is not built")
        binary = None
    found = list(findings(options.root, binary))
    for document, number, what in found:
        print(f"{document.relative_to(options.root)}:{number}: {what}")
    print(f"check_documents: {len(found)} findings")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
