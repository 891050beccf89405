#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes tests/golden/pemt/golden.safetensors: PEMT's second stage on the tiny T5 of t5/v10, written out in PyTorch.

usage: pemt_golden.py     (run t5_golden.py first; needs torch, transformers, peft, safetensors; prints their versions)

Three sources, each a prompt P_k [m_k, D] and LoRA factors A_k, B_k at every block's second feed-forward map (scale 1); a
target with a prompt P, gates G at every block, a bottleneck (width 2, gelu_new) after the feed-forward layer, and norms:
  prompt       P + sum_k softmax_rows(P P_k^T) P_k, before the encoder's tokens
  gate         encoder: softmax(mean over prompt positions of u G / temperature), u what the map reads; decoder: the same
               of the encoder's final states. `correlation`: of the prompt itself, in both stacks
  y            W u + sum_k g_k B_k A_k u;   z = y + Up gelu(Down y + d) + b
  loss         cross-entropy + weight * mean over blocks of sum_k mean over rows of g_k * (1 - c_k), c_k the mean over
               tokens of cos(z, B_k A_k u): over all tokens of the pass, or (text) all but the prompt's
Tensors: source.K.prompt, source.K.SITE.lora_A, .lora_B; start.NAME for the target's parameters, NAME being prompt,
SITE.gate [in, K], SITE.down, SITE.down_bias, SITE.up, SITE.up_bias, norm.MODULE; for each setting S of SETTINGS
S.loss, S.sparsity, S.logits.N, S.grad.NAME, S.gate.SITE [rows, K]. Rows are ids.N and decoder_ids.N of t5/v10.
"""
import safetensors.torch
import torch
from transformers import T5ForConditionalGeneration

from common import GOLDEN, start, write_tensors

K, RANK, WIDTH = 3, 2, 2
SOURCE_TOKENS, TARGET_TOKENS = (3, 2, 4), 3
SETTINGS = {
    "plain": {"gate": "prompt-mean", "temperature": 1.0, "weight": 0.1, "tokens": "all"},
    "correlation": {"gate": "correlation", "temperature": 0.5, "weight": 0.1, "tokens": "all"},
    "text": {"gate": "prompt-mean", "temperature": 2.0, "weight": 0.3, "tokens": "text"},
    "alone": {"gate": "prompt-mean", "temperature": 1.0, "weight": 0.0, "tokens": "all"},
}


def sites_of(model):
    return [name for name, _ in model.named_modules() if name.endswith("DenseReluDense.wo")]


def norms_of(model):
    return [name for name, module in model.named_modules() if type(module).__name__ == "T5LayerNorm"]


def random(shape, generator, spread=0.3):
    return torch.randn(shape, generator=generator) * spread


def target_parameters(model, generator):
    width, inner = model.config.d_model, model.config.d_ff
    out = {"prompt": random((TARGET_TOKENS, width), generator)}
    for site in sites_of(model):
        encoder = site.startswith("encoder")
        out[f"{site}.gate"] = random((inner if encoder else width, K), generator)
        out[f"{site}.down"], out[f"{site}.down_bias"] = random((WIDTH, width), generator), random((WIDTH,), generator)
        out[f"{site}.up"], out[f"{site}.up_bias"] = random((width, WIDTH), generator), random((width,), generator)
    modules = dict(model.named_modules())
    for norm in norms_of(model):
        out[f"norm.{norm}"] = modules[norm].weight.detach() + random((width,), generator, 0.1)
    return out


def run(model, sources, p, rows, setting):
    """Loss, sparsity, logits and gates of all rows; everything that changes is in p."""
    modules = dict(model.named_modules())
    for norm in norms_of(model):
        module = modules[norm]
        if "weight" in module._parameters:
            del module._parameters["weight"]
        module.weight = p[f"norm.{norm}"]
    prompt = p["prompt"] + sum(torch.softmax(p["prompt"] @ s["prompt"].T, 1) @ s["prompt"] for s in sources)
    m = prompt.shape[0]
    blocks, gates, states = {}, {}, {}

    def gate(site, x):
        weights = p[f"{site}.gate"]
        if setting["gate"] == "correlation":
            # The prompt is D wide; an encoder's gate of width d_ff reads nothing of it, so both stacks use D inputs.
            return torch.softmax(prompt.mean(0) @ weights[: prompt.shape[1]] / setting["temperature"], 0)
        return torch.softmax(x.mean(0) @ weights / setting["temperature"], 0)

    def hook(site):
        def finish(_, inputs, y):
            u, y = inputs[0][0], y[0]
            g = gate(site, u[:m] if site.startswith("encoder") else states["encoder"][:m])
            experts = [u @ s[f"{site}.lora_A"].T @ s[f"{site}.lora_B"].T for s in sources]
            y = y + sum(g[k] * experts[k] for k in range(K))
            hidden = torch.nn.functional.gelu(y @ p[f"{site}.down"].T + p[f"{site}.down_bias"], approximate="tanh")
            z = y + hidden @ p[f"{site}.up"].T + p[f"{site}.up_bias"]
            skip = m if setting["tokens"] == "text" and site.startswith("encoder") else 0
            cosines = torch.stack([torch.nn.functional.cosine_similarity(z, e, dim=1)[skip:] for e in experts], 1)
            blocks.setdefault(site, []).append(cosines)
            gates.setdefault(site, []).append(g)
            return z[None]
        return finish

    hooks = [modules[site].register_forward_hook(hook(site)) for site in sites_of(model)]
    losses, count, logits = [], 0, []
    for source, target in rows:
        embedded = torch.cat([prompt, model.shared(source)])[None]
        encoded = model.encoder(inputs_embeds=embedded)
        states["encoder"] = encoded.last_hidden_state[0]
        # The last id is predicted, not fed, so it counts in no cosine either.
        own = model(encoder_outputs=encoded, decoder_input_ids=target[None, :-1]).logits[0]
        logits.append(own)
        losses.append(torch.nn.functional.cross_entropy(own, target[1:], reduction="sum"))
        count += len(target) - 1
    for h in hooks:
        h.remove()
    sparsity = 0.0
    for site, cosines in blocks.items():
        mean_gate = torch.stack(gates[site]).mean(0)
        sparsity = sparsity + (mean_gate * (1 - torch.cat(cosines).mean(0))).sum() / len(blocks)
    return sum(losses) / count, sparsity, logits, {site: torch.stack(own) for site, own in gates.items()}


def main():
    start()
    generator = torch.Generator().manual_seed(31)
    folder = GOLDEN / "t5" / "v10"
    model = T5ForConditionalGeneration.from_pretrained(folder, dtype=torch.float32).eval()
    golden = safetensors.torch.load_file(folder / "golden.safetensors")
    rows = [(golden[f"ids.{n}"], golden[f"decoder_ids.{n}"]) for n in range(3)]
    out, sources = {}, []
    for k in range(K):
        own = {"prompt": random((SOURCE_TOKENS[k], model.config.d_model), generator)}
        for site in sites_of(model):
            own[f"{site}.lora_A"] = random((RANK, model.config.d_ff), generator)
            own[f"{site}.lora_B"] = random((model.config.d_model, RANK), generator)
        sources.append(own)
        out.update({f"source.{k}.{name}": t for name, t in own.items()})
    begin = target_parameters(model, generator)
    out.update({f"start.{name}": t for name, t in begin.items()})
    for name, setting in SETTINGS.items():
        p = {key: t.clone().requires_grad_(True) for key, t in begin.items()}
        loss, sparsity, logits, gates = run(model, sources, p, rows, setting)
        total = loss + setting["weight"] * sparsity
        total.backward()
        out.update({f"{name}.loss": total[None].detach(), f"{name}.sparsity": torch.as_tensor(sparsity)[None].detach()})
        out.update({f"{name}.logits.{n}": own for n, own in enumerate(logits)})
        out.update({f"{name}.gate.{site}": g for site, g in gates.items()})
        out.update({f"{name}.grad.{key}": t.grad for key, t in p.items() if t.grad is not None})
    write_tensors(GOLDEN / "pemt" / "golden.safetensors", out)


if __name__ == "__main__":
    main()
