#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/golden/moa/constant.safetensors: a logistic regression by scikit-learn on features of which some never
vary, as those of prompts that all end alike, and what it says of prompts that end otherwise.

usage: moa_constant_golden.py       (needs numpy, safetensors, scikit-learn; prints their versions)

  features float32 [60, 7], labels int64 [60] (three classes of 30, 20 and 10 rows): feature 4 is 0.1 and feature 5 is
      -37 in every row, feature 6 varies by a thousandth of its size and tells nothing
  queries float32 [45, 7]: fresh rows whose features 4 and 5 are drawn anew
  log_probabilities float64 [60, 3], query_log_probabilities float64 [45, 3]: StandardScaler and then LogisticRegression
      as in moa_golden.py
"""
from pathlib import Path

import numpy as np
import safetensors
import sklearn
from safetensors.numpy import save_file
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden"
WEIGHT_DECAY = 0.01
CLASSES = (30, 20, 10)


def rows(generator, centres, labels):
    out = np.empty((len(labels), 7))
    out[:, :4] = centres[labels] + generator.normal(size=(len(labels), 4))
    out[:, 4], out[:, 5] = 0.1, -37
    out[:, 6] = 5 + generator.normal(size=len(labels)) * 5e-3
    return out


def main():
    print("numpy", np.__version__, "safetensors", safetensors.__version__, "scikit-learn", sklearn.__version__)
    generator = np.random.default_rng(14)
    centres = generator.normal(size=(3, 4)) * 2
    labels = np.repeat(np.arange(3), CLASSES)
    features = rows(generator, centres, labels).astype(np.float32)
    asked = np.repeat(np.arange(3), 15)
    queries = rows(generator, centres, asked)
    queries[:, 4:6] += generator.normal(size=(45, 2)) * [1, 5]
    queries = queries.astype(np.float32)
    scaler = StandardScaler().fit(features.astype(np.float64))
    model = LogisticRegression(C=1.0 / WEIGHT_DECAY, tol=1e-12, max_iter=10000)
    model.fit(scaler.transform(features.astype(np.float64)), labels,
              sample_weight=1.0 / (3 * np.array(CLASSES)[labels]))
    said = model.predict_log_proba(scaler.transform(queries.astype(np.float64)))
    print("of the queries right:", (said.argmax(1) == asked).mean(), "scale", scaler.scale_)
    save_file({"features": features, "labels": labels, "queries": queries, "asked": asked,
               "log_probabilities": model.predict_log_proba(scaler.transform(features.astype(np.float64))),
               "query_log_probabilities": said}, GOLDEN / "moa" / "constant.safetensors")


if __name__ == "__main__":
    main()
