#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes three LoRA adapters over two linears and what merging them gives into tests/golden/merge/golden.safetensors.

usage: merge_golden.py          (needs torch, transformers, peft, numpy; prints their versions)

Experts a, b, c have ranks 4, 4, 4 and alphas 8, 4, 6; d has rank 2, alpha 8 and lacks the second site. SITE is `first`
([12, 10], so in 10, out 12) or `second` ([6, 10]).
  expert.NAME.SITE.{lora_A [R, in], lora_B [out, R], scale []}
  METHOD.SITE.{lora_A, lora_B}    by PEFT's add_weighted_adapter, where both factors can be compared
  METHOD.SITE.product             B A where only it can (a truncation turns the factors), or of a NumPy transcription
  mask.METHOD.SITE.PART.N         the random choices that PEFT made for expert N (PART a, b or product)
PEFT merges a, b, c with weights 0.7, 0.5, -0.4 and density 0.6. The transcriptions (float64, dense, from the formulas that
the headers in src/quiver/merging state) are of MTTL's ties, uniform, wudi and projector, mergekit's ties, breadcrumbs and
slerp, and KnOTS; where scales matter to the recipe they are of a, b, c.
"""
import math

import numpy as np
import peft.tuners.lora.model as peft_model
import peft.utils.merge_utils as merge_utils
import torch
from peft import LoraConfig, get_peft_model

from common import GOLDEN, sites, start, write_tensors

SITES = {"first": (12, 10), "second": (6, 10)}
EXPERTS = {"a": (4, 8, ["first", "second"]), "b": (4, 4, ["first", "second"]), "c": (4, 6, ["first", "second"]),
           "d": (2, 8, ["first"])}
NAMES, WEIGHTS, DENSITY, RANK = ["a", "b", "c"], [0.7, 0.5, -0.4], 0.6, 3
BY_FACTORS = ["linear", "cat", "ties", "dare_linear", "dare_ties", "magnitude_prune"]
BY_PRODUCT = ["svd", "ties_svd", "dare_linear_svd", "dare_ties_svd", "magnitude_prune_svd"]


class Base(torch.nn.Module):
    def __init__(self):
        super().__init__()
        for name, (out, width) in SITES.items():
            setattr(self, name, torch.nn.Linear(width, out, bias=False))

    def forward(self, x):
        return self.second(x), self.first(x)


def experts():
    """A PEFT model with all experts, their factors drawn from a normal distribution."""
    model = None
    generator = torch.Generator().manual_seed(90)
    for name, (rank, alpha, targets) in EXPERTS.items():
        config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=targets, lora_dropout=0.0)
        model = get_peft_model(Base(), config, adapter_name=name) if model is None else model
        if name not in model.peft_config:
            model.add_adapter(name, config)
    with torch.no_grad():
        for _, parameter in sorted((n, p) for n, p in model.named_parameters() if "lora_" in n):
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.5)
    return model


def recorded_masks(store):
    """PEFT's random pruning, keeping the masks it draws."""
    def prune(tensor, density, rescale):
        mask = torch.bernoulli(torch.full_like(tensor, density))
        store.append(mask)
        return tensor * mask / density if rescale else tensor * mask
    return prune


def by_peft(model, out):
    for method in BY_FACTORS + BY_PRODUCT:
        masks = []
        merge_utils.random_pruning = recorded_masks(masks)
        torch.manual_seed(7)
        label = method.replace("_", "-")
        model.base_model.add_weighted_adapter(NAMES, WEIGHTS, method, combination_type=method, density=DENSITY,
                                              svd_rank=RANK)
        parts = iter([(site, part) for site in ("first", "second")
                      for part in (["product"] if "svd" in method else ["a", "b"])])
        for index, mask in enumerate(masks):
            site, part = next(parts) if index % len(NAMES) == 0 else (site, part)
            out[f"mask.{label}.{site}.{part}.{index % len(NAMES)}"] = mask
        for site, module in sites(model).items():
            assert module.scaling[method] == 1
            a, b = module.lora_A[method].weight, module.lora_B[method].weight
            if method in BY_FACTORS:
                out.update({f"{label}.{site}.lora_A": a, f"{label}.{site}.lora_B": b})
            else:
                out[f"{label}.{site}.product"] = b @ a
        model.delete_adapter(method)


