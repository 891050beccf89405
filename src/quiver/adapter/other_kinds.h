// SPDX-License-Identifier: Apache-2.0
// Adapters that are not LoRA alone, as folders of adapter_config.json and adapter_model.safetensors.
//
// PEFT's own files where PEFT has the kind: IA3 (MODULE.ia3_l [out, 1], or [1, in] where the input is scaled),
// PROMPT_TUNING (prompt_embeddings [m, D]), MULTITASK_PROMPT_TUNING (with prefix_task_cols [K, m, r],
// prefix_task_rows [K, r, D]), PREFIX_TUNING (prompt_embeddings [m, layers x 2 x K x d]; what PEFT made for an
// encoder-decoder is read as PEFT computes with it, layer i from layer 2 i mod layers), LN_TUNING
// (MODULE.ln_tuning_layers.weight [D]), VERA (MODULE.vera_lambda_d [R], MODULE.vera_lambda_b [out], and
// base_model.vera_A, base_model.vera_B). Any other kind, and any that are several at once, are kept under peft_type
// QUIVER, whose tensors are, after `base_model.model.` + module path,
//   .lora_A.weight [R, in], .lora_B.weight [out, R]     .input_scale [in], .output_scale [out], .bias [out]
//   .adapter.down.weight [M, in or out], .adapter.down.bias [M], .adapter.up.weight [out, M], .adapter.up.bias [out]
//   .adapter.down.left [n, in / n, r], .adapter.down.right [n, r, M / n], .adapter.up.left, .adapter.up.right
//   .lora_magnitude_vector [out], .vera_lambda_d [R], .vera_lambda_b [out]
//   .weight [D] of a norm
// and prompt_embeddings [m, D], prefix_task_cols, prefix_task_rows, prefix_embeddings, compacter_rule [n, n, n],
// vera_A, vera_B without that path; its configuration says `scales` (alpha / rank by module) and `bottleneck`
// {nonlinearity, scale, reads}.
#pragma once

#include <optional>

#include "quiver/adapter/adapter.h"
#include "quiver/base/files.h"

namespace quiver::adapter {

/// none, relu, gelu, gelu_new (the tanh form), silu, tanh. Throws Error{unsupported}.
ops::Nonlinearity nonlinearity_of_name(const std::string& name, const std::string& where);

/// Nothing where the folder's peft_type is LORA or missing. Throws Error{format|unsupported|mismatch}.
std::optional<Adapter> read_other_kind(const fs::path& folder);
/// Writes both files into `folder`, which exists.
void write_other_kind(const fs::path& folder, const Adapter& adapter, const std::string& base_model);

}  // namespace quiver::adapter
