// SPDX-License-Identifier: Apache-2.0
#include "quiver/library/collection.h"

#include <algorithm>
#include <cctype>
#include <set>

#include "quiver/adapter/peft.h"
#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/library/expert_file.h"
#include "quiver/library/mttl_library.h"
#include "quiver/library/pemt_checkpoint.h"

namespace quiver::library {
namespace {

using nlohmann::json;
constexpr int kMaxLevels = 16;
constexpr std::size_t kMaxName_bytes = 128;

bool is_digits(const std::string& text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isdigit(c) != 0; });
}

/// The last part of a path that may end in a slash or a dot.
std::string own_name(const fs::path& folder) {
  const auto path = fs::weakly_canonical(folder);
  return path.filename().empty() ? "expert" : path.filename().string();
}

class Search {
 public:
  Search(fs::path root, CollectionFormat format) : root_(std::move(root)), format_(format) {}

  std::vector<FoundExpert> run() {
    visit(root_, "", 0);
    std::set<std::string> names;
    for (const auto& expert : found_) {
      QUIVER_CHECK(names.insert(expert.name).second, usage, expert.folder.string(),
                   "a second expert would be named '{}'; add the folders one by one, with --name", expert.name);
    }
    return std::move(found_);
  }

 private:
  void visit(const fs::path& folder, const std::string& prefix, int level) {
    if (level > kMaxLevels || !seen_.insert(fs::weakly_canonical(folder)).second) return;  // a link that leads back
    const bool adapter = wanted(CollectionFormat::peft) && fs::exists(folder / "adapter_config.json");
    if (adapter) found_.push_back({fit_name(prefix.empty() ? own_name(folder) : prefix), folder});
    if (wanted(CollectionFormat::mttl)) {
      for (const auto& name : mttl_expert_names(folder))
        found_.push_back({fit_name(joined(prefix, name)), folder, name});
    }
    if (wanted(CollectionFormat::pemt)) {
      const auto count = pemt_sources(folder);
      const auto name = prefix.empty() ? own_name(folder) : prefix;
      for (std::size_t k = 0; k < count; ++k)
        found_.push_back({fit_name(count == 1 ? name : fmt::format("{}-{}", name, k)), folder, "", k});
    }
    for (const auto& child : folders_in(folder)) {
      const auto name = child.filename().string();
      const bool checkpoint = name.starts_with("checkpoint-") && is_digits(name.substr(11));
      if (name[0] != '.' && !(adapter && checkpoint)) visit(child, joined(prefix, name), level + 1);
    }
  }
  bool wanted(CollectionFormat format) const { return format_ == CollectionFormat::automatic || format_ == format; }
  static std::string joined(const std::string& prefix, const std::string& name) {
    return prefix.empty() ? name : prefix + "/" + name;
  }
  static std::vector<fs::path> folders_in(const fs::path& folder) {
    std::vector<fs::path> out;
    for (const auto& entry : fs::directory_iterator(folder)) {
      if (entry.is_directory()) out.push_back(entry.path());
    }
    std::sort(out.begin(), out.end());
    return out;
  }

  fs::path root_;
  CollectionFormat format_;
  std::vector<FoundExpert> found_;
  std::set<fs::path> seen_;
};

/// What is known of an adapter that was an expert of a library once; the run it came from is not here.
void read_expert_json(ExpertInfo& info, const fs::path& file) {
  const auto known = json::parse(read_file(file, 1 << 26), nullptr, false);
  if (!known.is_object()) return;
  for (const auto& task : known.value("tasks", json::array())) {
    if (task.is_string()) info.tasks.push_back(task.get<std::string>());
  }
  const auto text = [&](const char* key) {
    const auto value = known.value(key, json());
    return value.is_string() ? value.get<std::string>() : std::string();
  };
  info.base_fingerprint = text("base_fingerprint");
  info.identity = text("identity");
  info.training = known.value("training", json());
  info.scores = known.value("scores", json());
  if (info.training.is_object()) info.training.erase("run_key");
}

}  // namespace

std::string fit_name(std::string name) {
  for (auto& c : name) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '/') c = '-';
    if (!(byte < 0x80 && std::isalnum(byte)) && c != '.' && c != '_' && c != '-') c = '_';
  }
  if (name.starts_with('.')) name[0] = '_';
  return name.substr(0, kMaxName_bytes);
}

CollectionFormat collection_format_of_name(const std::string& name) {
  if (name == "auto") return CollectionFormat::automatic;
  if (name == "peft") return CollectionFormat::peft;
  if (name == "mttl") return CollectionFormat::mttl;
  if (name == "pemt") return CollectionFormat::pemt;
  fail(ErrorCode::usage, "--format", "'{}'{}", name, suggestion(name, {"auto", "peft", "mttl", "pemt"}));
}

std::vector<FoundExpert> find_experts(const fs::path& folder, CollectionFormat format) {
  QUIVER_CHECK(fs::is_directory(folder), not_found, folder.string(), "no such folder");
  auto found = Search(fs::exists(folder / "library.json") ? folder / "experts" : folder, format).run();
  QUIVER_CHECK(!found.empty(), not_found, folder.string(),
               "no adapter_config.json (PEFT), no .meta file (MTTL) and no lora.pt (PEMT) in it or in its folders");
  return found;
}

ImportedExpert read_found_expert(const FoundExpert& found, std::optional<double> alpha) {
  ImportedExpert out;
  if (found.pemt_source) {
    out = read_pemt_source(found.folder, *found.pemt_source, alpha);
  } else if (found.mttl_name.empty()) {
    out.adapter = adapter::read_peft(found.folder);
    if (fs::exists(found.folder / kExpertFile)) read_expert_json(out.info, found.folder / kExpertFile);
    if (!out.info.identity.empty()) out.carried = carried_beside(found.folder, out.info);
  } else {
    out = read_mttl_expert(found.folder, found.mttl_name, alpha);
  }
  out.info.name = found.name;
  return out;
}

void restore_expert(const Library& library, const std::string& name) {
  check_expert_name(name);
  const FileLock lock(library.folder() / ".lock");
  std::string newest;
  std::vector<std::string> removed;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(library.folder() / "removed", error)) {
    const auto folder = entry.path().filename().string();
    const auto dash = folder.rfind('-');
    if (dash == std::string::npos || !is_digits(folder.substr(dash + 1))) continue;
    removed.push_back(folder.substr(0, dash));
    const auto later = std::pair(folder.size(), folder) > std::pair(newest.size(), newest);  // by the number of ms
    if (removed.back() == name && later) newest = folder;
  }
  QUIVER_CHECK(!newest.empty(), usage, "expert " + name, "was not removed from {}{}", library.folder().string(),
               removed.empty() ? "" : suggestion(name, removed));
  QUIVER_CHECK(!library.contains(name), usage, "expert " + name, "is in {} again; remove that one first",
               library.folder().string());
  fs::rename(library.folder() / "removed" / newest, library.expert_folder(name));
}

}  // namespace quiver::library