def numpy_experts(model):
    """{name: {site: (A, B, scale)}} in float64."""
    return {name: {site: (module.lora_A[name].weight.detach().double().numpy(),
                          module.lora_B[name].weight.detach().double().numpy(), module.scaling[name])
                   for site, module in sites(model).items() if name in module.lora_A} for name in EXPERTS}


def split_scale(expert):
    return {site: (a * math.sqrt(s), b * math.sqrt(s)) for site, (a, b, s) in expert.items()}


def mttl_ties(chosen, keep):
    split = [split_scale(expert) for expert in chosen]
    bars = [np.quantile(np.abs(np.concatenate([t.ravel() for pair in e.values() for t in pair])), 1 - keep) for e in split]
    merged = {}
    for site in SITES:
        pair = []
        for part in range(2):
            stack = np.stack([e[site][part] * (np.abs(e[site][part]) >= bar) for e, bar in zip(split, bars)])
            elected = np.sign(stack.sum(0))
            agree = np.sign(stack) == elected
            pair.append((stack * agree).sum(0) / np.maximum(agree.sum(0), 1))
        merged[site] = pair[1] @ pair[0]
    return merged


def mergekit_ties(deltas, weights, density):
    kept = []
    for delta in deltas:
        mask = np.zeros(delta.size)
        mask[np.argsort(-np.abs(delta).ravel())[:int(density * delta.size)]] = 1
        kept.append(delta * mask.reshape(delta.shape))
    w = np.array(weights)[:, None, None]
    weighted = np.stack(kept) * w
    agree = np.sign(weighted) == np.where(weighted.sum(0) >= 0, 1, -1)
    by = (w * agree).sum(0)
    return (weighted * agree).sum(0) / np.where(by == 0, 1, by)


def breadcrumbs(deltas, weights, density, gamma):
    total = 0
    for delta, weight in zip(deltas, weights):
        size = delta.size
        low = max(0, size - int(density * size) - int(gamma * size))
        mask = np.zeros(size)
        mask[np.argsort(np.abs(delta).ravel())[low:low + int(density * size)]] = 1
        total = total + weight * delta * mask.reshape(delta.shape)
    return total


def slerp(x, y, t):
    theta = math.acos(np.sum(x * y) / np.linalg.norm(x) / np.linalg.norm(y))
    return (math.sin((1 - t) * theta) * x + math.sin(t * theta) * y) / math.sin(theta)


def truncated(product, rank):
    u, s, vh = np.linalg.svd(product, full_matrices=False)
    return u[:, :rank] * s[:rank] @ vh[:rank]


def knots(deltas_of_site, keep):
    """One dense SVD per site; the threshold of an expert counts over all sites."""
    bases, parts = {}, {}
    for site, deltas in deltas_of_site.items():
        u, s, vh = np.linalg.svd(np.concatenate(deltas, axis=1), full_matrices=False)
        u, s, vh = u[:, s > 1e-5], s[s > 1e-5], vh[s > 1e-5]
        bases[site] = u
        parts[site] = np.split(s[:, None] * vh, len(deltas), axis=1)
    for expert in range(len(next(iter(parts.values())))):
        flat = np.sort(np.abs(np.concatenate([p[expert].ravel() for p in parts.values()])))
        bar = flat[flat.size - int(keep * flat.size) - 1] if keep < 1 else 0
        for p in parts.values():
            p[expert] = p[expert] * (np.abs(p[expert]) >= bar)
    merged = {}
    for site, p in parts.items():
        stack = np.stack(p)
        agree = np.where(np.sign(stack.sum(0)) > 0, stack > 0, stack < 0)
        merged[site] = bases[site] @ ((stack * agree).sum(0) / np.maximum(agree.sum(0), 1))
    return merged


