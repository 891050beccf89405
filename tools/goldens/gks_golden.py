#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/golden/arrow/gks.safetensors: what PEFT's general knowledge subtraction leaves of an expert.

usage: gks_golden.py       (run peft_golden.py first; needs torch, transformers, peft; prints their versions)

Experts e0, e1 and e2 of tests/golden/arrow; rows are ids.N of llama_untied/golden.safetensors.

  e0.logits.N, e1.logits.N float32 [T, V]: create_arrow_model with use_gks over that expert alone, e2 the general one, so
      that every token is the expert's whose A and B are less those of e2
"""
import safetensors.torch
from peft import ArrowConfig, create_arrow_model

from common import GOLDEN, load, logits_of, start, write_tensors

GENERAL = "e2"


def main():
    start()
    golden = safetensors.torch.load_file(GOLDEN / "llama_untied" / "golden.safetensors")
    rows = [golden[f"ids.{n}"].tolist() for n in range(3)]
    out = {}
    for expert in ("e0", "e1"):
        config = ArrowConfig(top_k=1, router_temperature=1.0, use_gks=True)
        model = create_arrow_model(load(GOLDEN / "llama_untied"), [str(GOLDEN / "arrow" / expert)],
                                   arrow_config=config, general_adapter_paths=[str(GOLDEN / "arrow" / GENERAL)])
        out.update(logits_of(model.eval(), rows, f"{expert}.logits"))
    write_tensors(GOLDEN / "arrow" / "gks.safetensors", out)


if __name__ == "__main__":
    main()
