# SPDX-License-Identifier: Apache-2.0
"""Writes tests/golden/metrics.json: metrics of whole tasks by scikit-learn and SciPy, and SQuAD's by its definition.

    pip install scikit-learn scipy
    python tools/goldens/metrics_golden.py tests/golden/metrics.json
"""
import collections
import importlib.metadata
import json
import random
import re
import string
import sys
import warnings

import scipy.stats
import sklearn.metrics


def random_answers(generator, labels, strays, count):
    """Targets, and predictions that are right half of the time and sometimes no label at all."""
    targets = [generator.choice(labels) for _ in range(count)]
    predictions = [target if generator.random() < 0.5 else generator.choice(labels + strays) for target in targets]
    return predictions, targets


def number(text):
    try:
        return float(text)
    except ValueError:
        return -1.0


def correlation(function, predictions, targets):
    value = function([number(t) for t in targets], [number(p) for p in predictions])[0]
    return 0.0 if value != value else float(value)


def true_f1(predictions, targets):
    other = {"True": "False", "False": "True"}
    valid = [p if p in other else other[t] for p, t in zip(predictions, targets)]
    return float(sklearn.metrics.f1_score(targets, valid, pos_label="True", zero_division=0))


def group_em(predictions, targets, groups):
    right = {}
    for prediction, target, group in zip(predictions, targets, groups):
        right[group] = right.get(group, True) and prediction == target
    return sum(right.values()) / len(right)


def squad_words(text):
    kept = "".join(c for c in text.lower() if c not in string.punctuation)
    return re.sub(r"\b(a|an|the)\b", " ", kept).split()


def squad(prediction, references):
    """Exact match and F1, each the best over the references; an empty reference, which 1.1 has none of, as 2.0 has it."""
    predicted = squad_words(prediction)
    exact, best = 0.0, 0.0
    for reference in references:
        wanted = squad_words(reference)
        exact = max(exact, float(predicted == wanted))
        if not reference.strip():
            best = max(best, float(not predicted))
        common = sum((collections.Counter(predicted) & collections.Counter(wanted)).values())
        if common:
            precision, recall = common / len(predicted), common / len(wanted)
            best = max(best, 2 * precision * recall / (precision + recall))
    return exact, best


def matthews_cases(generator):
    answers = [(["acceptable"] * 3, ["acceptable", "unacceptable", "acceptable"]), (["a", "b"], ["a", "b"])]
    answers += [random_answers(generator, ["acceptable", "unacceptable"], ["", "accept"], n) for n in (4, 20, 101)]
    answers += [random_answers(generator, ["a", "b", "c"], [], 50)]
    return [{"predictions": p, "targets": t, "matthews": float(sklearn.metrics.matthews_corrcoef(t, p))}
            for p, t in answers]


def score_cases(generator):
    answers = [(["3.0", "3.0", "3.0"], ["1.0", "2.0", "3.0"]), (["1.0", "five", ""], ["1.0", "4.8", "2.0"])]
    for count in (5, 40):
        targets = [f"{generator.randint(0, 50) / 10:.1f}" for _ in range(count)]
        noisy = [generator.choice([t, f"{generator.randint(0, 50) / 10:.1f}", "2.0", "none"]) for t in targets]
        answers.append((noisy, targets))
    return [{"predictions": p, "targets": t, "pearson": correlation(scipy.stats.pearsonr, p, t),
             "spearman": correlation(scipy.stats.spearmanr, p, t)} for p, t in answers]


def group_cases(generator):
    cases = []
    for count in (6, 60):
        predictions, targets = random_answers(generator, ["True", "False"], ["maybe"], count)
        groups = [str(generator.randint(0, count // 3)) for _ in range(count)]
        cases.append({"predictions": predictions, "targets": targets, "groups": groups,
                      "true_f1": true_f1(predictions, targets), "group_em": group_em(predictions, targets, groups)})
    return cases


def squad_cases(generator):
    words = ["The", "a", "red", "fox,", "red.", "an", "U.S.", "fox", "1,000", "-"]

    def text():
        return " ".join(generator.choice(words) for _ in range(generator.randint(0, 6)))

    pairs = [("The Red fox!", ["red fox"]), ("", ["the"]), ("a the", ["an"]), ("red red fox", ["red fox fox", "blue"])]
    pairs += [(text(), [text() for _ in range(generator.randint(1, 3))]) for _ in range(30)]
    cases = []
    for prediction, references in pairs:
        exact, f1 = squad(prediction, references)
        cases.append({"prediction": prediction, "references": references, "em": exact, "f1": f1})
    return cases


def main():
    warnings.filterwarnings("ignore")  # constant inputs, which are cases here
    generator = random.Random(0)
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("scikit-learn", "scipy"))
    golden = {"made_by": versions, "matthews": matthews_cases(generator), "scores": score_cases(generator),
              "groups": group_cases(generator), "squad": squad_cases(generator)}
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        json.dump(golden, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
