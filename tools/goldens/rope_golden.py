#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/golden/rope.json: the rotary frequencies that transformers reads out of Llama configurations.

usage: rope_golden.py          (needs torch, transformers; made with transformers 5.24.0)

A case is {name, config, frequencies, scale}: the rotary keys of a config.json as published models and both generations
of transformers spell them, the radians per position of each frequency (float32, heads of 16), and the factor of cosines
and sines.
"""
import json
from pathlib import Path

import transformers
from transformers.models.llama.modeling_llama import LlamaConfig, LlamaRotaryEmbedding

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden"
SHAPE = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 96, "hidden_size": 64,
         "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 48, "max_position_embeddings": 256}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}
CASES = {
    "nothing": {},
    "theta": {"rope_theta": 250000.0},
    "whole theta": {"rope_theta": 7000},
    "parameters hold all": {"rope_parameters": {"rope_theta": 3000.0, "rope_type": "linear", "factor": 2.5}},
    "parameters before theta": {"rope_parameters": {"rope_theta": 3000.0, "rope_type": "default"}, "rope_theta": 9e5},
    "parameters without theta": {"rope_parameters": {"rope_type": "default"}, "rope_theta": 9e5},
    "parameters without a kind": {"rope_parameters": {"rope_theta": 3000.0}},
    "no parameters in them": {"rope_parameters": {}, "rope_theta": 9e5},
    "parameters null": {"rope_parameters": None, "rope_theta": 9e5},
    "linear parameters, theta beside": {"rope_parameters": {"type": "linear", "factor": 3.0}, "rope_theta": 9e5},
    "scaling before parameters": {"rope_parameters": {"rope_theta": 3000.0, "rope_type": "default"},
                                  "rope_scaling": {"type": "linear", "factor": 2.0}},
    "scaling before parameters, theta beside": {"rope_parameters": {"rope_theta": 3000.0}, "rope_theta": 9e5,
                                                "rope_scaling": {"type": "linear", "factor": 2.0}},
    "no scaling beside parameters": {"rope_parameters": {"rope_theta": 3000.0}, "rope_scaling": {}},
    "scaling null": {"rope_scaling": None, "rope_theta": 9e5},
    "scaling holds theta": {"rope_scaling": {"type": "linear", "factor": 2.0, "rope_theta": 3000.0}, "rope_theta": 9e5},
    "both kinds, one null": {"rope_scaling": {"type": None, "rope_type": "linear", "factor": 2}},
    "both kinds, they differ": {"rope_scaling": {"type": "default", "rope_type": "linear", "factor": 2}},
    "scaling without a kind": {"rope_scaling": {"factor": 2.0}, "rope_theta": 9e5},
    "linear below 1": {"rope_scaling": {"type": "linear", "factor": 0.5}},
    "dynamic": {"rope_scaling": {"type": "dynamic", "factor": 2.0}, "rope_theta": 9e5},
    "llama3": {"rope_scaling": {**LLAMA3, "original_max_position_embeddings": 32}, "rope_theta": 5e5},
    "llama3, its length beside": {"rope_parameters": {**LLAMA3, "rope_theta": 5e5},
                                  "original_max_position_embeddings": 48},
    "llama3, its length twice": {"rope_parameters": {**LLAMA3, "original_max_position_embeddings": 32},
                                 "original_max_position_embeddings": 48},
    "llama3, no length": {"rope_parameters": {**LLAMA3, "rope_theta": 5e5}},
    "yarn": {"rope_scaling": YARN},
    "yarn, no length": {"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "rope_theta": 5e5}},
    "yarn, its betas": {"rope_scaling": {**YARN, "beta_fast": 16, "beta_slow": 2}},
    "yarn, its attention factor": {"rope_scaling": {**YARN, "attention_factor": 0.75}},
    "yarn, scales of DeepSeek": {"rope_scaling": {**YARN, "mscale": 0.7, "mscale_all_dim": 1.0}},
    "yarn, one scale": {"rope_scaling": {**YARN, "mscale_all_dim": 1.0}},
    "yarn, not cut to whole numbers": {"rope_scaling": {**YARN, "truncate": False}},
    "yarn, factor by the lengths": {"rope_scaling": {**YARN, "factor": None}},
}


def case(name, keys):
    config = {**SHAPE, **json.loads(json.dumps(keys))}
    made = LlamaRotaryEmbedding(LlamaConfig(**json.loads(json.dumps(config))))
    return {"name": name, "config": config, "frequencies": made.inv_freq.tolist(), "scale": made.attention_scaling}


def main():
    transformers.logging.set_verbosity_error()
    path = GOLDEN / "rope.json"
    cases = [case(name, keys) for name, keys in CASES.items()]
    path.write_text(json.dumps({"transformers": transformers.__version__, "cases": cases}, indent=1) + "\n")
    print(f"{path.name}: {len(cases)} cases")


if __name__ == "__main__":
    main()
