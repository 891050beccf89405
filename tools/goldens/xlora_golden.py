#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes what PEFT's X-LoRA computes over the adapters of tests/golden/arrow, into tests/golden/xlora/.

usage: xlora_golden.py          (run peft_golden.py first; needs torch, transformers, peft; prints their versions)

  xlora/golden.safetensors    CASE.layers.N.weight, CASE.layers.N.bias: the classifier; CASE.logits.N: rows ids.N of
                              llama_untied/golden.safetensors. Cases: linear (depth 1, softmax at temperature 0.7), top
                              (depth 2, the two largest weights kept), shared (one weight per expert for all layers)
"""
import torch
from peft import XLoraConfig, get_peft_model

from common import GOLDEN, load, start, write_tensors

BASE = GOLDEN / "llama_untied"
EXPERTS = {str(e): str(GOLDEN / "arrow" / f"e{e}") for e in range(3)}
CASES = {
    "linear": {"xlora_depth": 1, "softmax_temperature": 0.7, "layerwise_scalings": True},
    "top": {"xlora_depth": 2, "xlora_size": 16, "layerwise_scalings": True, "top_k_lora": 2},
    "shared": {"xlora_depth": 1, "layerwise_scalings": False},
}


def run(name, options, rows):
    base = load(BASE)
    base.config.use_cache = False
    config = XLoraConfig(task_type="CAUSAL_LM", hidden_size=base.config.hidden_size, adapters=EXPERTS, enable_softmax=True,
                         **options)
    model = get_peft_model(base, config).eval()
    classifier = model.base_model.internal_xlora_classifier
    linears = [module for module in classifier.layers if isinstance(module, torch.nn.Linear)]
    generator = torch.Generator().manual_seed(40 + len(name))
    tensors = {}
    with torch.no_grad():
        for n, linear in enumerate(linears):
            linear.weight.copy_(torch.randn(linear.weight.shape, generator=generator) * 0.5)
            linear.bias.copy_(torch.randn(linear.bias.shape, generator=generator) * 0.5)
            tensors[f"{name}.layers.{n}.weight"], tensors[f"{name}.layers.{n}.bias"] = linear.weight, linear.bias
        for n, row in enumerate(rows):
            tensors[f"{name}.logits.{n}"] = model(input_ids=torch.tensor([row])).logits[0]
    return tensors


def main():
    start()
    from safetensors.torch import load_file
    ids = load_file(BASE / "golden.safetensors")
    rows = [ids[f"ids.{n}"].tolist() for n in range(3)]
    tensors = {}
    for name, options in CASES.items():
        tensors.update(run(name, options, rows))
    write_tensors(GOLDEN / "xlora" / "golden.safetensors", tensors)


if __name__ == "__main__":
    main()
