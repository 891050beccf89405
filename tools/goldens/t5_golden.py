#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes three tiny random encoder-decoders and what transformers and PEFT compute with them, into tests/golden/t5/.

usage: t5_golden.py          (run model_golden.py first; needs torch, transformers, peft, safetensors; prints their versions)

  v10/   T5 v1.0: ReLU, tied head, 2 + 2 layers, inner width of attention (3 heads of 8) not the hidden size (16)
  v11/   T5 v1.1 and Flan: gated GELU, own head, 3 + 2 layers, 8 buckets up to distance 20
  mt5/   the configuration of mT5, 2 + 1 layers
Each holds golden.safetensors:
  ids.N, decoder_ids.N  int64          three rows; the last prompt is longer than the largest distance
  logits.N              float32 [T, V] of the decoder, each row run alone
  greedy.N              int64          what generate writes for row N, at most 12 tokens, end of sequence dropped
  beam.N, beam.score    int64, float32 [3]  the best of 4 beams, at most 10 tokens, and its score: the sum of its
                                       log-probabilities, end of sequence counted, by their number
  adapter.logits.N, adapter.loss, grad.SITE.lora_A, .lora_B    under adapter/ (rank 2, every linear map, PEFT): the mean
                        cross-entropy of rows N after their start token, all tokens alike, and its gradients
  full.NAME             gradients of that loss without the adapter in every weight of the model
