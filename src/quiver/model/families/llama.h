// SPDX-License-Identifier: Apache-2.0
// The Llama family: RMSNorm, rotary positions, grouped-query attention, SwiGLU, tied or untied head.
//
// Read from a Hugging Face config.json (transformers 4 and 5 spellings) or from GGUF metadata (architecture `llama`).
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>

#include "quiver/model/model.h"
#include "quiver/model/weight_reader.h"
#include "quiver/tensor_io/gguf.h"

namespace quiver::model::llama {

/// Throws Error{format} on missing or ill-typed fields and Error{unsupported} on variants that are not implemented.
DecoderConfig config_of_json(const nlohmann::json& config, const std::string& where);
DecoderConfig config_of_gguf(const tensor_io::GgufFile& file, const std::string& where);

/// Takes every weight of the model from `reader`. A tied head that is stored all the same and differs from the
/// embedding is the head, as transformers has it.
Model load(const nlohmann::json& config, WeightReader& reader, const std::string& where);
Model load_gguf(const std::shared_ptr<const tensor_io::GgufFile>& file, at::ScalarType dtype, const std::string& where);

}  // namespace quiver::model::llama
