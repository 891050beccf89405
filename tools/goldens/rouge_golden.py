# SPDX-License-Identifier: Apache-2.0
"""Writes tests/golden/rouge_l.json: Rouge-L of pairs of texts by the public rouge_score package.

    pip install rouge_score==0.1.2
    python tools/goldens/rouge_golden.py tests/golden/rouge_l.json
"""
import importlib.metadata
import json
import random
import sys

from rouge_score import rouge_scorer

PAIRS = [
    ("the cat sat on the mat", "the cat lay on a mat"),
    ("The Cat, sat.", "the cat sat"),
    ("", "something"),
    ("something", ""),
    ("... !!", "a"),
    ("don't stop", "dont stop"),
    ("a b c d e", "e d c b a"),
    ("x1 y2", "X1-Y2"),
    ("na\u00efve caf\u00e9", "naive cafe"),
    ("\u0130stanbul 5\u212a", "istanbul 5k"),
    ("line one\nline two\ttab", "line one line two tab"),
    ("\u4f60\u597d world", "world"),
    ("one one one two", "one two one"),
    ("snake_case name", "snake case name"),
]


def random_pairs(count):
    """Texts over few words, so that long common subsequences occur."""
    generator = random.Random(0)
    words = ["red", "Blue", "green,", "7", "x-y", "the"]

    def text():
        return " ".join(generator.choice(words) for _ in range(generator.randint(1, 20)))

    return [(text(), text()) for _ in range(count)]


def main():
    scorer = rouge_scorer.RougeScorer(["rougeL"], use_stemmer=False)
    cases = []
    for prediction, reference in PAIRS + random_pairs(20):
        score = scorer.score(target=reference, prediction=prediction)["rougeL"]
        cases.append({"prediction": prediction, "reference": reference, "precision": score.precision,
                      "recall": score.recall, "f1": score.fmeasure})
    golden = {"made_by": f"rouge_score {importlib.metadata.version('rouge_score')}", "cases": cases}
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        json.dump(golden, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
