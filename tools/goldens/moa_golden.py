#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/golden/moa/golden.safetensors: logistic regressions by scikit-learn, and states under adapters by PEFT.

usage: moa_golden.py       (run peft_golden.py first; needs torch, transformers, peft, scikit-learn; prints their versions)

  features float32 [40, 6], labels int64 [40] (classes of 25, 10 and 5 rows), log_probabilities float64 [40, 3]: after
      standardising, LogisticRegression with L2, which minimises the mean cross-entropy with every class counting alike
      plus WEIGHT_DECAY / 2 times the squared weights (biases are free)
  prompt.N int64; A.L.last.N, A.L.mean.N float32 [D]: what layer L reads (its input norm's output) of prompt N under
      adapter A (a, b) of tests/golden/adapters, at the last token and as the mean over tokens
"""
import numpy as np
import sklearn
import torch
from peft import PeftModel
from sklearn.linear_model import LogisticRegression

from common import GOLDEN, load, sequences, start, write_tensors

WEIGHT_DECAY = 0.01
CLASSES = (25, 10, 5)


def regression():
    generator = np.random.default_rng(4)
    centres = generator.normal(size=(3, 6))
    labels = np.repeat(np.arange(3), CLASSES)
    features = (centres[labels] + generator.normal(size=(40, 6)) * 1.3) * [1, 5, 0.1, 2, 1, 1] + [0, 3, 0, -1, 0, 0]
    features = features.astype(np.float32)
    wide = features.astype(np.float64)
    standard = (wide - wide.mean(0)) / wide.std(0)
    shares = 1.0 / (3 * np.array(CLASSES)[labels])
    model = LogisticRegression(C=1.0 / WEIGHT_DECAY, tol=1e-12, max_iter=10000)
    model.fit(standard, labels, sample_weight=shares)
    return {"features": torch.tensor(features), "labels": torch.tensor(labels),
            "log_probabilities": torch.tensor(model.predict_log_proba(standard))}


@torch.no_grad()
def states(name, rows):
    model = PeftModel.from_pretrained(load(GOLDEN / "llama_untied"), GOLDEN / "adapters" / name).eval()
    out, heard = {}, {}
    for number, layer in enumerate(model.base_model.model.model.layers):
        layer.input_layernorm.register_forward_hook(lambda _, __, y, number=number: heard.__setitem__(number, y[0]))
    for n, row in enumerate(rows):
        model(input_ids=torch.tensor([row]))
        for number, y in heard.items():
            out[f"{name}.{number}.last.{n}"], out[f"{name}.{number}.mean.{n}"] = y[-1].clone(), y.mean(0)
    return out


def main():
    start()
    print(f"scikit-learn {sklearn.__version__}")
    rows = sequences(96, 77)
    write_tensors(GOLDEN / "moa" / "golden.safetensors", {
        **regression(), **states("a", rows), **states("b", rows),
        **{f"prompt.{n}": torch.tensor(row) for n, row in enumerate(rows)}})


if __name__ == "__main__":
    main()
