// SPDX-License-Identifier: Apache-2.0
// A base model and its tokenizer, by the name that a user gives.
#pragma once

#include <string>

#include "quiver/model/model.h"
#include "quiver/text/load_tokenizer.h"

namespace quiver::workspace {

struct ModelOptions {
  std::string model = "smollm2";  ///< a Hugging Face folder, a .gguf file, a hub id in the cache, or smollm2
  std::string dtype = "auto";     ///< float32, bfloat16, or auto: bfloat16 where the processor multiplies it
  std::string device = "cpu";
  int threads = 0;  ///< 0: one per core
};

struct LoadedModel {
  model::Model model;
  text::LoadedTokenizer text;
};

/// 0: one per core. Throws Error{usage} beyond 1024.
void set_threads(int threads);

/// Threads first, then the model and its tokenizer.
LoadedModel load(const ModelOptions& options);
/// The model alone, for work that meets no text.
model::Model load_model_only(const ModelOptions& options);

}  // namespace quiver::workspace
