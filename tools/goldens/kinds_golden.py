#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes adapters that are not LoRA, and what PEFT or plain PyTorch computes with them, into tests/golden/kinds/.

usage: kinds_golden.py     (run model_golden.py and t5_golden.py first; needs torch, transformers, peft; prints versions)

  ia3/, prompt/, norms/        of llama_untied, as PEFT saves them: IA3 on k_proj, v_proj and down_proj (its input), three
                               vectors before the prompt, the weights of all norms
  dora/, vera/, prefix/        the same: DoRA of rank 2 and VeRA of rank 4 on q_proj and down_proj, three keys and values
                               in every layer
  mpt/                         the same: multitask prompt tuning of one task, three vectors, rank 2
  t5_ia3/                      of t5/v11: IA3 on k, v and wo (its input)
  t5_prompt/                   of t5/v11: three vectors before the prompt
  t5_prefix/, t5_prefix_two/   of t5/mt5 and t5/v11: three keys and values in the decoder's one layer, or two
  series/, beside/, block/,    of llama_untied, in Quiver's own format: at o_proj and down_proj a bottleneck of width 3
  products/                    after the map (gelu_new, scale 0.5), beside it (relu, scale 2), or beside the attention or
                               feed-forward block (silu, scale 1.5), or of width 4 after the map and made of 2 Kronecker
                               products of rank 1 (Compacter); a bias at q_proj; the weights of both norms of layer 1;
                               LoRA of rank 2 at v_proj, scale 1.5. By forward hooks
  NAME.logits.N float32        of ids.N of the model's golden.safetensors (T5: decoder_ids.N)
  NAME.loss, NAME.grad.KEY     mean cross-entropy of all tokens after the first (T5: of decoder_ids after the start) of
                               the three rows together, and its gradients by the keys of the adapter's file
