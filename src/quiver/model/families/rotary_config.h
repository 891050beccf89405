// SPDX-License-Identifier: Apache-2.0
// Reading rotary settings, from config.json as transformers 5 reads it and from GGUF metadata as llama.cpp does.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "quiver/model/config.h"
#include "quiver/tensor_io/gguf.h"

namespace quiver::model {

/// The base and the scaling of `out`, whose max_positions and head_width are read. `rope_scaling` (transformers 4)
/// comes before `rope_parameters` (transformers 5); what neither holds may stand beside them. Throws Error{unsupported}
/// on kinds other than default, linear, dynamic, llama3 and yarn, Error{format} on settings out of range.
void read_rotary(const nlohmann::json& config, const std::string& where, DecoderConfig& out);

/// The same from keys `ARCHITECTURE.rope.*`, none of which is passed over.
void read_rotary(const tensor_io::GgufFile& file, const std::string& architecture, const std::string& where,
                 DecoderConfig& out);

}  // namespace quiver::model