def wudi(tensors, lr, steps):
    """Adam as in its paper, on the objective written out term by term."""
    x = sum(tensors)
    mean, square = np.zeros_like(x), np.zeros_like(x)
    previous, still = math.inf, 0
    for step in range(1, steps + 1):
        norms = [np.sum(t * t) for t in tensors]
        value = sum(np.sum(((x - t).T @ t) ** 2) / n for t, n in zip(tensors, norms))
        gradient = sum(2 * t @ (t.T @ (x - t)) / n for t, n in zip(tensors, norms))
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient ** 2
        x = x - lr * (mean / (1 - 0.9 ** step)) / (np.sqrt(square / (1 - 0.999 ** step)) + 1e-8)
        still = still + 1 if abs(previous - value) < 1e-4 else 0
        if still >= 5:
            break
        previous = value
    return x / len(tensors)


def project(target, basis):
    solution = np.linalg.lstsq(np.stack([t.ravel() for t in basis], axis=1), target.ravel(), rcond=None)[0]
    return sum(c * t for c, t in zip(solution, basis))


def transcriptions(known, out):
    def put(method, product_of_site):
        out.update({f"{method}.{site}.product": torch.from_numpy(np.ascontiguousarray(product))
                    for site, product in product_of_site.items()})
    chosen = [known[name] for name in NAMES]
    deltas = {site: [s * b @ a for a, b, s in (e[site] for e in chosen)] for site in SITES}
    split = {site: [split_scale(e)[site] for e in chosen] for site in SITES}
    put("mttl-uniform", {s: np.mean([b for _, b in p], 0) @ np.mean([a for a, _ in p], 0) for s, p in split.items()})
    put("mttl-ties", mttl_ties(chosen, 0.3))
    put("mergekit-ties-svd", {s: truncated(mergekit_ties(d, WEIGHTS, DENSITY), RANK) for s, d in deltas.items()})
    put("breadcrumbs-products", {s: truncated(breadcrumbs(d, WEIGHTS, 0.7, 0.1), RANK) for s, d in deltas.items()})
    put("slerp-products", {s: slerp(d[0], d[1], 0.3) for s, d in deltas.items()})
    put("slerp-factors", {s: slerp(p[0][1], p[1][1], 0.3) @ slerp(p[0][0], p[1][0], 0.3) for s, p in split.items()})
    put("knots", knots(deltas, 1.0))
    put("knots-half", knots(deltas, 0.5))
    scale = chosen[0]["first"][2]
    relative = {site: [(a * math.sqrt(s / scale), b * math.sqrt(s / scale)) for a, b, s in (e[site] for e in chosen)]
                for site in SITES}
    put("wudi-factors", {s: scale * wudi([b for _, b in p], 0.01, 40) @ wudi([a for a, _ in p], 0.01, 40)
                         for s, p in relative.items()})
    put("wudi-products", {s: truncated(wudi(d, 0.01, 40), RANK) for s, d in deltas.items()})
    put("project-fine", {s: project(p[0][1], [b for _, b in p[1:]]) @ project(p[0][0], [a for a, _ in p[1:]])
                         for s, p in split.items()})
    flat = [np.concatenate([t.ravel() for site in SITES for t in split[site][e]]) for e in range(3)]
    c = np.linalg.lstsq(np.stack(flat[1:], axis=1), flat[0], rcond=None)[0]
    put("project-coarse", {s: (c[0] * p[1][1] + c[1] * p[2][1]) @ (c[0] * p[1][0] + c[1] * p[2][0])
                           for s, p in split.items()})
    put("project-products", {s: project(d[0], d[1:]) for s, d in deltas.items()})


def main():
    start()
    print(f"numpy {np.__version__}")
    assert peft_model.dare_linear is merge_utils.dare_linear, "masks are recorded by replacing merge_utils.random_pruning"
    model = experts()
    out = {}
    for name, expert in numpy_experts(model).items():
        for site, (a, b, scale) in expert.items():
            out.update({f"expert.{name}.{site}.lora_A": torch.from_numpy(a).float(),
                        f"expert.{name}.{site}.lora_B": torch.from_numpy(b).float(),
                        f"expert.{name}.{site}.scale": torch.tensor(scale, dtype=torch.float64)})
    transcriptions(numpy_experts(model), out)
    by_peft(model, out)
    write_tensors(GOLDEN / "merge" / "golden.safetensors", out)


if __name__ == "__main__":
    main()
