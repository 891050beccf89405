// SPDX-License-Identifier: Apache-2.0
// The Llama family: RMSNorm, rotary positions, grouped-query attention, SwiGLU, tied or untied head.
//
// Read from a Hugging Face config.json (transformers 4 and 5 spellings) or from GGUF metadata (architecture `llama`).
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "quiver/model/model.h"
#include "quiver/model/weight_reader.h"
#include "quiver/tensor_io/gguf.h"

namespace quiver::model::llama {

/// Throws Error{format} on missing or ill-typed fields and Error{unsupported} on variants that are not implemented.
DecoderConfig config_of_json(const nlohmann::json& config, const std::string& where);
DecoderConfig config_of_gguf(const tensor_io::GgufFile& file, const std::string& where);

/// `token_embd.weight` for `model.embed_tokens.weight`, and so on; "" for a name GGUF does not have.
std::string gguf_name(const std::string& huggingface_name);
/// GGUF stores q and k with the two halves of each head interleaved; this puts them back.
at::Tensor from_gguf_layout(const DecoderConfig& config, const std::string& huggingface_name, at::Tensor tensor);

/// Takes every weight of the model from `reader`.
LanguageModel load(const DecoderConfig& config, WeightReader& reader, const std::string& where);

}  // namespace quiver::model::llama
