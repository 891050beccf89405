// SPDX-License-Identifier: Apache-2.0
// From what a user types after --model to a model in memory.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "quiver/base/files.h"
#include "quiver/model/model.h"
#include "quiver/tensor_io/tensor_source.h"

namespace quiver::model {

/// A path as it is (of a folder without config.json, the one GGUF model in it), `smollm2` (the default model in
/// Quiver's cache folder), or a hub id whose snapshot lies in the Hugging Face cache (HF_HUB_CACHE, HF_HOME). Throws
/// Error{not_found} that says what was looked for and what to do.
fs::path resolve_model(const std::string& name_or_path);

/// Loads a Hugging Face folder or a GGUF file. dtype: float32 or bfloat16, the dtype of weights and activations.
Model load_model(const fs::path& path, at::ScalarType dtype);

/// A Hugging Face folder, opened.
struct ModelFolder {
  nlohmann::json config;
  std::string where;  ///< config.json, for messages
  std::shared_ptr<tensor_io::TensorSource> weights;
};
ModelFolder open_model_folder(const fs::path& folder);

/// bfloat16 where the processor multiplies it natively (AVX512-BF16 or AMX), else float32, which is then faster.
at::ScalarType default_dtype();

/// `float32` or `bfloat16`. Throws Error{usage}.
at::ScalarType dtype_of_name(const std::string& name);
std::string dtype_name(at::ScalarType dtype);

}  // namespace quiver::model
