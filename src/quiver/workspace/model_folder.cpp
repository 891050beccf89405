// SPDX-License-Identifier: Apache-2.0
#include "quiver/workspace/model_folder.h"

#include "quiver/base/error.h"
#include "quiver/model/load.h"

namespace quiver::workspace {

fs::path folder_to_train(const std::string& model) {
  const auto path = model::resolve_model(model);
  QUIVER_CHECK(fs::is_directory(path), unsupported, "--model " + model,
               "every weight can be trained in a Hugging Face folder, and this is the file {}", path.string());
  return path;
}

void save_model_folder(const model::TrainableModel& model, const fs::path& tokenizer, const fs::path& output) {
  fs::create_directories(output);
  for (const auto* name : {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "spiece.model",
                           "generation_config.json", "chat_template.jinja"}) {
    if (!fs::exists(tokenizer / name) || fs::equivalent(tokenizer, output)) continue;
    fs::copy_file(tokenizer / name, output / name, fs::copy_options::overwrite_existing);
  }
  model.save(output);
}

}  // namespace quiver::workspace
