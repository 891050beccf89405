// SPDX-License-Identifier: Apache-2.0
#include "quiver/training/methods/model_folder.h"

#include <nlohmann/json.hpp>

#include "quiver/text/tokenizer_folder.h"

namespace quiver::training {

using nlohmann::json;

OutputFolder model_output(const fs::path& output, bool replace, std::vector<fs::path> inputs) {
  return {output, replace, model_files(), {"run", "run/*", "run/.*", "run/checkpoint/*"}, std::move(inputs)};
}

void check_model_output(const OutputFolder& output) {
  if (fs::is_directory(output.path / "run")) remove_stale_temporaries(output.path / "run");
  check_output(output);
}

void save_model(const OutputFolder& output, const model::TrainableModel& model, const fs::path& tokenizer,
                const std::string& key, const Figures& figures) {
  write_output(output, [&](const fs::path& folder) {
    for (const auto& name : text::tokenizer_files()) {
      if (fs::exists(tokenizer / name)) fs::copy_file(tokenizer / name, folder / name);
    }
    model.save(folder);
  });
  const json result{{"key", key}, {"figures", to_json(figures)}};
  write_file_atomically(output.path / "run" / "result.json", result.dump(2) + "\n");
}

std::optional<Figures> saved_model(const fs::path& output, const std::string& key) {
  const auto path = output / "run" / "result.json";
  if (!fs::exists(path) || !fs::exists(output / "model.safetensors")) return std::nullopt;
  const auto result = json::parse(read_file(path, 1 << 24), nullptr, false);
  if (!result.is_object() || result.value("key", "") != key || !result.contains("figures")) return std::nullopt;
  return figures_of(result["figures"]);
}

}  // namespace quiver::training
