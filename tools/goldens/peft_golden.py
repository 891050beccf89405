#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes LoRA adapters of the tiny llama_untied model, and what PEFT computes with them, into tests/golden/.

usage: peft_golden.py           (run model_golden.py first; needs torch, transformers, peft; prints their versions)

A SITE is a linear's module path (model.layers.0.self_attn.q_proj); all seven linears of both layers are adapted. Rows are
ids.N of llama_untied/golden.safetensors; every logits tensor is float32 [T, V]. E is the number of experts, always 3.

  adapters/{a,b,c}/               as PEFT saves them. a: rank 2, alpha 4. b: rank 4, alpha 8, rsLoRA. c: rank 4, alpha 8,
                                  with a rank_pattern and an alpha_pattern (one key of each is a regular expression)
  adapters/golden.safetensors     a.logits.N, b.logits.N, c.logits.N; and mix.logits.N: weight 1/3 each, of outputs
                                  (add_weighted_adapter, "cat")
  arrow/{e0,e1,e2}/               rank 2, alphas 2, 4, 3: the experts of an Arrow model
  arrow/golden.safetensors        prototypes.SITE [E, in]: the top right singular vector of B A (float64 SVD, rounded; its
                                  sign is free); arrow.logits.N: create_arrow_model, top_k 2, temperature 1, with PEFT's
                                  approximate prototypes replaced by these; uniform.logits.N: weight 1/3 each, of outputs
  training/golden.safetensors     AdamW on one batch of three unequal rows, rank 4, alpha 8, no dropout, ten steps
      ids.N int64 [T], target_begin int64 [3]    row N's targets are the ids from target_begin[N] on
      start.SITE.lora_A [R, in], .lora_B [out, R]; end.SITE.lora_A, .lora_B: before and after the ten steps
      grad.SITE.lora_A, .lora_B    at the start, before clipping
      loss [10], grad_norm [10]    of each step, before its update: mean cross-entropy over all targets of the batch, and
                                   the norm of all gradients before it is clipped to 1
    AdamW: learning rate 1e-2, betas 0.9 and 0.999, eps 1e-8, weight decay 0.01 (decoupled), all in float32.
