# SPDX-License-Identifier: Apache-2.0
"""Compares Quiver's token ids and decoded text with those of transformers, line by line.

    python tools/parity/tokenizer_parity.py --quiver build/release/quiver --model MODEL --reference HF_FOLDER \
        --data FOLDER_OF_TEXT [--lines 10000] [--digits]

MODEL is what Quiver loads (a Hugging Face folder or a .gguf file); HF_FOLDER is what transformers' AutoTokenizer loads.
`--digits` gives the reference the pre-tokeniser that SmolLM's GGUF files name ("smollm": each digit alone), which a
folder that transformers itself made from such a file has lost. Besides the lines of the data folder, a file of hard
Unicode is compared: every assigned code point in two surroundings, and random mixtures.

Needs transformers. Exit status 0 when all lines are equal. Prints one JSON object.
"""
import argparse
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import unicodedata


def data_lines(folder, count, seed=0):
    """`count` lines, spread over all .jsonl, .json and .txt files, the values of JSON objects as text of their own."""
    files = [p for p in sorted(folder.rglob("*")) if p.suffix in {".jsonl", ".json", ".txt"}]
    if not files:
        sys.exit(f"no .jsonl, .json or .txt file in {folder}")
    rng = random.Random(seed)
    share = -(-count // len(files))
    lines = []
    for path in files:
        found = [line for line in path.read_text(encoding="utf-8").split("\n") if line]
        lines += rng.sample(found, min(share, len(found)))
    rng.shuffle(lines)
    out = []
    for line in lines[:count]:
        out.append(line)
        try:
            values = json.loads(line)
        except ValueError:
            continue
        if isinstance(values, dict):
            out += [v.replace("\n", "\t") for v in values.values() if isinstance(v, str)]
    return out


def hard_lines(seed=0):
    rng = random.Random(seed)
    assigned = [c for c in range(0x110000) if unicodedata.category(chr(c)) not in {"Cn", "Cs"} and c != 0x0A]
    lines = []
    for i in range(0, len(assigned), 16):
        group = [chr(c) for c in assigned[i:i + 16]]
        lines += ["".join(f"a{c}b {c} 7{c}" for c in group), "".join(f"{c}{c}'s  {c}" for c in group)]
    pools = ["  \t\r\u00a0\u3000\u2028\u200b\ufeff\u180e\x00\x1f\x85", "\u0300\u0301\u0323\u0345\u05b0\u064b\u0e38\u0f71",
             "0123456789\u0664\u0967\u2155\u2167\u4e09\U0001d7d8", "'s't're've'LL'D'\u017f", "\u4e2d\u6587\u3042\u30a2\uac00\u1100\u1161\u11a8",
             "\U0001f468\u200d\U0001f469\u200d\U0001f467\U0001f3fd\ufe0f\U0001f1e9\U0001f1ea", "\u202e\u05d0\u0627\u0644\u202c", "\ue000\U000f0000\U0010fffd\uffff",
             "abcXYZ\u00e9\u00df\u0130\u01c5", ".,!?-_=+#@<>|/\\\"", "<|im_start|>", "<|endoftext|>"]
    for _ in range(4000):
        parts = []
        for _ in range(rng.randint(1, 30)):
            pool = rng.choice(pools)
            whole = pool.startswith("<|") and rng.random() < 0.7
            parts.append(pool if whole else "".join(rng.choices(pool, k=rng.randint(1, 5))))
        lines.append("".join(parts))
    lines += ["a" * 20000, " " * 20000 + "x", "ab" * 9000, "\t " * 5000, "\u4e2d" * 5000, "x\u0301" * 5000, ""]
    return [line.replace("\n", "") for line in lines]


def run(quiver, arguments, file_text):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "input.txt"
        path.write_bytes(file_text.encode())
        done = subprocess.run([quiver, "tokenize", *arguments, "--file", path, "--json"], stdout=subprocess.PIPE)
    if done.returncode:
        sys.exit(f"quiver tokenize exited with {done.returncode}")
    return [json.loads(line) for line in done.stdout.decode().split("\n") if line]


def reference_tokenizer(folder, digits):
    import tokenizers
    import transformers
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    if digits:
        pre = tokenizers.pre_tokenizers
        tokenizer.backend_tokenizer.pre_tokenizer = pre.Sequence(
            [pre.Digits(individual_digits=True), pre.ByteLevel(add_prefix_space=False)])
    return tokenizer, {"transformers": transformers.__version__, "tokenizers": tokenizers.__version__}


def compare(name, lines, tokenizer, arguments):
    expected = tokenizer(lines, add_special_tokens=False)["input_ids"]
    got = [row["ids"] for row in run(arguments.quiver, ["--model", arguments.model], "\n".join(lines) + "\n")]
    texts = [tokenizer.decode(ids, clean_up_tokenization_spaces=False) for ids in expected]
    back = run(arguments.quiver, ["--model", arguments.model, "--decode"], "".join(json.dumps(i) + "\n" for i in expected))
    if len(got) != len(lines) or len(back) != len(lines):
        sys.exit(f"{name}: {len(lines)} lines went in, {len(got)} and {len(back)} came out")
    wrong_ids = [i for i in range(len(lines)) if got[i] != expected[i]]
    wrong_text = [i for i in range(len(lines)) if back[i]["text"] != texts[i]]
    for i in wrong_ids[:5]:
        print(f"{name}: {lines[i][:200]!a}\n  expected {expected[i][:60]}\n  got      {got[i][:60]}", file=sys.stderr)
    for i in wrong_text[:5]:
        print(f"{name}: {texts[i][:200]!a}\n  decoded  {back[i]['text'][:200]!a}", file=sys.stderr)
    return {"lines": len(lines), "ids": sum(map(len, expected)), "lines_with_other_ids": len(wrong_ids),
            "lines_with_other_text": len(wrong_text)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quiver", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--reference", required=True)
    parser.add_argument("--data", required=True, type=pathlib.Path)
    parser.add_argument("--lines", type=int, default=10000)
    parser.add_argument("--digits", action="store_true")
    arguments = parser.parse_args()
    tokenizer, result = reference_tokenizer(arguments.reference, arguments.digits)
    result["data"] = compare("data", data_lines(arguments.data, arguments.lines), tokenizer, arguments)
    result["hard"] = compare("hard", hard_lines(), tokenizer, arguments)
    print(json.dumps(result))
    return int(any(result[part][key] for part in ("data", "hard") for key in result[part] if "other" in key))


if __name__ == "__main__":
    sys.exit(main())
