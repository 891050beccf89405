#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/golden/poly/golden.safetensors: what PEFT's Poly computes over the tiny llama_untied model.

usage: poly_golden.py           (needs torch, transformers, peft; prints their versions)

Three skills of rank 2 in two splits, two tasks, logits per linear, all seven linears of both layers; in evaluation, so
without noise. PEFT's scale is 1/rank. SITE is a linear's module path (model.layers.0.self_attn.q_proj).

  ids.N int64 [T], task int64 [3]       row N and its task
  logits.SITE [tasks, splits * skills]  of the selector
  A.SITE [splits, skills, in/splits, R], B.SITE [splits, skills, R, out/splits]
  output.N float32 [T, V]               the model's logits of row N under its task
  loss []                               mean cross-entropy of all ids of all rows but the first of each
  grad.logits.SITE, grad.A.SITE, grad.B.SITE    of that loss
"""
import torch
from peft import PolyConfig, get_peft_model
from peft.tuners.poly.layer import PolyLayer

from common import GOLDEN, LINEARS, load, sequences, start, write_tensors

SEED = 90
TASKS = (1, 0, 1)


def new_model():
    """Factors and logits drawn from normal distributions, the logits wide enough to be far from equal weights."""
    config = PolyConfig(task_type="CAUSAL_LM", r=2, n_skills=3, n_splits=2, n_tasks=2, target_modules=LINEARS)
    model = get_peft_model(load(GOLDEN / "llama_untied"), config)
    generator = torch.Generator().manual_seed(SEED)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "poly_" in name:
                width = 1.5 if "module_logits" in name else 0.2
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * width)
    return model.eval()


def parts(model):
    for name, module in model.named_modules():
        if isinstance(module, PolyLayer):
            site = name.removeprefix("base_model.model.")
            yield f"logits.{site}", module.poly_router["default"].module_logits
            yield f"A.{site}", module.poly_lora_A["default"]
            yield f"B.{site}", module.poly_lora_B["default"]


def main():
    start()
    model = new_model()
    rows = sequences(model.config.vocab_size, SEED)
    out = {"task": torch.tensor(TASKS)}
    loss, count = 0.0, 0
    for n, (row, task) in enumerate(zip(rows, TASKS)):
        ids = torch.tensor([row])
        logits = model(input_ids=ids, task_ids=torch.tensor([task])).logits[0]
        out[f"ids.{n}"], out[f"output.{n}"] = ids[0], logits
        loss = loss + torch.nn.functional.cross_entropy(logits[:-1], ids[0, 1:], reduction="sum")
        count += len(row) - 1
    out["loss"] = loss / count
    out["loss"].backward()
    for name, parameter in parts(model):
        out[name] = parameter
        out[f"grad.{name}"] = parameter.grad
    write_tensors(GOLDEN / "poly" / "golden.safetensors", out)


if __name__ == "__main__":
    main()
