// SPDX-License-Identifier: Apache-2.0
// A small random model with a tokenizer, for tests that run the program over texts.
#pragma once

#include <ATen/Context.h>
#include <ATen/ops/randn.h>

#include <map>
#include <nlohmann/json.hpp>

#include "quiver/base/files.h"
#include "quiver/tensor_io/safetensors.h"

namespace quiver::model {

/// Writes the golden model with another vocabulary, that of the golden tokenizer, as a Hugging Face folder.
inline void write_small_model(const fs::path& folder) {
  const auto golden = fs::path(QUIVER_SOURCE_DIR) / "tests/golden";
  fs::create_directories(folder);
  auto config = nlohmann::json::parse(read_file(golden / "llama_untied/config.json"));
  config["vocab_size"] = 640;
  config["eos_token_id"] = 601;
  write_file_atomically(folder / "config.json", config.dump());
  fs::copy(golden / "tokenizer.json", folder / "tokenizer.json");
  const auto file = tensor_io::open_safetensors(golden / "llama_untied/model.safetensors");
  std::map<std::string, at::Tensor> tensors;
  for (const auto& [name, info] : file->tensors()) tensors[name] = file->load(name);
  at::manual_seed(1);
  for (const auto* name : {"model.embed_tokens.weight", "lm_head.weight"}) tensors[name] = at::randn({640, 32});
  tensor_io::write_safetensors(folder / "model.safetensors", tensors);
}

/// A task of `rows` training and as many test rows: the word and a number, to be answered by yes or no. `word` makes
/// one task's rows another's.
inline void write_small_task(const fs::path& file, const std::string& word, int rows = 6) {
  std::string text;
  for (int i = 0; i < 2 * rows; ++i) {
    const nlohmann::json row{{"task", file.stem().string()},
                             {"split", i < rows ? "train" : "test"},
                             {"source", word + " " + std::to_string(i)},
                             {"target", i % 2 ? "yes" : "no"},
                             {"options", {"yes", "no"}}};
    text += row.dump() + "\n";
  }
  write_file_atomically(file, text);
}

}  // namespace quiver::model
