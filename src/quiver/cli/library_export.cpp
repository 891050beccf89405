// SPDX-License-Identifier: Apache-2.0
#include <cstdio>

#include "quiver/adapter/peft.h"
#include "quiver/base/error.h"
#include "quiver/base/output_folder.h"
#include "quiver/cli/library_actions.h"
#include "quiver/library/carried.h"
#include "quiver/library/collection.h"
#include "quiver/library/expert_file.h"
#include "quiver/library/mttl_library.h"

namespace quiver::cli {
namespace {

using library::CollectionFormat;

/// A PEFT adapter, and beside it what is known of the expert and its signature, which PEFT passes over.
void write_adapter(const fs::path& folder, const library::Library& library, const std::string& name) {
  fs::create_directories(folder);
  const auto loaded = library.load_expert(name);
  adapter::write_peft(folder, loaded.adapter, library.base_model());
  library::write_expert_file(folder, loaded.info);
  library::export_carried(library::carried_in_library(library, loaded.info), folder);
}

/// Path of the expert in the export, relative to its folder.
std::string write_one(const fs::path& folder, const library::Library& library, const std::string& name,
                      CollectionFormat format) {
  if (format == CollectionFormat::mttl) {
    const auto [info, adapter] = library.load_expert(name);
    return library::write_mttl_expert(folder, info, adapter, library.base_model()) + ".ckpt";
  }
  write_adapter(folder / name, library, name);
  return name;
}

/// What the export consists of: files of these experts and of no others.
ResultFiles files_of(const std::vector<std::string>& names, CollectionFormat format, bool alone) {
  if (alone) return adapter_files();
  ResultFiles out;
  for (const auto& name : names) {
    if (format == CollectionFormat::mttl) {
      for (const auto* ending : {".ckpt", ".meta"}) out.push_back(library::mttl_name(name) + ending);
    } else {
      for (const auto& file : adapter_files()) out.push_back(name + "/" + file);
    }
  }
  return out;
}

}  // namespace

void export_experts(const LibraryOptions& o) {
  const auto library = library::Library::open(o.library);
  const auto format = library::collection_format_of_name(o.format);
  QUIVER_CHECK(format != CollectionFormat::pemt, unsupported, "--format pemt", "export writes peft or mttl");
  const auto names = chosen_experts(library, o);
  QUIVER_CHECK(!o.output.empty(), usage, "library export", "give --output DIR");
  const bool alone = o.arguments.size() == 1 && names.size() == 1 && format != CollectionFormat::mttl;
  const OutputFolder output{
      .path = o.output, .replace = o.replace, .files = files_of(names, format, alone), .inputs = {o.library}};
  std::vector<std::string> paths;
  write_output(output, [&](const fs::path& folder) {
    if (alone) return write_adapter(folder, library, names[0]);
    for (const auto& name : names)
      paths.push_back((fs::path(o.output) / write_one(folder, library, name, format)).string());
  });
  if (alone) paths.push_back(o.output);
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (o.json) print_json({{"name", names[i]}, {"path", paths[i]}});
    if (!o.json) std::printf("%s\n", paths[i].c_str());
  }
}

}  // namespace quiver::cli
