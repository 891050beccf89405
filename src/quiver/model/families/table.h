// SPDX-License-Identifier: Apache-2.0
// The families of models: which architectures they read, and how a file becomes a model.
#pragma once

#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "quiver/model/model.h"
#include "quiver/model/weight_reader.h"
#include "quiver/tensor_io/gguf.h"

namespace quiver::model {

struct Family {
  std::vector<std::string> architectures;  ///< as in config.json; model types too, for files that name no architecture
  std::string gguf_architecture;           ///< `general.architecture`; empty: not read from GGUF

  /// Takes every weight of the model that config.json describes, under Hugging Face names.
  Model (*load)(const nlohmann::json& config, WeightReader& reader, const std::string& where);
  /// null: not read from GGUF.
  Model (*load_gguf)(const std::shared_ptr<const tensor_io::GgufFile>& file, at::ScalarType dtype,
                     const std::string& where);
  /// Weights to start pre-training from, by name; null: not pre-trained.
  std::map<std::string, at::Tensor> (*random_weights)(const nlohmann::json& config, std::uint64_t seed);
};

const std::vector<Family>& family_table();

/// Of what config.json describes. Throws Error{unsupported} where no family has its architecture.
const Family& family_of(const nlohmann::json& config, const std::string& where);
/// Throws Error{unsupported} where no family has the file's architecture.
const Family& family_of_gguf(const tensor_io::GgufFile& file, const std::string& where);

}  // namespace quiver::model
