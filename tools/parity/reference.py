# SPDX-License-Identifier: Apache-2.0
"""The reference side: what transformers and PEFT compute, in float32, and the adapters that both sides read."""
import os
import warnings
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch  # noqa: E402
import transformers  # noqa: E402
from peft import ArrowConfig, LoraConfig, PeftModel, create_arrow_model, get_peft_model  # noqa: E402
from peft.tuners.lora import LoraLayer  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

transformers.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()
warnings.filterwarnings("ignore", category=FutureWarning)


def load(folder):
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


def tokenizer(folder):
    return transformers.AutoTokenizer.from_pretrained(folder)


def gguf_to_folder(gguf, folder):
    """The model of a GGUF file, dequantised to float32 by transformers, as a Hugging Face folder."""
    where, name = os.path.split(os.path.abspath(gguf))
    model = transformers.AutoModelForCausalLM.from_pretrained(where, gguf_file=name, dtype=torch.float32)
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    plain = type(model)(model.config)
    plain.load_state_dict(model.state_dict())
    plain.save_pretrained(folder)
    transformers.AutoTokenizer.from_pretrained(where, gguf_file=name).save_pretrained(folder)


@torch.no_grad()
def logits_of(model, rows):
    return [model(input_ids=torch.tensor([row])).logits[0].float() for row in rows]


def sites(model):
    return {name: module for name, module in model.named_modules() if isinstance(module, LoraLayer)}


def write_adapter(base, folder, rank, alpha, b_std, seed):
    """A LoRA on every linear but the head: A as PEFT initialises it, B normal with b_std. Returns the PEFT model."""
    torch.manual_seed(seed)
    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules="all-linear", lora_dropout=0.0, task_type="CAUSAL_LM")
    model = get_peft_model(load(base), config)
    with torch.no_grad():
        for module in sites(model).values():
            torch.nn.init.normal_(module.lora_B["default"].weight, std=b_std)
    model.save_pretrained(folder)
    return model


def with_adapter(base, folder):
    """The PEFT model, and the keys on which its sites and the adapter's file disagree (there should be none)."""
    model = PeftModel.from_pretrained(load(base), folder).eval()
    here = {key.replace(".default", "") for key in model.state_dict() if "lora_" in key}
    return model, sorted(here ^ set(load_file(Path(folder) / "adapter_model.safetensors")))


def exact_prototypes(module, names):
    """[E, in]: of each expert the top right singular vector of B A = Q (R A), which R A shares and which is far smaller."""
    tops = []
    for name in names:
        triangle = torch.linalg.qr(module.lora_B[name].weight.double()).R
        product = triangle @ module.lora_A[name].weight.double()
        tops.append(torch.linalg.svd(product, full_matrices=False).Vh[0])
    return torch.stack(tops).float()


@torch.no_grad()
def arrow_logits(base, folders, top_k, rows):
    """PEFT's Arrow at temperature 1 with exact prototypes in place of its approximate ones: (logits, leads).

    leads has a tensor [T] per row: by how much the last chosen score led the first one left out, as a share of the largest,
    at the site where that was least. Where the share is of the order of float32's error, either choice is right.
    """
    names = [f"task_{index}" for index in range(len(folders))]
    model = create_arrow_model(load(base), [str(folder) for folder in folders],
                               ArrowConfig(top_k=top_k, router_temperature=1.0)).eval()
    seen = []

    def note_leads(module, inputs):
        prototypes = module.lora_arrow["arrow_router"].prototypes
        ranked = (inputs[0][0] @ prototypes.T).abs().sort(dim=-1, descending=True).values
        ranked = torch.nn.functional.pad(ranked, (0, 1))
        seen.append((ranked[:, top_k - 1] - ranked[:, top_k]) / ranked[:, 0])

    for module in sites(model).values():
        layer = module.lora_arrow["arrow_router"]
        layer.register_buffer("prototypes", exact_prototypes(module, names), persistent=False)
        layer._protos_ready = True
        if top_k < len(names):
            module.register_forward_pre_hook(note_leads)
    logits, leads = [], []
    for row in rows:
        logits += logits_of(model, [row])
        leads.append(torch.stack(seen).amin(dim=0) if seen else torch.ones(len(row)))
        seen.clear()
    return logits, leads


def train(model, rows, batch, learning_rate):
    """Plain AdamW over rows of (ids, target_begin), in order, padded on the right; mean loss over a batch's target tokens."""
    model.train()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0)
    losses = []
    for first in range(0, len(rows), batch):
        chosen = rows[first:first + batch]
        shape = (len(chosen), max(len(ids) for ids, _ in chosen))
        ids, labels, mask = (torch.full(shape, fill) for fill in (0, -100, 0))
        for n, (row, begin) in enumerate(chosen):
            ids[n, :len(row)] = torch.tensor(row)
            labels[n, begin:len(row)] = torch.tensor(row[begin:])
            mask[n, :len(row)] = 1
        loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses


def adapter_vector(folder_or_model):
    """All A and B of an adapter as one vector, in the order of their names."""
    if isinstance(folder_or_model, torch.nn.Module):
        tensors = {key.replace(".default", ""): value for key, value in folder_or_model.state_dict().items() if "lora_" in key}
    else:
        tensors = load_file(Path(folder_or_model) / "adapter_model.safetensors")
    return torch.cat([tensors[key].detach().double().flatten() for key in sorted(tensors)])
