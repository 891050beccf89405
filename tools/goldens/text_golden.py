# SPDX-License-Identifier: Apache-2.0
"""Writes tests/golden/text.json: texts as Python's str sees them, and SQuAD's scores by the functions of its official
evaluation script (evaluate-v1.1.py), on all kinds of Unicode.

    python tools/goldens/text_golden.py tests/golden/text.json
"""
import collections
import json
import platform
import random
import re
import string
import sys

TEXTS = [
    "", " ", "The Cat\u00a0sat", "\u00c9T\u00c9 \u00dcber STRASSE", "\u0130stanbul \u0131", "5\u212a \u212bngstr\u00f6m",
    "\u039f\u0394\u03a5\u03a3\u03a3\u0395\u03a5\u03a3", "\u03a3", "\u03b1\u03a3", "\u03b1\u03a3.", "\u03b1\u03a3\u03b2", "\u03b1.\u03a3", "\u03a3\u03a3 \u03a3\u03b1",
    "a\u2013b", "\u2018the\u2019 end", "an\u00e9 the\u0301 a\u0301", "a_b the_", "the\u3000a\u2003an", "\x1ca\x1dthe\x1e", "\u200ba", "\ufeffthe",
    "a1 2a \u00bda \u2460the", "\u4f60\u597da\u4e16\u754c", "\u0915\u093f a", "don't \u2014 the, a.", "l'\u00e9t\u00e9 A", "\u01c5 \u01c4", "\U0001f600a\U0001f600 the", "\u2029x\u2028\u0085y",
    "yes ", "\tyes\r\n", "\u1e9e\ufb01", "\uff21\uff22 a", "THE\u00adA", "\u05d0 the \u05d1", "\u0660\u0661a",
]
ALPHABET = ["a", "an", "the", "The", "A", "\u00c4", "\u03a3", "\u03c3", "\u2013", "\u00a0", " ", ".", "'", "\u0130", "7", "\u4e16", "\u0301", "_", "-", "x"]


def normalize_answer(s):
    """Lower text and remove punctuation, articles and extra whitespace."""

    def remove_articles(text):
        return re.sub(r"\b(a|an|the)\b", " ", text)

    def white_space_fix(text):
        return " ".join(text.split())

    def remove_punc(text):
        exclude = set(string.punctuation)
        return "".join(ch for ch in text if ch not in exclude)

    def lower(text):
        return text.lower()

    return white_space_fix(remove_articles(remove_punc(lower(s))))


def f1_score(prediction, ground_truth):
    prediction_tokens = normalize_answer(prediction).split()
    ground_truth_tokens = normalize_answer(ground_truth).split()
    common = collections.Counter(prediction_tokens) & collections.Counter(ground_truth_tokens)
    num_same = sum(common.values())
    if num_same == 0:
        return 0
    precision = 1.0 * num_same / len(prediction_tokens)
    recall = 1.0 * num_same / len(ground_truth_tokens)
    return (2 * precision * recall) / (precision + recall)


def main():
    generator = random.Random(0)
    texts = TEXTS + ["".join(generator.choice(ALPHABET) for _ in range(generator.randint(1, 9))) for _ in range(60)]
    pairs = [(generator.choice(texts), generator.choice(texts)) for _ in range(80)]
    golden = {
        "made_by": f"Python {platform.python_version()}",
        "texts": [{"text": t, "lower": t.lower(), "words": t.split(), "strip": t.strip(), "squad": normalize_answer(t)}
                  for t in texts],
        # 1.1 has no empty reference, and we score it as 2.0 does.
        "pairs": [{"prediction": p, "reference": r, "em": float(normalize_answer(p) == normalize_answer(r)),
                   "f1": float(f1_score(p, r))} for p, r in pairs if r.strip()],
    }
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        json.dump(golden, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
