#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes two tiny random Llamas and what transformers computes with them, into tests/golden/.

usage: model_golden.py          (needs torch, transformers, peft, safetensors; prints their versions)

  llama_untied/   hidden 32, 2 layers, 4 heads of 8, 2 KV heads, MLP 48, vocabulary 96, own output head; one
                  model.safetensors; config.json as transformers 5 writes it (rope_parameters), less head_dim, which is
                  then hidden / heads
  llama_tied/     as above, but heads of 16 (head_dim explicit, not hidden / heads), tied output head, llama3 rotary
                  scaling whose wavelengths fall into all three of its branches; two shards and an index; config.json as
                  transformers 4 wrote it (rope_theta, rope_scaling, torch_dtype), as most published models still have it
Both folders hold golden.safetensors:
  ids.N     int64 [T]        three rows of 4, 7 and 12 tokens
  logits.N  float32 [T, V]   of each row run alone
  prompt    int64 [5]
  greedy    int64 [12]       what follows the prompt when the largest logit is taken each time (no end of sequence)
All weights are float32 with standard deviation 0.3 and norms around 1, so that logits are not flat.
"""
import json
import math

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from common import GOLDEN, load, logits_of, sequences, start, write_tensors

WEIGHT_STD = 0.3
NEW_TOKENS = 12
PROMPT_TOKENS = 5
SHAPE = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 48, "vocab_size": 96, "max_position_embeddings": 512, "rms_norm_eps": 1e-5,
    "bos_token_id": 1, "eos_token_id": 2, "dtype": "float32",
}
UNTIED = {"tie_word_embeddings": False, "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}}
LLAMA3 = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
TIED = {"tie_word_embeddings": True, "head_dim": 16, "rope_parameters": {"rope_theta": 10000.0, **LLAMA3}}


def check_llama3_branches():
    """Of the rotary wavelengths some are kept, some interpolated, some divided: otherwise the golden proves too little."""
    low = LLAMA3["original_max_position_embeddings"] / LLAMA3["low_freq_factor"]
    high = LLAMA3["original_max_position_embeddings"] / LLAMA3["high_freq_factor"]
    waves = [2 * math.pi * 10000.0 ** (i / TIED["head_dim"]) for i in range(0, TIED["head_dim"], 2)]
    assert min(waves) < high and max(waves) > low and any(high < wave < low for wave in waves), waves


def random_model(options, seed):
    model = LlamaForCausalLM(LlamaConfig(**SHAPE, **options))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator) * WEIGHT_STD
            parameter.copy_(1 + noise if parameter.dim() == 1 else noise)
    return model


def respell_config(path, like_transformers_4):
    config = json.loads(path.read_text())
    if like_transformers_4:
        rope = config.pop("rope_parameters")
        config["rope_theta"] = rope.pop("rope_theta")
        config["rope_scaling"] = rope
        config["torch_dtype"] = config.pop("dtype")
        config["transformers_version"] = "4.51.0"
    else:
        del config["head_dim"]
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


@torch.no_grad()
def greedy(model, prompt):
    """NEW_TOKENS ids by the largest logit, and the smallest lead that any of them had over the next largest."""
    ids, lead = list(prompt), math.inf
    for _ in range(NEW_TOKENS):
        best = torch.topk(model(input_ids=torch.tensor([ids])).logits[0, -1], 2)
        lead = min(lead, float(best.values[0] - best.values[1]))
        ids.append(int(best.indices[0]))
    new = ids[len(prompt):]
    assert model.config.eos_token_id not in new, "another seed: the end of sequence came up"
    cached = model.generate(torch.tensor([prompt]), max_new_tokens=NEW_TOKENS, do_sample=False, pad_token_id=0)
    assert cached[0, len(prompt):].tolist() == new, "with and without a cache the ids differ"
    return new, lead


def write(name, options, seed, shard="10GB"):
    folder = GOLDEN / name
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    made = random_model(options, seed).eval()
    made.save_pretrained(folder, max_shard_size=shard)
    (folder / "generation_config.json").unlink(missing_ok=True)
    respell_config(folder / "config.json", like_transformers_4=name == "llama_tied")
    for file in folder.iterdir():
        file.chmod(0o644)
    model = load(folder)
    rows = sequences(SHAPE["vocab_size"], seed)
    prompt = sequences(SHAPE["vocab_size"], seed + 1)[-1][:PROMPT_TOKENS]
    new, lead = greedy(model, prompt)
    logits = logits_of(model, rows)
    for key, value in logits_of(made, rows).items():
        assert torch.equal(value, logits[key]), "the folder is not the model that was made"
    write_tensors(folder / "golden.safetensors", {
        **{f"ids.{n}": torch.tensor(row) for n, row in enumerate(rows)}, **logits,
        "prompt": torch.tensor(prompt), "greedy": torch.tensor(new)})
    spread = torch.cat(list(logits.values())).std()
    print(f"  logits' spread {spread:.3f}; smallest lead in greedy {lead:.3f}; greedy {new}; "
          f"{sorted(file.name for file in folder.iterdir())}")


def main():
    start()
    check_llama3_branches()
    write("llama_untied", UNTIED, seed=20)
    write("llama_tied", TIED, seed=40, shard="60KB")


if __name__ == "__main__":
    main()
