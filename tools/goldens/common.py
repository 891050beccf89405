# SPDX-License-Identifier: Apache-2.0
"""What the golden scripts share: where they write, the token ids they run, and how files become the same on every run."""
import json
import os
import random
import warnings
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import peft  # noqa: E402
import safetensors.torch  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from peft.tuners.lora import LoraLayer  # noqa: E402

GOLDEN = Path(__file__).resolve().parents[2] / "tests" / "golden"
SEQUENCE_LENGTHS = (4, 7, 12)
LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def start():
    """One thread, so that sums are always formed in the same order; prints the versions the numbers come from."""
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    warnings.filterwarnings("ignore", category=UserWarning)
    warnings.filterwarnings("ignore", category=FutureWarning)
    print(f"torch {torch.__version__}, transformers {transformers.__version__}, peft {peft.__version__}, "
          f"safetensors {safetensors.__version__}")


def sequences(vocabulary, seed):
    """Three unequal rows of token ids, each a list; ids below 3 (special pieces by custom) do not occur."""
    generator = random.Random(seed)
    return [[generator.randrange(3, vocabulary) for _ in range(length)] for length in SEQUENCE_LENGTHS]


def load(folder):
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


@torch.no_grad()
def logits_of(model, rows, name="logits"):
    """{name.N: [T, V]}: each row run alone, so without padding."""
    return {f"{name}.{n}": model(input_ids=torch.tensor([row])).logits[0] for n, row in enumerate(rows)}


def sites(model):
    """The adapted linears of a PEFT model by their module path in the base model."""
    return {name.removeprefix("base_model.model."): module
            for name, module in model.named_modules() if isinstance(module, LoraLayer)}


def write_tensors(path, tensors):
    path.parent.mkdir(parents=True, exist_ok=True)
    safetensors.torch.save_file({name: tensors[name].detach().contiguous() for name in sorted(tensors)}, path)
    path.chmod(0o644)
    print(f"{path.relative_to(GOLDEN)}: {len(tensors)} tensors, {path.stat().st_size} bytes")


def tidy_adapter(folder):
    """PEFT's model card goes, and the one field that it writes in the order of a set is sorted; all else stays PEFT's."""
    (folder / "README.md").unlink(missing_ok=True)
    path = folder / "adapter_config.json"
    config = json.loads(path.read_text())
    config["target_modules"].sort()
    path.write_text(json.dumps(config, indent=2, sort_keys=True))
    (folder / "adapter_model.safetensors").chmod(0o644)
    print(f"{folder.relative_to(GOLDEN)}: {sum(file.stat().st_size for file in folder.iterdir())} bytes")
