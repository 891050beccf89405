# SPDX-License-Identifier: Apache-2.0
"""Writes tests/golden/permutations.json: orders by torch.randperm and by Python's random.shuffle.

    pip install torch==2.13.0
    python tools/goldens/permutation_golden.py tests/golden/permutations.json
"""
import json
import platform
import random
import sys

import torch

CASES = [(0, 42), (1, 42), (2, 42), (3, 7), (10, 42), (56, 42), (57, 0), (623, 1), (2490, 42), (40000, 42), (400000, 42),
         (20, 2**31), (20, 2**32 + 7), (20, 2**40 + 3)]
ENDS = 20  # of a long order the first and last places are kept


def torch_order(count, seed):
    generator = torch.Generator()
    generator.manual_seed(seed)
    return torch.randperm(count, generator=generator).tolist()


def python_order(count, seed):
    items = list(range(count))
    random.seed(seed)
    random.shuffle(items)
    return items


def main():
    cases = []
    for count, seed in CASES:
        case = {"count": count, "seed": seed}
        for name, order in (("torch", torch_order(count, seed)), ("python", python_order(count, seed))):
            case[name] = {"first": order[:ENDS], "last": order[-ENDS:]}
        cases.append(case)
    golden = {"made_by": f"torch {torch.__version__}, Python {platform.python_version()}", "cases": cases}
    with open(sys.argv[1], "w", encoding="utf-8") as file:
        json.dump(golden, file)
        file.write("\n")


if __name__ == "__main__":
    main()
