// SPDX-License-Identifier: Apache-2.0
// Adapters that are not LoRA alone, as folders of adapter_config.json and adapter_model.safetensors.
//
// PEFT's own files where PEFT has the kind and the adapter is nothing else: each kind of kinds/ says its own. Any
// other, and any that are several at once, are kept under peft_type QUIVER, whose tensors are, after
// `base_model.model.` + module path,
//   .lora_A.weight [R, in], .lora_B.weight [out, R]     .input_scale [in], .output_scale [out], .bias [out]
//   .adapter.down.weight [M, in or out], .adapter.down.bias [M], .adapter.up.weight [out, M], .adapter.up.bias [out]
//   .weight [D] of a norm
// and prompt_embeddings [m, D], prefix_embeddings without that path; what kinds store under their own keys, of a site
// after that path, of the adapter as a whole without it. Its configuration says `scales` (alpha / rank by module) and
// `bottleneck` {nonlinearity, scale, reads}.
#pragma once

#include <optional>

#include "quiver/adapter/adapter.h"
#include "quiver/base/files.h"

namespace quiver::adapter {

/// Nothing where the folder's peft_type is LORA or missing. Throws Error{format|unsupported|mismatch}.
std::optional<Adapter> read_other_kind(const fs::path& folder);
/// Writes both files into `folder`, which exists.
void write_other_kind(const fs::path& folder, const Adapter& adapter, const std::string& base_model);

}  // namespace quiver::adapter
