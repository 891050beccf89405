// SPDX-License-Identifier: Apache-2.0
#include "quiver/library/library.h"

#include <ATen/Parallel.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <tuple>

#include "quiver/adapter/peft.h"
#include "quiver/base/error.h"
#include "quiver/base/sha256.h"
#include "quiver/base/strings.h"
#include "quiver/library/expert_file.h"

namespace quiver::library {
namespace {

using nlohmann::json;
constexpr int kFormatVersion = 1;
constexpr std::size_t kKeyDigits = 16;

fs::path manifest_path(const fs::path& folder) { return folder / "library.json"; }

/// Tells the folder at `path` from one that takes its place. The number alone would not: it is given again.
auto version_of(const fs::path& path) {
  struct stat status {};
  stat(path.c_str(), &status);  // zeros where there is none
  return std::tuple(status.st_ino, status.st_ctim.tv_sec, status.st_ctim.tv_nsec);
}

/// What `read` returns. Where it failed while the folder was replaced, its files were of two versions: it reads again.
template <typename Read>
auto read_one_version(const fs::path& folder, Read read) {
  for (;;) {
    const auto version = version_of(folder);
    try {
      return read();
    } catch (const Error&) {
      if (version_of(folder) == version) throw;
    }
  }
}

void check_identity(const fs::path& folder, const adapter::Adapter& adapter, const ExpertInfo& known) {
  QUIVER_CHECK(
      adapter::identity(adapter) == known.identity, mismatch, folder.string(),
      "the factors are not those that expert.json was written for; 'quiver library verify' lists what changed");
}

}  // namespace

void check_expert_name(const std::string& name) {
  const auto allowed = [](unsigned char c) { return std::isalnum(c) || c == '.' || c == '_' || c == '-'; };
  QUIVER_CHECK(!name.empty() && name.size() <= 128 && name[0] != '.' && std::all_of(name.begin(), name.end(), allowed),
               usage, "expert name",
               "{:?}, expected letters, digits, '.', '_' or '-', not starting with a dot, at most 128", name);
}

Library Library::open(const fs::path& folder) {
  const auto where = manifest_path(folder).string();
  QUIVER_CHECK(fs::exists(manifest_path(folder)), not_found, folder.string(),
               "no library.json in it; 'quiver train' or 'quiver library add' makes a library");
  const auto manifest = json::parse(read_file(manifest_path(folder), 1 << 20), nullptr, false);
  QUIVER_CHECK(manifest.is_object(), format, where, "expected a JSON object");
  const auto version = manifest.value("format", json());
  QUIVER_CHECK(version == kFormatVersion, unsupported, where, "'format' = {}, this program reads {}", version.dump(),
               kFormatVersion);
  Library library(folder);
  library.base_model_ = text_field(manifest, "base_model", where);
  library.fingerprint_ = text_field(manifest, "fingerprint", where);
  return library;
}

Library Library::open_or_create(const fs::path& folder, const std::string& base_model, const std::string& fingerprint,
                                bool allow_other_base) {
  const FileLock lock(folder / ".lock");
  if (!fs::exists(manifest_path(folder))) {
    const json manifest{{"format", kFormatVersion}, {"base_model", base_model}, {"fingerprint", fingerprint}};
    write_file_atomically(manifest_path(folder), manifest.dump(2) + "\n");
  }
  auto library = open(folder);
  check_base(library, fingerprint, allow_other_base);
  return library;
}

fs::path Library::expert_folder(const std::string& name) const { return folder_ / "experts" / name; }
fs::path Library::run_folder(const std::string& name) const { return folder_ / "runs" / name; }

std::vector<std::string> Library::names() const {
  std::vector<std::string> out;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder_ / "experts", error)) {
    const auto name = entry.path().filename().string();
    if (name[0] != '.' && entry.is_directory()) out.push_back(name);
  }
  std::sort(out.begin(), out.end());
  return out;
}

bool Library::contains(const std::string& name) const { return fs::exists(expert_folder(name) / kExpertFile); }

