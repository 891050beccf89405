#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes expert libraries as MTTL lays them out, and the products of their experts, into tests/golden/mttl/.

usage: mttl_golden.py           (needs torch, safetensors; prints their versions)

The files are those of torch.save; the classes whose objects MTTL pickles are made here, in modules of MTTL's names. The
modules are those of the tiny llama_untied model (width 32, two layers) unless said otherwise.

  library/         plain: a metadata dictionary; rank 2, alpha 8. Beside it derived data and scores
                   tied: metadata pickled as an object, whose LoRA configuration is one too; rank 3, alpha 6; lora_a of k_proj
                   and v_proj is left out and tied to that of q_proj; parameters, bfloat16 and turned tensors occur
                   unknown_alpha: like plain, without alpha.   gone: like plain, marked as deleted
  phi/             old: one fused Wqkv and an out_proj as `transformer.h.N.mixer`; older: as `layers.N.mixer`, counted from 1;
                   width 6, 2 layers, rank 2, alpha 1
  products.safetensors   EXPERT.SITE [out, in] float32: alpha / rank (lora_a lora_b)^T, formed in float64; unknown_alpha's
                         with alpha 5
"""
import dataclasses
import enum
import sys
import types
from pathlib import Path

import safetensors
import safetensors.torch
import torch

OUT = Path(__file__).resolve().parents[2] / "tests" / "golden" / "mttl"
WIDTH, LAYERS = 32, 2
OUTPUTS = {"q_proj": 32, "k_proj": 16, "v_proj": 16, "o_proj": 32}
TIED = r"q_proj.*\.lora_a|k_proj.*\.lora_a|v_proj.*\.lora_a"


def in_module(module, cls):
    """Makes pickle name the class as one of that module."""
    parts = module.split(".")
    for end in range(1, len(parts) + 1):
        sys.modules.setdefault(".".join(parts[:end]), types.ModuleType(".".join(parts[:end])))
    cls.__module__, cls.__qualname__ = module, cls.__name__
    setattr(sys.modules[module], cls.__name__, cls)
    return cls


@dataclasses.dataclass
class LoRAConfig:
    modify_modules: str = ".*"
    modify_layers: str = "q_proj|k_proj|v_proj"
    tie_params: str = TIED
    lora_rank: int = 3
    lora_alpha: float = 6.0
    lora_dropout: float = 0.05


@dataclasses.dataclass
class ExpertInfo:
    expert_name: str
    expert_task_name: str
    expert_config: LoRAConfig
    training_config: dict
    expert_model: str = "tiny"
    parent_node: str = None
    expert_deleted: bool = False


class Split(enum.Enum):
    TEST = "test"


in_module("mttl.models.modifiers.lora", LoRAConfig)
in_module("mttl.models.library.expert", ExpertInfo)
in_module("mttl.models.library.expert", Split)


def attention(layer, name):
    return f"model.layers.{layer}.self_attn.{name}"


def parameters(generator, modules, rank):
    """{module.lora_a, module.lora_b} of {module: (in, out)}."""
    out = {}
    for module, (width, outputs) in modules.items():
        out[f"{module}.lora_a"] = torch.randn(width, rank, generator=generator)
        out[f"{module}.lora_b"] = torch.randn(rank, outputs, generator=generator)
    return out


def metadata(name, **more):
    config = {"class_name": "mttl.models.modifiers.lora.LoRAConfig", "modify_modules": ".*", "modify_layers": "q_proj|o_proj",
              "tie_params": None, "lora_rank": 2, "lora_alpha": 8.0, "lora_dropout": 0.0}
    return {"class_name": "mttl.models.library.expert_library.MetadataEntry", "expert_name": name,
            "expert_task_name": "one_task", "parent_node": None, "expert_config": config, "training_config":
            {"model": "tiny", "dataset": "flan", "learning_rate": 1e-4, "seed": 2**40, "sizes": torch.Size([1, 2])},
            "expert_model": "tiny", "expert_deleted": False, **more}


def save(folder, name, weights, meta):
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(weights, folder / f"{name}.ckpt")
    torch.save(meta, folder / f"{name}.meta")


def product(weights, module, scale):
    a, b = weights[f"{module}.lora_a"].detach().double(), weights[f"{module}.lora_b"].detach().double()
    return (scale * (a @ b).T).float()


def plain_experts(products):
    modules = {attention(layer, name): (WIDTH, OUTPUTS[name]) for layer in range(LAYERS) for name in ("q_proj", "o_proj")}
    for index, (name, alpha) in enumerate((("plain", 8.0), ("gone", 8.0), ("unknown_alpha", 5.0))):
        weights = parameters(torch.Generator().manual_seed(index), modules, rank=2)
        meta = metadata(name, expert_deleted=name == "gone")
        if name == "unknown_alpha":
            del meta["expert_config"]["lora_alpha"]
        save(OUT / "library", name, weights, meta)
        products.update({f"{name}.{module}": product(weights, module, alpha / 2) for module in modules})
    torch.save({("accuracy", "one_task", "test"): {"value": 0.5, "config": {"split": Split.TEST}}},
               OUT / "library" / "plain.scores.bin")
    torch.save({"data": {"q_proj": torch.ones(4)}, "config": {}}, OUT / "library" / "plain.arrow-0a1b_protos.bin")


def tied_expert(products):
    modules = {attention(layer, name): (WIDTH, OUTPUTS[name]) for layer in range(LAYERS)
               for name in ("q_proj", "k_proj", "v_proj")}
    weights = parameters(torch.Generator().manual_seed(10), modules, rank=3)
    for layer in range(LAYERS):
        for name in ("k_proj", "v_proj"):
            weights[attention(layer, name) + ".lora_a"] = weights[attention(layer, "q_proj") + ".lora_a"]
    weights = {name: value.bfloat16() if "layers.1" in name else value for name, value in weights.items()}
    products.update({f"tied.{module}": product(weights, module, 6.0 / 3) for module in modules})
    stored = {name: torch.nn.Parameter(value) if name.endswith("q_proj.lora_b") else value.T.contiguous().T
              for name, value in weights.items() if not name.endswith(("k_proj.lora_a", "v_proj.lora_a"))}
    save(OUT / "library", "tied", stored,
         ExpertInfo("tied", "first_task,second_task", LoRAConfig(), {"model": "tiny", "dtype": torch.bfloat16}))


def phi_experts(products):
    width = 6
    for name, prefix, first in (("old", "transformer.h", 0), ("older", "layers", 1)):
        modules = {f"{prefix}.{layer + first}.mixer.{module}": (width, outputs)
                   for layer in range(LAYERS) for module, outputs in (("Wqkv", 3 * width), ("out_proj", width))}
        weights = parameters(torch.Generator().manual_seed(20 + first), modules, rank=2)
        meta = metadata(name)
        meta["expert_config"]["lora_alpha"] = 1
        save(OUT / "phi", name, weights, meta)
        for layer in range(LAYERS):
            parts = product(weights, f"{prefix}.{layer + first}.mixer.Wqkv", 0.5).chunk(3)
            for part, projection in zip(parts, ("q_proj", "k_proj", "v_proj")):
                products[f"{name}.{attention(layer, projection)}"] = part
            products[f"{name}.{attention(layer, 'dense')}"] = product(
                weights, f"{prefix}.{layer + first}.mixer.out_proj", 0.5)


def main():
    print(f"torch {torch.__version__}, safetensors {safetensors.__version__}")
    products = {}
    plain_experts(products)
    tied_expert(products)
    phi_experts(products)
    safetensors.torch.save_file({name: value.contiguous() for name, value in sorted(products.items())},
                                OUT / "products.safetensors")
    for path in sorted(OUT.rglob("*")):
        if path.is_file():
            path.chmod(0o644)
            print(f"{path.relative_to(OUT)}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