"""
import shutil

import torch
from peft import ArrowConfig, LoraConfig, PeftModel, create_arrow_model, get_peft_model

from common import GOLDEN, LINEARS, load, logits_of, sequences, sites, start, tidy_adapter, write_tensors

BASE = GOLDEN / "llama_untied"
MODEL_SEED = 20
WEIGHT_STD = 0.2
STEPS = 10
TARGET_BEGIN = (2, 3, 8)
ADAPTERS = {
    "a": {"r": 2, "lora_alpha": 4},
    "b": {"r": 4, "lora_alpha": 8, "use_rslora": True},
    "c": {"r": 4, "lora_alpha": 8,
          "rank_pattern": {"model.layers.0.self_attn.q_proj": 1, r"layers\.1\.mlp\.(gate|up)_proj": 3, "down_proj": 2},
          "alpha_pattern": {"layers.1.self_attn.k_proj": 3, "v_proj": 16, r"layers\.1\.mlp\.(gate|up)_proj": 5}},
}
EXPERTS = {"e0": {"r": 2, "lora_alpha": 2}, "e1": {"r": 2, "lora_alpha": 4}, "e2": {"r": 2, "lora_alpha": 3}}


def new_adapter(options, seed):
    """A PEFT model over the base, its A and B drawn from a normal distribution."""
    config = LoraConfig(target_modules=LINEARS, lora_dropout=0.0, task_type="CAUSAL_LM", **options)
    model = get_peft_model(load(BASE), config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * WEIGHT_STD)
    for config in model.peft_config.values():
        config.base_model_name_or_path = BASE.name
    return model


def write_adapters(group, table, rows, seed):
    """Saves each adapter of the table; returns {name.logits.N} of all."""
    shutil.rmtree(GOLDEN / group, ignore_errors=True)
    logits = {}
    for index, (name, options) in enumerate(table.items()):
        new_adapter(options, seed + index).save_pretrained(GOLDEN / group / name)
        tidy_adapter(GOLDEN / group / name)
        read = PeftModel.from_pretrained(load(BASE), GOLDEN / group / name).eval()
        logits.update(logits_of(read, rows, f"{name}.logits"))
    return logits


def uniform(group, names, rows, label):
    model = PeftModel.from_pretrained(load(BASE), GOLDEN / group / names[0], adapter_name=names[0]).eval()
    for name in names[1:]:
        model.load_adapter(GOLDEN / group / name, adapter_name=name)
    model.add_weighted_adapter(list(names), [1 / len(names)] * len(names), "uniform", combination_type="cat")
    assert all(module.scaling["uniform"] == 1 for module in sites(model).values()), "the weights are in A; no other scale"
    model.set_adapter("uniform")
    return logits_of(model, rows, label)


def exact_prototypes(module, names):
    tops = []
    for name in names:
        product = module.lora_B[name].weight.double() @ module.lora_A[name].weight.double()
        tops.append(torch.linalg.svd(product, full_matrices=False).Vh[0])
    return torch.stack(tops).float()


@torch.no_grad()
def arrow(rows):
    """(prototypes by site, logits, the smallest lead of the last chosen score over the first one left out)."""
    names = [f"task_{index}" for index in range(len(EXPERTS))]
    model = create_arrow_model(load(BASE), [str(GOLDEN / "arrow" / name) for name in EXPERTS],
                               ArrowConfig(top_k=2, router_temperature=1.0)).eval()
    leads, prototypes = [], {}
    for site, module in sites(model).items():
        layer = module.lora_arrow["arrow_router"]
        prototypes[site] = exact_prototypes(module, names)
        layer.register_buffer("prototypes", prototypes[site], persistent=False)
        layer._protos_ready = True

        def note_lead(_, inputs, layer=layer):
            ranked = (inputs[0] @ layer.prototypes.T).abs().sort(dim=-1, descending=True).values
            leads.append(float((ranked[..., 1] - ranked[..., 2]).min()))
        module.register_forward_pre_hook(note_lead)
    logits = logits_of(model, rows, "arrow.logits")
    for site, module in sites(model).items():
        assert torch.equal(module.lora_arrow["arrow_router"].prototypes, prototypes[site]), "PEFT made its own prototypes"
    return prototypes, logits, min(leads)


def batch_loss(model, rows):
    """Mean over all target positions of the batch, each row run alone."""
    total, count = 0.0, 0
    for row, begin in zip(rows, TARGET_BEGIN):
        logits = model(input_ids=torch.tensor([row])).logits[0, begin - 1:-1]
        total = total + torch.nn.functional.cross_entropy(logits, torch.tensor(row[begin:]), reduction="sum")
        count += len(row) - begin
    return total / count


def weights_of(model, label, pick=lambda parameter: parameter):
    out = {}
    for site, module in sites(model).items():
        out[f"{label}.{site}.lora_A"] = pick(module.lora_A["default"].weight).detach().clone()
        out[f"{label}.{site}.lora_B"] = pick(module.lora_B["default"].weight).detach().clone()
    return out


def training():
    rows = sequences(load(BASE).config.vocab_size, MODEL_SEED + 7)
    model = new_adapter({"r": 4, "lora_alpha": 8}, seed=70).train()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=1e-2, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)
    out = {**weights_of(model, "start"), "target_begin": torch.tensor(TARGET_BEGIN)}
    out.update({f"ids.{n}": torch.tensor(row) for n, row in enumerate(rows)})
    losses, norms = [], []
    for step in range(STEPS):
        loss = batch_loss(model, rows)
        optimizer.zero_grad()
        loss.backward()
        if step == 0:
            out.update(weights_of(model, "grad", lambda parameter: parameter.grad))
        norms.append(torch.nn.utils.clip_grad_norm_(parameters, 1.0).detach())
        losses.append(loss.detach())
        optimizer.step()
    out.update({**weights_of(model, "end"), "loss": torch.stack(losses), "grad_norm": torch.stack(norms)})
    print("loss of each step:", [round(float(loss), 4) for loss in losses])
    print("norm of each step:", [round(float(norm), 4) for norm in norms])
    write_tensors(GOLDEN / "training" / "golden.safetensors", out)


def main():
    start()
    rows = sequences(load(BASE).config.vocab_size, MODEL_SEED)
    logits = write_adapters("adapters", ADAPTERS, rows, seed=50)
    logits.update(uniform("adapters", tuple(ADAPTERS), rows, "mix.logits"))
    write_tensors(GOLDEN / "adapters" / "golden.safetensors", logits)
    write_adapters("arrow", EXPERTS, rows, seed=60)
    prototypes, logits, lead = arrow(rows)
    logits.update(uniform("arrow", tuple(EXPERTS), rows, "uniform.logits"))
    logits.update({f"prototypes.{site}": value for site, value in prototypes.items()})
    write_tensors(GOLDEN / "arrow" / "golden.safetensors", logits)
    print(f"  smallest lead of a chosen expert over one left out {lead:.2e}")
    training()


if __name__ == "__main__":
    main()