The end-of-sequence token of each model is one that its beams meet. llama_untied/beam.safetensors holds beams of a
decoder-only model: prompt.N, beam.N, beam.score as above.
All weights have standard deviation 0.3 and norms around 1; attention's are smaller so that it is not one-hot.
"""
import json
import shutil

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import MT5Config, MT5ForConditionalGeneration, T5Config, T5ForConditionalGeneration

from common import GOLDEN, load, sites, start, tidy_adapter, write_tensors

SHAPE = {"vocab_size": 80, "d_model": 16, "d_kv": 8, "d_ff": 24, "num_heads": 3, "dropout_rate": 0.0,
         "decoder_start_token_id": 0, "pad_token_id": 0, "eos_token_id": 1, "dtype": "float32"}
MODELS = {
    "v10": (T5Config, T5ForConditionalGeneration, 5, {"num_layers": 2, "feed_forward_proj": "relu"}),
    "v11": (T5Config, T5ForConditionalGeneration, 7, {
        "num_layers": 3, "num_decoder_layers": 2, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False,
        "relative_attention_num_buckets": 8, "relative_attention_max_distance": 20}),
    "mt5": (MT5Config, MT5ForConditionalGeneration, 9, {"num_layers": 2, "num_decoder_layers": 1}),
}
LINEARS = ["q", "k", "v", "o", "wi", "wi_0", "wi_1", "wo"]
PROMPT_TOKENS, ANSWER_TOKENS = (4, 9, 150), (6, 3, 5)
BEAMS, BEAM_TOKENS, GREEDY_TOKENS = 4, 10, 12


def random_model(name):
    config, kind, seed, options = MODELS[name]
    model = kind(config(**SHAPE, **options)).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator) * 0.3
            parameter.copy_(1 + noise if parameter.dim() == 1 else noise)
        if options.get("tie_word_embeddings") is False:
            head = torch.randn(model.shared.weight.shape, generator=generator) * 0.3
            model.lm_head.weight = torch.nn.Parameter(head)
            model.config.tie_word_embeddings = False
    return model, generator


def rows(generator, lengths, vocabulary):
    return [torch.randint(2, vocabulary, (length,), generator=generator) for length in lengths]


def beams(model, prompts, end, two_stacks):
    out, scores = {}, []
    for n, prompt in enumerate(prompts):
        got = model.generate(prompt[None], num_beams=BEAMS, max_new_tokens=BEAM_TOKENS, do_sample=False, pad_token_id=0,
                             eos_token_id=end, length_penalty=1.0, early_stopping=False, return_dict_in_generate=True,
                             output_scores=True)
        new = got.sequences[0, 1 if two_stacks else len(prompt):].tolist()
        out[f"beam.{n}"] = torch.tensor(new[:new.index(end)] if end in new else new, dtype=torch.int64)
        scores.append(float(got.sequences_scores[0]))
    print("  beams", [v.tolist() for v in out.values()], scores)
    return {**out, "beam.score": torch.tensor(scores)}


def common_end(model, prompts, two_stacks):
    """A token that beams without an end meet in the middle for some prompt: as the end it makes beams of many lengths."""
    seen = []
    for prompt in prompts:
        got = model.generate(prompt[None], num_beams=BEAMS, max_new_tokens=BEAM_TOKENS, do_sample=False, pad_token_id=0,
                             eos_token_id=79, num_return_sequences=BEAMS)
        for row in got[:, 1 if two_stacks else len(prompt):].tolist():
            seen += row[2:7]
    return max(set(seen) - {0, 1}, key=seen.count)


def with_adapter(folder, answers, prompts, generator):
    config = LoraConfig(target_modules=LINEARS, r=2, lora_alpha=4, lora_dropout=0.0)
    model = get_peft_model(transformers_model(folder), config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.2)
    for config in model.peft_config.values():
        config.base_model_name_or_path = folder.name
    model.save_pretrained(folder / "adapter")
    tidy_adapter(folder / "adapter")
    model = PeftModel.from_pretrained(transformers_model(folder), folder / "adapter", is_trainable=True).eval()
    out, losses = {}, []
    for n, (prompt, answer) in enumerate(zip(prompts, answers)):
        logits = model(input_ids=prompt[None], decoder_input_ids=answer[None]).logits[0]
        out[f"adapter.logits.{n}"] = logits
        losses.append(torch.nn.functional.cross_entropy(logits[:-1], answer[1:], reduction="sum"))
    loss = sum(losses) / sum(len(answer) - 1 for answer in answers)
    loss.backward()
    out["adapter.loss"] = loss[None]
    for site, module in sites(model).items():
        out[f"grad.{site}.lora_A"] = module.lora_A["default"].weight.grad
        out[f"grad.{site}.lora_B"] = module.lora_B["default"].weight.grad
    return out


def whole_gradients(folder, answers, prompts):
    model = transformers_model(folder)
    losses = []
    for prompt, answer in zip(prompts, answers):
        logits = model(input_ids=prompt[None], decoder_input_ids=answer[None]).logits[0]
        losses.append(torch.nn.functional.cross_entropy(logits[:-1], answer[1:], reduction="sum"))
    loss = sum(losses) / sum(len(answer) - 1 for answer in answers)
    loss.backward()
    return {"full.loss": loss[None], **{f"full.{name}": p.grad for name, p in model.named_parameters()}}


def transformers_model(folder):
    kind = MODELS[folder.name][1]
    return kind.from_pretrained(folder, dtype=torch.float32).eval()


def write(name):
    folder = GOLDEN / "t5" / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    made, generator = random_model(name)
    prompts = rows(generator, PROMPT_TOKENS, SHAPE["vocab_size"])
    answers = [torch.cat([torch.tensor([0]), row]) for row in rows(generator, ANSWER_TOKENS, SHAPE["vocab_size"])]
    end = common_end(made, prompts, True)
    made.config.eos_token_id = end
    made.save_pretrained(folder)
    (folder / "generation_config.json").unlink(missing_ok=True)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    for file in folder.iterdir():
        file.chmod(0o644)
    model = transformers_model(folder)
    tied = bool((model.lm_head.weight == model.shared.weight).all())
    assert tied == (MODELS[name][3].get("tie_word_embeddings") is not False), "the head is not what it was made as"
    out = {"end": torch.tensor([end])}
    with torch.no_grad():
        for n, (prompt, answer) in enumerate(zip(prompts, answers)):
            out[f"ids.{n}"], out[f"decoder_ids.{n}"] = prompt, answer
            out[f"logits.{n}"] = model(input_ids=prompt[None], decoder_input_ids=answer[None]).logits[0]
            new = model.generate(prompt[None], max_new_tokens=GREEDY_TOKENS, do_sample=False, eos_token_id=end)[0, 1:]
            new = new.tolist()
            out[f"greedy.{n}"] = torch.tensor(new[:new.index(end)] if end in new else new, dtype=torch.int64)
        out.update(beams(model, prompts, end, True))
    out.update(with_adapter(folder, answers, prompts, generator))
    out.update(whole_gradients(folder, answers, prompts))
    write_tensors(folder / "golden.safetensors", out)
    print(f"  end {end}; greedy {[out[f'greedy.{n}'].tolist() for n in range(3)]}")


def write_llama():
    model = load(GOLDEN / "llama_untied")
    generator = torch.Generator().manual_seed(3)
    prompts = rows(generator, (3, 5, 8), 90)
    end = common_end(model, prompts, False)
    out = {f"prompt.{n}": prompt for n, prompt in enumerate(prompts)}
    write_tensors(GOLDEN / "llama_untied" / "beam.safetensors",
                  {**out, "end": torch.tensor([end]), **beams(model, prompts, end, False)})


def main():
    start()
    for name in MODELS:
        write(name)
    write_llama()


if __name__ == "__main__":
    main()