ExpertInfo Library::info(const std::string& name) const {
  check_expert_name(name);
  return read_one_version(expert_folder(name), [&] {
    QUIVER_CHECK(contains(name), usage, "expert " + name, "not in {}{}", folder_.string(), suggestion(name, names()));
    return read_expert_file(expert_folder(name), name);
  });
}

LoadedExpert Library::load_expert(const std::string& name) const {
  return read_one_version(expert_folder(name), [&] {
    LoadedExpert out{info(name), adapter::read_peft(expert_folder(name))};
    const auto& stamp = out.info.files_stamp;
    if (stamp.empty() || stamp != files_stamp(expert_folder(name)))
      check_identity(expert_folder(name), out.adapter, out.info);
    return out;
  });
}

std::vector<LoadedExpert> Library::load_experts(const std::vector<std::string>& names) const {
  std::vector<LoadedExpert> out(names.size());
  at::parallel_for(0, static_cast<std::int64_t>(names.size()), 8, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = begin; i < end; ++i)
      out[static_cast<std::size_t>(i)] = load_expert(names[static_cast<std::size_t>(i)]);
  });
  return out;
}

void Library::save(ExpertInfo info, const adapter::Adapter& adapter, bool replace) const {
  check_expert_name(info.name);
  info.identity = adapter::identity(adapter);
  const FileLock lock(folder_ / ".lock");
  remove_stale_temporaries(folder_ / "experts");
  QUIVER_CHECK(replace || !contains(info.name), usage, "expert " + info.name, "already in {}; --replace overwrites it",
               folder_.string());
  write_folder_atomically(expert_folder(info.name), [&](const fs::path& temporary) {
    adapter::write_peft(temporary, adapter, base_model_);
    write_expert_file(temporary, info);
  });
}

void Library::remove(const std::string& name) const {
  const FileLock lock(folder_ / ".lock");
  info(name);
  fs::create_directories(folder_ / "removed");
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const auto stamp = std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
  fs::rename(expert_folder(name), folder_ / "removed" / fmt::format("{}-{}", name, stamp));
}

std::vector<std::string> Library::verify() const {
  std::vector<std::string> problems;
  for (const auto& name : names()) {
    try {
      const auto known = info(name);
      check_identity(expert_folder(name), load(name), known);
      if (known.base_fingerprint != fingerprint_)
        problems.push_back(name + ": trained on another base model than the library's");
    } catch (const Error& error) {
      problems.push_back(name + ": " + error.what());
    }
  }
  return problems;
}

std::optional<fs::path> Library::derived(const std::string& kind, const std::string& key,
                                         const std::string& extension) const {
  const auto path = folder_ / "derived" / fmt::format("{}-{}.{}", kind, key.substr(0, kKeyDigits), extension);
  return fs::exists(path) ? std::optional(path) : std::nullopt;
}

void Library::write_derived(const std::string& kind, const std::string& key, const std::string& extension,
                            const std::function<void(const fs::path&)>& write) const {
  const FileLock lock(folder_ / ".lock");
  const auto path = folder_ / "derived" / fmt::format("{}-{}.{}", kind, key.substr(0, kKeyDigits), extension);
  write_file_atomically(path, write);
  const auto prefix = fs::path(kind).filename().string() + "-";
  for (const auto& entry : fs::directory_iterator(path.parent_path())) {
    const auto name = entry.path().filename().string();
    const bool same_kind = name.starts_with(prefix) && name.size() == path.filename().string().size();
    if (same_kind && entry.path() != path) fs::remove(entry.path());
  }
}

std::string Library::contents_key(const std::vector<std::string>& names) const {
  Sha256 hash;
  hash.add(fingerprint_);
  for (const auto& name : names) hash.add("\n" + name + " " + info(name).identity);
  return hash.hex();
}

void check_base(const Library& library, const std::string& model_fingerprint, bool allow_other_base) {
  QUIVER_CHECK(allow_other_base || library.fingerprint() == model_fingerprint, mismatch, library.folder().string(),
               "its experts were trained on {} (fingerprint {:.12}), the model given has {:.12}; --allow-other-base "
               "uses it anyway",
               library.base_model(), library.fingerprint(), model_fingerprint);
}

}  // namespace quiver::library
