#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Checks that Quiver computes what transformers and PEFT compute, on a real model, in float32.

usage: parity.py --quiver BINARY (--model HF_FOLDER | --gguf FILE | both) [--only logits,adapter,...] [--threads N]
       parity.py --self-test

Prints one line per check: name, measured, bound, ok or FAIL; exits 1 if any failed.
  logits    the base model's logits, read from the folder and from the GGUF file
  adapter   a LoRA written by PEFT, applied by Quiver
  trained   a LoRA trained by Quiver, applied by PEFT
  arrow     Arrow's routing over four experts
  training  ten steps of AdamW from the same adapter on the same rows
Bounds are in logits ("absolute"), or relative to the reference's standard deviation over all logits ("spread"), or to the
length of a vector of all weights ("relative"). Each check of an adapter also demands that the adapter does something.
tools/parity/run.sh installs what this needs.
"""
import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

DEMO_TASKS = Path(__file__).resolve().parents[1] / "demo_tasks.py"
TEXTS = [
    "The",
    "Gravity pulls the apple towards the ground, and the",
    "Question: What is the capital of France?\nAnswer:",
    "def fibonacci(n):\n    if n < 2:\n        return n\n    return fibonacci(n - 1) +",
    "Im Jahr 1905 veröffentlichte Albert Einstein vier Arbeiten; 100 €, 3½ %, naïve café, 東京 and 🙂 follow here.",
]
RANDOM_TOKENS = 150
BATCH, STEPS = 4, 10
AMBIGUOUS = 2e-5  # a lead, as a share of the score: some times what float32 leaves of two equal computations


class Report:
    def __init__(self):
        self.failed = 0

    def check(self, name, measured, bound, at_least=False):
        """One line; NaN fails, whatever the direction."""
        ok = measured >= bound if at_least else measured <= bound
        self.failed += not ok
        print(f"{name:<44}{measured:>12.3e}  {'>=' if at_least else '<='} {bound:.0e}  {'ok' if ok else 'FAIL'}", flush=True)

    def crash(self, name, error):
        self.failed += 1
        lines = str(error).strip().splitlines() or [type(error).__name__]
        print(f"{name:<44}{'FAIL'}: {lines[-1]}", flush=True)


def difference(ours, theirs):
    """Largest absolute difference over lists of tensors; infinite where shapes or counts differ, NaN where one is NaN."""
    import torch
    if len(ours) != len(theirs) or any(a.shape != b.shape for a, b in zip(ours, theirs)):
        return float("inf")
    return float(torch.cat([(a - b).abs().flatten() for a, b in zip(ours, theirs)]).max())


def clear_positions(leads):
    """Positions of a row before the first that an ambiguous choice of experts can have changed: it changes all after it."""
    ambiguous = (leads < AMBIGUOUS).nonzero()
    return int(ambiguous[0]) if len(ambiguous) else len(leads)


def spread(logits):
    import torch
    return float(torch.cat(logits).std())


class Quiver:
    def __init__(self, binary, threads, work):
        self.binary, self.threads, self.work = binary, threads, work

    def run(self, verb, *arguments):
        threads = ["--threads", self.threads] if verb in ("forward", "train") else []
        command = [self.binary, verb, *map(str, [*arguments, *threads])]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode != 0:
            raise RuntimeError(f"quiver {verb}: exit {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def forward(self, model, rows, *arguments):
        from safetensors.torch import load_file
        ids, output = self.work / "ids.json", self.work / "logits.safetensors"
        ids.write_text(json.dumps(rows))
        self.run("forward", "--model", model, "--ids", ids, "--output", output, "--dtype", "float32", *arguments)
        tensors = load_file(output)
        output.unlink()
        return [tensors[f"logits.{n}"] for n in range(len(tensors))]


class Checks:
    def __init__(self, options, work):
        import reference
        import torch
        torch.set_num_threads(options.threads)
        self.reference, self.work, self.report = reference, work, Report()
        self.quiver = Quiver(options.quiver, options.threads, work)
        self.gguf, self.model = options.gguf, options.model
        if self.model is None:
            self.model = work / "model"
            reference.gguf_to_folder(self.gguf, self.model)
        self.tokenizer = reference.tokenizer(self.model)
        self.rows = [self.tokenizer(text, add_special_tokens=False)["input_ids"] for text in TEXTS]
        generator = torch.Generator().manual_seed(1)
        self.rows.append(torch.randint(3, len(self.tokenizer), (RANDOM_TOKENS,), generator=generator).tolist())
        self.base = reference.logits_of(reference.load(self.model), self.rows)

    def logits(self):
        ours = self.quiver.forward(self.model, self.rows)
        self.report.check("logits, folder (absolute)", difference(ours, self.base), 1e-3)
        self.report.check("logits, folder (spread)", difference(ours, self.base) / spread(self.base), 1e-4)
        if self.gguf:
            ours = self.quiver.forward(self.gguf, self.rows)
            self.report.check("logits, GGUF (absolute)", difference(ours, self.base), 1e-3)

    def adapter(self):
        folder = self.work / "rank16"
        model = self.reference.write_adapter(self.model, folder, rank=16, alpha=32, b_std=0.02, seed=2).eval()
        theirs = self.reference.logits_of(model, self.rows)
        ours = self.quiver.forward(self.model, self.rows, "--adapter", folder)
        self.report.check("adapter of PEFT in Quiver (spread)", difference(ours, theirs) / spread(theirs), 1e-4)
        self.report.check("  what the adapter changes (spread)", difference(theirs, self.base) / spread(theirs), 1e-1, True)

    def task(self, name, count):
        """`count` training rows of a demo task in a file of their own; returns it and the rows."""
        folder = self.work / "tasks"
        subprocess.run([sys.executable, DEMO_TASKS, folder], check=True, capture_output=True)
        rows = [json.loads(line) for line in (folder / f"{name}.jsonl").read_text().splitlines()]
        rows = [row for row in rows if row["split"] == "train"][:count]
        file = self.work / f"{Path(name).name}.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return file, rows

    def trained(self):
        library, (file, _) = self.work / "trained", self.task("opinion/product_opinion", 48)
        self.quiver.run("train", "--model", self.model, "--library", library, "--task", file, "--name", "opinion",
                        "--rank", 8, "--alpha", 16, "--epochs", 1, "--learning-rate", 1e-3, "--seed", 1,
                        "--dtype", "float32", "--json")
        model, disagreed = self.reference.with_adapter(self.model, library / "experts" / "opinion")
        self.report.check("keys that PEFT and Quiver's file disagree on", len(disagreed), 0)
        theirs = self.reference.logits_of(model, self.rows)
        ours = self.quiver.forward(self.model, self.rows, "--library", library, "--route", "expert:opinion")
        self.report.check("adapter of Quiver in PEFT (spread)", difference(ours, theirs) / spread(theirs), 1e-4)
        self.report.check("  what the adapter changes (spread)", difference(theirs, self.base) / spread(theirs), 1e-2, True)

    def arrow(self):
        library, folders = self.work / "arrow", []
        for index in range(4):
            folders.append(self.work / f"expert{index}")
            self.reference.write_adapter(self.model, folders[-1], rank=8, alpha=8 + 4 * index, b_std=0.02, seed=10 + index)
            self.quiver.run("library", "add", folders[-1], "--library", library, "--model", self.model, "--name", f"e{index}")
        for top_k in (4, 3):
            theirs, leads = self.reference.arrow_logits(self.model, folders, top_k, self.rows)
            ours = self.quiver.forward(self.model, self.rows, "--library", library, "--route", f"arrow:top_k={top_k},temperature=1")
            clear = [clear_positions(lead) for lead in leads]
            cut = [[logits[:count] for logits, count in zip(side, clear)] for side in (ours, theirs)]
            self.report.check(f"Arrow, top {top_k} of 4 (absolute)", difference(*cut), 1e-3)
            self.report.check("  positions compared", sum(clear), 50, True)
        self.report.check("  what routing changes (spread)", difference(theirs, self.base) / spread(theirs), 1e-1, True)

    def training(self):
        library, start = self.work / "steps", self.work / "start"
        file, rows = self.task("topic/headline_topic", BATCH * STEPS)
        model = self.reference.write_adapter(self.model, start, rank=8, alpha=16, b_std=0.02, seed=30)
        self.quiver.run("train", "--model", self.model, "--library", library, "--task", file, "--name", "steps",
                        "--epochs", 1, "--batch", BATCH, "--learning-rate", 1e-3, "--seed", 1,
                        "--init-from", start, "--no-shuffle", "--schedule", "constant", "--warmup", 0, "--clip", 0,
                        "--weight-decay", 0, "--dtype", "float32", "--json")
        encode = lambda text: self.tokenizer(text, add_special_tokens=False)["input_ids"]
        token_rows = []
        for row in rows:
            source, target = encode(row["source"] + "\n"), encode(row["target"]) + [self.tokenizer.eos_token_id]
            token_rows.append((source + target, len(source)))
        losses = self.reference.train(model, token_rows, BATCH, 1e-3)
        print(f"  (PEFT's loss over {len(losses)} steps: {losses[0]:.4f} -> {losses[-1]:.4f})")
        begin, theirs = self.reference.adapter_vector(start), self.reference.adapter_vector(model)
        ours = self.reference.adapter_vector(library / "experts" / "steps")
        moved = float((theirs - begin).norm())
        self.report.check("adapter after ten steps (relative)", float((ours - theirs).norm() / theirs.norm()), 1e-3)
        self.report.check("  what training changed (relative)", moved / float(begin.norm()), 1e-2, True)
        print(f"  (difference by what training changed: {float((ours - theirs).norm()) / moved:.1e})")


ALL = ("logits", "adapter", "trained", "arrow", "training")


def self_test():
    """The comparison finds what it must find: a wrong value, a wrong shape, a missing row, NaN."""
    import torch
    right = [torch.zeros(2, 3), torch.ones(1, 3)]
    wrong = [right[0], right[1] + torch.tensor([0, 0, 0.5])]
    assert difference(right, right) == 0 and difference(wrong, right) == 0.5
    assert difference(right[:1], right) == float("inf") == difference([right[0][:, :2], right[1]], right)
    assert math.isnan(difference([right[0], right[1] * math.nan], right))
    assert math.isnan(difference([right[0] * math.nan, right[1]], right))
    assert clear_positions(torch.tensor([1, 1e-3, 1e-9, 1])) == 2 and clear_positions(torch.ones(3)) == 3
    report = Report()
    report.check("equal", 0, 0)
    assert report.failed == 0
    for value, at_least in ((2e-3, False), (float("nan"), False), (float("nan"), True), (0, True)):
        report.check("planted: must fail", value, 1e-3, at_least)
    report.crash("planted: must fail", RuntimeError("boom"))
    assert report.failed == 5
    print("parity: self-test passed")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quiver")
    parser.add_argument("--model", type=Path)
    parser.add_argument("--gguf", type=Path)
    parser.add_argument("--only", default=",".join(ALL), help="checks to run, parted by commas")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--self-test", action="store_true")
    options = parser.parse_args()
    if options.self_test:
        return self_test()
    names = options.only.split(",")
    if not options.quiver or not (options.model or options.gguf) or not set(names) <= set(ALL):
        parser.error(f"--quiver and --model or --gguf are needed; --only takes {', '.join(ALL)}")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with tempfile.TemporaryDirectory() as folder:
        checks = Checks(options, Path(folder))
        for name in names:
            try:
                getattr(checks, name)()
            except (RuntimeError, KeyError, OSError) as error:
                checks.report.crash(name, error)
    print(f"parity: {checks.report.failed} failed" if checks.report.failed else "parity: all as in transformers and PEFT")
    return checks.report.failed > 0


if __name__ == "__main__":
    sys.exit(main())
