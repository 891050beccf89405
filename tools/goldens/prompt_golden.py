#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/golden/prompt/golden.safetensors: what prompts look like to the tiny llama_untied model by transformers,
and which experts the nearest means choose by NumPy.

usage: prompt_golden.py           (needs torch, transformers, numpy; prints their versions)

A prompt's features: the means over its tokens of the hidden states that enter the layers L/3, L/2 and 2L/3, after each
layer's input norm, side by side. Three experts of four prompts each, their ids drawn from a range of the vocabulary of
their own; five prompts ask, of which the last mixes the ranges.

  expert.E.ids.N int64 [T], expert.E.features float32 [4, F]
  query.N int64 [T], query.features float32 [5, F]
  cosine float64 [5, 3]      of each query with the mean features of each expert
  ariadne int64 [5]          the expert of the largest cosine
  lorauter float64 [5, 3]    softmax of cosine / 0.05 over the two largest, 0 for the other
"""
import numpy as np
import torch

from common import GOLDEN, load, start, write_tensors

SEED, EXPERTS, ROWS, QUERIES, VOCABULARY = 110, 3, 4, 5, 96
TEMPERATURE, KEPT = 0.05, 2


def features(model, ids):
    """[F] of one prompt."""
    layers = model.config.num_hidden_layers
    states = model.model(input_ids=torch.tensor([ids]), output_hidden_states=True).hidden_states
    wanted = (layers // 3, layers // 2, 2 * layers // 3)
    return torch.cat([model.model.layers[l].input_layernorm(states[l])[0].mean(0) for l in wanted])


def drawn(generator, expert):
    """Ids of an expert's range, or for expert EXPERTS of all of them."""
    width = VOCABULARY // EXPERTS
    low, high = (expert * width, (expert + 1) * width) if expert < EXPERTS else (0, VOCABULARY)
    return generator.integers(low, high, generator.integers(3, 9)).tolist()


def main():
    start()
    print("numpy", np.__version__)
    model = load(GOLDEN / "llama_untied")
    generator = np.random.default_rng(SEED)
    out, means = {}, []
    with torch.no_grad():
        for e in range(EXPERTS):
            rows = [drawn(generator, e) for _ in range(ROWS)]
            own = torch.stack([features(model, ids) for ids in rows])
            out |= {f"expert.{e}.ids.{n}": torch.tensor(ids) for n, ids in enumerate(rows)}
            out[f"expert.{e}.features"] = own
            means.append(own.numpy().astype(np.float64).mean(0))
        queries = [drawn(generator, e) for e in (0, 1, 2, 1, EXPERTS)]
        asked = torch.stack([features(model, ids) for ids in queries])
    out |= {f"query.{n}": torch.tensor(ids) for n, ids in enumerate(queries)}
    out["query.features"] = asked
    x, m = asked.numpy().astype(np.float64), np.stack(means)
    cosine = x @ m.T / np.linalg.norm(x, axis=1)[:, None] / np.linalg.norm(m, axis=1)
    weights = np.exp((cosine - cosine.max(1, keepdims=True)) / TEMPERATURE)
    weights[np.arange(QUERIES)[:, None], np.argsort(cosine, 1)[:, : EXPERTS - KEPT]] = 0
    out["cosine"] = torch.from_numpy(cosine)
    out["ariadne"] = torch.from_numpy(cosine.argmax(1))
    out["lorauter"] = torch.from_numpy(weights / weights.sum(1, keepdims=True))
    write_tensors(GOLDEN / "prompt" / "golden.safetensors", out)


if __name__ == "__main__":
    main()
