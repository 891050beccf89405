// SPDX-License-Identifier: Apache-2.0
#include "quiver/library/carried.h"

#include <algorithm>

#include "quiver/base/error.h"

namespace quiver::library {
namespace {

constexpr const char* kKinds[] = {"signature"};
constexpr const char* kExtension = "safetensors";
constexpr std::uint64_t kMaxFile_bytes = std::uint64_t{1} << 28;

void copy_whole(const fs::path& from, const fs::path& to) {
  write_file_atomically(to, read_file(from, kMaxFile_bytes));
}

}  // namespace

Carried carried_in_library(const Library& library, const ExpertInfo& info) {
  Carried out;
  for (const std::string kind : kKinds) {
    if (const auto file = library.derived(kind + "/" + info.name, info.identity, kExtension)) out[kind] = *file;
  }
  return out;
}

Carried carried_beside(const fs::path& adapter_folder, const ExpertInfo& known) {
  const auto folder = fs::weakly_canonical(adapter_folder);
  const auto library = folder.parent_path().parent_path();
  if (folder.parent_path().filename() == "experts" && fs::exists(library / "library.json")) {
    auto info = known;
    info.name = folder.filename().string();
    return carried_in_library(Library::open(library), info);
  }
  Carried out;
  for (const std::string kind : kKinds) {
    const auto file = folder / (kind + "." + kExtension);
    if (fs::exists(file)) out[kind] = file;
  }
  return out;
}

void export_carried(const Carried& files, const fs::path& adapter_folder) {
  for (const auto& [kind, file] : files) copy_whole(file, adapter_folder / (kind + "." + kExtension));
}

void take_carried(const Carried& files, const Library& library, const ExpertInfo& info) {
  for (const auto& [kind, file] : files)
    library.write_derived(kind + "/" + info.name, info.identity, kExtension,
                          [&](const fs::path& path) { copy_whole(file, path); });
}

}  // namespace quiver::library
