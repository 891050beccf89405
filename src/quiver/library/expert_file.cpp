// SPDX-License-Identifier: Apache-2.0
#include "quiver/library/expert_file.h"

#include <chrono>

#include "quiver/base/error.h"

namespace quiver::library {

using nlohmann::json;

std::string files_stamp(const fs::path& folder) {
  std::string stamp;
  for (const auto* name : {"adapter_config.json", "adapter_model.safetensors"}) {
    std::error_code error;
    const auto bytes = fs::file_size(folder / name, error);
    if (error) return "";
    const auto time = fs::last_write_time(folder / name, error).time_since_epoch();
    const auto nanoseconds = std::chrono::duration_cast<std::chrono::nanoseconds>(time).count();
    stamp += fmt::format("{}{}-{}", stamp.empty() ? "" : " ", bytes, nanoseconds);
  }
  return stamp;
}

std::string text_field(const json& object, const char* key, const std::string& where) {
  const auto found = object.find(key);
  QUIVER_CHECK(found != object.end() && found->is_string(), format, where, "'{}' is {}, expected text", key,
               found == object.end() ? "missing" : found->dump().substr(0, 80));
  return found->get<std::string>();
}

ExpertInfo read_expert_file(const fs::path& folder, const std::string& name) {
  const auto where = (folder / kExpertFile).string();
  const auto object = json::parse(read_file(folder / kExpertFile, 1 << 26), nullptr, false);
  QUIVER_CHECK(object.is_object(), format, where, "expected a JSON object");
  ExpertInfo info;
  info.name = name;
  info.base_fingerprint = text_field(object, "base_fingerprint", where);
  info.identity = text_field(object, "identity", where);
  const auto tasks = object.value("tasks", json::array());
  QUIVER_CHECK(tasks.is_array(), format, where, "'tasks' is {}, expected a list", tasks.dump().substr(0, 80));
  for (const auto& task : tasks) {
    QUIVER_CHECK(task.is_string(), format, where, "'tasks' holds {}, expected text", task.dump().substr(0, 80));
    info.tasks.push_back(task.get<std::string>());
  }
  const auto stamp = object.value("files_stamp", json());
  if (stamp.is_string()) info.files_stamp = stamp.get<std::string>();
  info.finite = object.value("finite", json()) == true;
  info.training = object.value("training", json());
  info.scores = object.value("scores", json());
  return info;
}

void write_expert_file(const fs::path& folder, const ExpertInfo& info) {
  const json object{{"format", 1},
                    {"name", info.name},
                    {"tasks", info.tasks},
                    {"base_fingerprint", info.base_fingerprint},
                    {"identity", info.identity},
                    {"files_stamp", files_stamp(folder)},
                    {"finite", info.finite},
                    {"training", info.training},
                    {"scores", info.scores}};
  write_file_atomically(folder / kExpertFile, object.dump(2) + "\n");
}

}  // namespace quiver::library