"""
import json
import shutil

import safetensors.torch
import torch
from peft import (IA3Config, LNTuningConfig, LoraConfig, MultitaskPromptTuningConfig, PeftModel, PrefixTuningConfig,
                  PromptTuningConfig, VeraConfig, get_peft_model)
from transformers import MT5ForConditionalGeneration, T5ForConditionalGeneration

from common import GOLDEN, load, start, write_tensors

OUT = GOLDEN / "kinds"
PREFIX = "base_model.model."
NORMS = ["input_layernorm", "post_attention_layernorm", "norm"]
PEFT = {
    "ia3": IA3Config(task_type="CAUSAL_LM", target_modules=["k_proj", "v_proj", "down_proj"],
                     feedforward_modules=["down_proj"]),
    "prompt": PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3),
    "norms": LNTuningConfig(task_type="CAUSAL_LM", target_modules=NORMS),
    "dora": LoraConfig(task_type="CAUSAL_LM", r=2, lora_alpha=3, use_dora=True, target_modules=["q_proj", "down_proj"]),
    "vera": VeraConfig(task_type="CAUSAL_LM", r=4, target_modules=["q_proj", "down_proj"]),
    "prefix": PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3),
}
MPT = MultitaskPromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3, num_ranks=2, num_tasks=1)
# PEFT reads them back for inference alone, so the model at hand is used.
VECTORS = ("prompt", "prefix", "mpt", "t5_prompt", "t5_prefix", "t5_prefix_two")
OWN = {"series": ("gelu_new", 0.5, "output"), "beside": ("relu", 2.0, "input"), "block": ("silu", 1.5, "block"),
       "products": ("relu", 1.0, "output")}
SITES = [f"model.layers.{layer}.{name}" for layer in range(2) for name in ("self_attn.o_proj", "mlp.down_proj")]


def llama():
    return load(GOLDEN / "llama_untied")


def t5():
    return T5ForConditionalGeneration.from_pretrained(GOLDEN / "t5" / "v11", dtype=torch.float32).eval()


def mt5():
    return MT5ForConditionalGeneration.from_pretrained(GOLDEN / "t5" / "mt5", dtype=torch.float32).eval()


def t5_prefix(layers):
    return PrefixTuningConfig(task_type="SEQ_2_SEQ_LM", num_virtual_tokens=3, num_layers=layers, token_dim=24,
                              num_attention_heads=3)


def randomise(tensors, generator, around=0.0, spread=0.3):
    with torch.no_grad():
        for t in tensors:
            t.copy_(around + torch.randn(t.shape, generator=generator) * spread)


def losses_of(name, logits_of_row, targets_of_row, rows):
    out, losses, count = {}, [], 0
    for n, row in enumerate(rows):
        logits = logits_of_row(row)
        out[f"{name}.logits.{n}"] = logits
        target = targets_of_row(row)
        losses.append(torch.nn.functional.cross_entropy(logits[-len(target) - 1:-1], target, reduction="sum"))
        count += len(target)
    loss = sum(losses) / count
    loss.backward()
    return {**out, f"{name}.loss": loss[None].detach()}


def tidy(folder, tensors):
    (folder / "README.md").unlink(missing_ok=True)
    config = json.loads((folder / "adapter_config.json").read_text())
    for key in ("target_modules", "feedforward_modules"):
        if config.get(key):
            config[key].sort()
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    for file in folder.iterdir():
        file.chmod(0o644)


def by_peft(name, base, config, rows, generator, t5_rows=None):
    model = get_peft_model(base(), config)
    trained = {key: p for key, p in model.named_parameters() if p.requires_grad}
    magnitudes = [p for key, p in trained.items() if "magnitude" in key]
    randomise([p for key, p in trained.items() if "magnitude" not in key], generator,
              1.0 if name in ("ia3", "t5_ia3", "norms") else 0.0)
    with torch.no_grad():
        for p in magnitudes:
            p.mul_(1 + torch.randn(p.shape, generator=generator) * 0.3)
    for own in model.peft_config.values():
        own.base_model_name_or_path = "tiny"
    shutil.rmtree(OUT / name, ignore_errors=True)
    model.save_pretrained(OUT / name)
    tidy(OUT / name, trained)
    model = model.eval() if name in VECTORS else PeftModel.from_pretrained(base(), OUT / name, is_trainable=True).eval()
    if t5_rows:
        out = losses_of(name, lambda r: model(input_ids=r[0][None], decoder_input_ids=r[1][None]).logits[0],
                        lambda r: r[1][1:], t5_rows)
    else:
        skip = config.num_virtual_tokens if name in ("prompt", "mpt") else 0  # a prefix has no logits
        task = {"task_ids": torch.tensor([0])} if name == "mpt" else {}
        out = losses_of(name, lambda r: model(input_ids=r[None], **task).logits[0][skip:], lambda r: r[1:], rows)
    saved = safetensors.torch.load_file(OUT / name / "adapter_model.safetensors")
    grads = {key: p.grad for key, p in model.named_parameters() if p.requires_grad}
    for key in saved:
        if key == "prompt_embeddings":
            grad = next(g for k, g in grads.items() if "embedding" in k)
        elif name == "mpt":
            grad = next(g for k, g in grads.items() if key in k)
        else:
            module, last = key.rsplit(".", 1)
            own = [k for k in (f"{module}.default.{last}", f"{key}.default", f"{key}.default.weight") if k in grads]
            if not own:  # VeRA's shared factors are not trained
                continue
            grad = grads[own[0]]
        out[f"{name}.grad.{key}"] = grad.reshape(saved[key].shape)
    return out


def activation(name):
    return {"relu": torch.relu, "silu": torch.nn.functional.silu,
            "gelu_new": lambda x: torch.nn.functional.gelu(x, approximate="tanh")}[name]


def by_hooks(name, rows, generator):
    kind, scale, reads = OWN[name]
    model, tensors = llama(), {}
    modules = dict(model.named_modules())

    def new(key, *shape, around=0.0):
        t = around + torch.randn(shape, generator=generator) * 0.3
        tensors[PREFIX + key] = t.requires_grad_(True)
        return t

    if name == "products":
        rule = 0.5 * torch.randn((2, 2, 2), generator=generator)
        tensors["compacter_rule"] = rule.requires_grad_(True)

    def products(site, part, rows, columns):
        left = new(f"{site}.adapter.{part}.left", 2, rows // 2, 1)
        right = new(f"{site}.adapter.{part}.right", 2, 1, columns // 2)
        return lambda: sum(torch.kron(rule[i], left[i] @ right[i]) for i in range(2))

    def bottleneck(site):
        linear = modules[site]
        width = linear.in_features if reads == "input" else linear.out_features
        if name == "products":
            inner = 4
            down, up = products(site, "down", width, inner), products(site, "up", inner, linear.out_features)
        else:
            inner = 3
            weights = (new(f"{site}.adapter.down.weight", inner, width),
                       new(f"{site}.adapter.up.weight", linear.out_features, inner))
            down, up = (lambda: weights[0].T), (lambda: weights[1].T)
        down_bias, up_bias = new(f"{site}.adapter.down.bias", inner), new(f"{site}.adapter.up.bias", linear.out_features)
        block_input = {}

        def hook(_, inputs, y):
            x = {"output": y, "input": inputs[0], "block": block_input.get("x")}[reads]
            return y + scale * (activation(kind)(x @ down() + down_bias) @ up() + up_bias)

        def remember(_, inputs, keywords):
            block_input["x"] = inputs[0] if inputs else keywords["hidden_states"]
        modules[site.rsplit(".", 1)[0]].register_forward_pre_hook(remember, with_kwargs=True)
        linear.register_forward_hook(hook)

    for site in SITES:
        bottleneck(site)
    for layer in range(2):
        query, value = f"model.layers.{layer}.self_attn.q_proj", f"model.layers.{layer}.self_attn.v_proj"
        bias = new(f"{query}.bias", modules[query].out_features)
        modules[query].register_forward_hook(lambda _, __, y, bias=bias: y + bias)
        a = new(f"{value}.lora_A.weight", 2, modules[value].in_features)
        b = new(f"{value}.lora_B.weight", modules[value].out_features, 2)
        modules[value].register_forward_hook(lambda _, x, y, a=a, b=b: y + 1.5 * (x[0] @ a.T @ b.T))
    for norm in NORMS[:2]:
        module = modules[f"model.layers.1.{norm}"]
        weight = new(f"model.layers.1.{norm}.weight", 32, around=1.0)
        del module.weight
        module.weight = weight
    out = losses_of(name, lambda r: model(input_ids=r[None]).logits[0], lambda r: r[1:], rows)
    config = {"peft_type": "QUIVER", "base_model_name_or_path": "tiny", "inference_mode": True, "task_type": None,
              "bottleneck": {"nonlinearity": kind, "scale": scale, "reads": reads},
              "scales": {f"model.layers.{layer}.self_attn.v_proj": 1.5 for layer in range(2)}}
    shutil.rmtree(OUT / name, ignore_errors=True)
    (OUT / name).mkdir(parents=True)
    (OUT / name / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    write_tensors(OUT / name / "adapter_model.safetensors", tensors)
    return {**out, **{f"{name}.grad.{key}": t.grad for key, t in tensors.items()}}


def main():
    start()
    generator = torch.Generator().manual_seed(12)
    golden = safetensors.torch.load_file(GOLDEN / "llama_untied" / "golden.safetensors")
    rows = [golden[f"ids.{n}"] for n in range(3)]
    pairs = {}
    for name in ("v11", "mt5"):
        seq = safetensors.torch.load_file(GOLDEN / "t5" / name / "golden.safetensors")
        pairs[name] = [(seq[f"ids.{n}"], seq[f"decoder_ids.{n}"]) for n in range(3)]
    out = {}
    for name, config in PEFT.items():
        out.update(by_peft(name, llama, config, rows, generator))
    t5_config = IA3Config(target_modules=["k", "v", "wo"], feedforward_modules=["wo"])
    out.update(by_peft("t5_ia3", t5, t5_config, None, generator, pairs["v11"]))
    for name in OWN:
        out.update(by_hooks(name, rows, generator))
    out.update(by_peft("mpt", llama, MPT, rows, generator))
    out.update(by_peft("t5_prefix", mt5, t5_prefix(1), None, generator, pairs["mt5"]))
    out.update(by_peft("t5_prefix_two", t5, t5_prefix(2), None, generator, pairs["v11"]))
    prompt = PromptTuningConfig(task_type="SEQ_2_SEQ_LM", num_virtual_tokens=3, token_dim=16)
    out.update(by_peft("t5_prompt", t5, prompt, None, generator, pairs["v11"]))
    write_tensors(OUT / "golden.safetensors", out)


if __name__ == "__main__":
    main()
