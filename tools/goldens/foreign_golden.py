#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes adapters of llama_untied as other tools leave them, and what PEFT computes with them, into tests/golden/foreign.

usage: foreign_golden.py        (run model_golden.py first; needs torch, transformers, peft; prints their versions)

  named/            LoRA, rank 2; keys with the adapter's name (.lora_A.default.weight), as checkpoints of training loops
                    have them
  named_dora/       the same of DoRA, rank 2, of q_proj and down_proj
  stream/           the LoRA of named/ in adapter_model.bin of torch.save before PyTorch 1.6
  adalora/          AdaLoRA, init_r 4, alpha 8, as PEFT saves it after it pruned some ranks, one site's to 0
  p_tuning/         P-tuning, 3 vectors, with an encoder of an LSTM, as PEFT saves it
  pissa/, olora/    adapters that started as PiSSA and OLoRA, converted to plain LoRA by PEFT
  golden.safetensors     NAME.logits.N float32 [T, V] of named, named_dora, adalora, pissa and olora; rows are ids.N of
                         llama_untied/golden.safetensors. p_tuning.vectors [3, D]: what PEFT puts before the prompt
"""
import json
import shutil

import safetensors.torch
import torch
from peft import AdaLoraConfig, LoraConfig, PeftModel, PromptEncoderConfig, get_peft_model
from peft.utils import get_peft_model_state_dict

from common import GOLDEN, LINEARS, load, logits_of, sequences, start, tidy_adapter, write_tensors

BASE = GOLDEN / "llama_untied"
OUT = GOLDEN / "foreign"
MODEL_SEED = 20


def randomised(model, seed, std=0.2, parts=("lora_",)):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if any(part in name for part in parts) and "magnitude" not in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * std)
    for config in model.peft_config.values():
        config.base_model_name_or_path = BASE.name
    return model


def save(model, name):
    model.save_pretrained(OUT / name)
    tidy_adapter(OUT / name)


def reread(name, rows):
    return logits_of(PeftModel.from_pretrained(load(BASE), OUT / name).eval(), rows, f"{name}.logits")


def with_names(name):
    """The adapter's name into every key, as the state of the whole model has it."""
    path = OUT / name / "adapter_model.safetensors"
    tensors = {}
    for key, tensor in safetensors.torch.load_file(path).items():
        if key.endswith(".weight"):
            key = key.removesuffix(".weight") + ".default.weight"
        else:
            key += ".default.weight"
        tensors[key] = tensor
    safetensors.torch.save_file(tensors, path)
    path.chmod(0o644)


def lora(rows):
    plain = randomised(get_peft_model(load(BASE), LoraConfig(target_modules=LINEARS, r=2, lora_alpha=4,
                                                             task_type="CAUSAL_LM")), 80)
    save(plain, "named")
    dora = randomised(get_peft_model(load(BASE), LoraConfig(target_modules=["q_proj", "down_proj"], r=2, lora_alpha=4,
                                                            use_dora=True, task_type="CAUSAL_LM")), 81)
    save(dora, "named_dora")
    out = {**reread("named", rows), **reread("named_dora", rows)}
    shutil.copytree(OUT / "named", OUT / "stream")
    (OUT / "stream" / "adapter_model.safetensors").unlink()
    state = get_peft_model_state_dict(plain)
    torch.save(state, OUT / "stream" / "adapter_model.bin", _use_new_zipfile_serialization=False)
    with_names("named")
    with_names("named_dora")
    return out


def adalora(rows):
    config = AdaLoraConfig(target_modules=["q_proj", "v_proj", "down_proj"], init_r=4, target_r=2, lora_alpha=8, tinit=1,
                           tfinal=1, total_step=10, task_type="CAUSAL_LM")
    model = randomised(get_peft_model(load(BASE), config), 82, std=0.5)
    pattern, keep = {}, [[True, False, True, True], [True] * 4, [False, True, False, False], [False] * 4]
    with torch.no_grad():
        for index, (name, parameter) in enumerate(p for p in model.named_parameters() if "lora_E" in p[0]):
            kept = keep[index % len(keep)]
            pattern[name.removeprefix("base_model.model.")] = kept
            parameter[~torch.tensor(kept)] = 0.0
    before = logits_of(model.eval(), rows, "adalora.logits")
    model.peft_config["default"].rank_pattern = pattern
    save(model, "adalora")
    return before


def p_tuning():
    model = randomised(get_peft_model(load(BASE), PromptEncoderConfig(
        task_type="CAUSAL_LM", num_virtual_tokens=3, encoder_reparameterization_type="LSTM", encoder_hidden_size=8)), 83,
        parts=("prompt_encoder",))
    model.save_pretrained(OUT / "p_tuning")
    (OUT / "p_tuning" / "README.md").unlink(missing_ok=True)
    (OUT / "p_tuning" / "adapter_model.safetensors").chmod(0o644)
    read = PeftModel.from_pretrained(load(BASE), OUT / "p_tuning").eval()
    return {"p_tuning.vectors": read.get_prompt(batch_size=1)[0]}


def converted(kind, rows):
    config = LoraConfig(target_modules=["q_proj", "up_proj"], r=2, lora_alpha=4, init_lora_weights=kind,
                        task_type="CAUSAL_LM")
    model = get_peft_model(load(BASE), config)
    model.peft_config["default"].base_model_name_or_path = BASE.name
    model.peft_config["default"].init_lora_weights = True  # so that the start is saved as it is
    model.save_pretrained(OUT / "start")
    model.peft_config["default"].init_lora_weights = kind
    generator = torch.Generator().manual_seed(84)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
    expected = logits_of(model.eval(), rows, f"{kind}.logits")
    model.save_pretrained(OUT / kind, path_initial_model_for_weight_conversion=str(OUT / "start"))
    tidy_adapter(OUT / kind)
    shutil.rmtree(OUT / "start")
    return expected


def main():
    start()
    shutil.rmtree(OUT, ignore_errors=True)
    rows = sequences(load(BASE).config.vocab_size, MODEL_SEED)
    out = {**lora(rows), **adalora(rows), **p_tuning()}
    for kind in ("pissa", "olora"):
        out.update(converted(kind, rows))
    write_tensors(OUT / "golden.safetensors", out)
    for config in OUT.glob("*/adapter_config.json"):
        json.loads(config.read_text())


if __name__ == "__main__":
    main()
