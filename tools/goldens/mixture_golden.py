#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes what ATTEMPT, AdapterFusion and AdaMix's consistency come to, in plain PyTorch, into tests/golden/mixtures/.

usage: mixture_golden.py     (run model_golden.py and kinds_golden.py first; needs torch, transformers; prints versions)

  attempt.NAME             its tensors: sources [3, 4, 32], prompt, down [5, 32], up, norm_weight, norm_bias, temperature
  attempt.out.N            the prompt of ids.N of llama_untied, attempt.loss the sum over all of its products with
                           attempt.factor, attempt.grad.NAME the gradients of it
  fusion.SITE.NAME         query, query_bias, key, key_bias, value of SITE, over the experts kinds/series and kinds/beside
                           at o_proj and down_proj of llama_untied (their bottlenecks alone)
  fusion.logits.N          of ids.N; fusion.loss and fusion.grad.SITE.NAME as in kinds_golden.py
  divergence.a, .b, .value (KL(p || q) + KL(q || p)) / 2 of five rows of logits, by torch's kl_div
"""
import safetensors.torch
import torch
from torch.nn import functional as F

from common import GOLDEN, load, start, write_tensors
from kinds_golden import OWN, PREFIX, SITES, activation

TEMPERATURE = 3.0


def attempt(generator, embedding, rows):
    def new(*shape, around=0.0):
        return (around + 0.3 * torch.randn(shape, generator=generator)).requires_grad_(True)

    tensors = {"sources": new(3, 4, 32).detach(), "prompt": new(4, 32), "down": new(5, 32), "up": new(32, 5),
               "norm_weight": new(32, around=1.0), "norm_bias": new(32)}
    factor = torch.randn((4, 32), generator=generator)
    norm = torch.nn.LayerNorm(32)
    out, total = {}, 0.0
    for n, ids in enumerate(rows):
        x = embedding[ids].max(dim=0).values
        hidden = F.silu(tensors["down"] @ x)
        query = F.layer_norm(tensors["up"] @ hidden, (32,), tensors["norm_weight"], tensors["norm_bias"], norm.eps)
        candidates = [*tensors["sources"], tensors["prompt"]]
        scores = torch.stack([(p.max(dim=0).values * query).sum() for p in candidates]) / TEMPERATURE
        prompt = tensors["prompt"] + sum(a * p for a, p in zip(scores.softmax(0), candidates))
        out[f"attempt.out.{n}"] = prompt
        total = total + (prompt * factor).sum()
    total.backward()
    grads = {f"attempt.grad.{name}": t.grad for name, t in tensors.items() if t.requires_grad}
    return {**out, **grads, **{f"attempt.{name}": t for name, t in tensors.items()}, "attempt.factor": factor,
            "attempt.loss": total[None], "attempt.temperature": torch.tensor([TEMPERATURE])}


def fusion(generator, rows):
    model = load(GOLDEN / "llama_untied")
    modules = dict(model.named_modules())
    experts = {name: safetensors.torch.load_file(GOLDEN / "kinds" / name / "adapter_model.safetensors")
               for name in ("series", "beside")}
    tensors = {}

    def added(name, site, x, y):
        kind, scale, reads = OWN[name]
        part = {key: experts[name][f"{PREFIX}{site}.adapter.{key}"] for key in
                ("down.weight", "down.bias", "up.weight", "up.bias")}
        hidden = activation(kind)(F.linear(x if reads == "input" else y, part["down.weight"], part["down.bias"]))
        return scale * F.linear(hidden, part["up.weight"], part["up.bias"])

    for site in SITES:
        width = modules[site].out_features
        own = {name: (0.1 * torch.randn(shape, generator=generator)).requires_grad_(True) for name, shape in
               {"query": (width, width), "query_bias": (width,), "key": (width, width), "key_bias": (width,),
                "value": (width, width)}.items()}
        tensors.update({f"{site}.{name}": t for name, t in own.items()})

        def hook(_, inputs, y, site=site, own=own):
            outputs = torch.stack([added(name, site, inputs[0], y) for name in experts], dim=-2)
            query = F.linear(y, own["query"], own["query_bias"])
            keys = F.linear(outputs, own["key"], own["key_bias"])
            shares = torch.einsum("bto,btno->btn", query, keys).softmax(-1)
            return y + torch.einsum("btn,btno->bto", shares, F.linear(outputs, own["value"]))
        modules[site].register_forward_hook(hook)
    out, losses, count = {}, [], 0
    for n, row in enumerate(rows):
        logits = model(input_ids=row[None]).logits[0]
        out[f"fusion.logits.{n}"] = logits
        losses.append(F.cross_entropy(logits[:-1], row[1:], reduction="sum"))
        count += len(row) - 1
    loss = sum(losses) / count
    loss.backward()
    return {**out, "fusion.loss": loss[None], **{f"fusion.{name}": t for name, t in tensors.items()},
            **{f"fusion.grad.{name}": t.grad for name, t in tensors.items()}}


def divergence(generator):
    a, b = (torch.randn((5, 11), generator=generator) for _ in range(2))
    log_p, log_q = a.log_softmax(-1), b.log_softmax(-1)
    value = 0.5 * (F.kl_div(log_p, log_q, reduction="batchmean", log_target=True) +
                   F.kl_div(log_q, log_p, reduction="batchmean", log_target=True))
    return {"divergence.a": a, "divergence.b": b, "divergence.value": value[None]}


def main():
    start()
    generator = torch.Generator().manual_seed(21)
    golden = safetensors.torch.load_file(GOLDEN / "llama_untied" / "golden.safetensors")
    rows = [golden[f"ids.{n}"].long() for n in range(3)]
    embedding = load(GOLDEN / "llama_untied").get_input_embeddings().weight.detach()
    write_tensors(GOLDEN / "mixtures" / "golden.safetensors",
                  {**attempt(generator, embedding, rows), **fusion(generator, rows), **divergence(generator)})


if __name__ == "__main__":
    main()
