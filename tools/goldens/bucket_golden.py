#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/golden/relative_buckets.json: transformers' buckets of T5's relative positions, for even and odd numbers.

usage: bucket_golden.py          (needs torch, transformers; made with transformers 5.24.0)
"""
import json
from pathlib import Path

import torch
import transformers
from transformers.models.t5.modeling_t5 import T5Attention

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden"
REACH = 150  # distances from -REACH to REACH


def main():
    distances = torch.arange(-REACH, REACH + 1)
    cases = []
    for buckets, largest in ((4, 16), (5, 16), (6, 20), (7, 100), (10, 64), (31, 128), (32, 128), (33, 50)):
        for two_sided in (True, False):
            made = T5Attention._relative_position_bucket(distances, two_sided, buckets, largest)
            cases.append({"buckets": buckets, "max_distance": largest, "two_sided": two_sided, "of": made.tolist()})
    path = GOLDEN / "relative_buckets.json"
    path.write_text(json.dumps({"transformers": transformers.__version__, "reach": REACH, "cases": cases}) + "\n")
    print(f"{path.name}: {len(cases)} cases")


if __name__ == "__main__":
    main()
