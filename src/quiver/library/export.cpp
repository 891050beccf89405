// SPDX-License-Identifier: Apache-2.0
#include "quiver/library/export.h"

#include "quiver/adapter/peft.h"
#include "quiver/base/error.h"
#include "quiver/base/output_folder.h"
#include "quiver/library/carried.h"
#include "quiver/library/expert_file.h"
#include "quiver/library/mttl_library.h"

namespace quiver::library {
namespace {

/// A PEFT adapter, and beside it what is known of the expert and its signature, which PEFT passes over.
void write_adapter(const fs::path& folder, const Library& library, const std::string& name) {
  fs::create_directories(folder);
  const auto loaded = library.load_expert(name);
  adapter::write_peft(folder, loaded.adapter, library.base_model());
  write_expert_file(folder, loaded.info);
  export_carried(carried_in_library(library, loaded.info), folder);
}

/// Where the expert lies in the export, relative to its folder.
fs::path place_of(const std::string& name, const ExportOptions& options) {
  if (options.format == CollectionFormat::mttl) return mttl_name(name) + ".ckpt";
  return options.alone ? fs::path() : fs::path(name);
}

void write_one(const fs::path& folder, const Library& library, const std::string& name, const ExportOptions& options) {
  if (options.format != CollectionFormat::mttl) return write_adapter(folder / place_of(name, options), library, name);
  const auto [info, adapter] = library.load_expert(name);
  write_mttl_expert(folder, info, adapter, library.base_model());
}

/// What the export consists of: files of these experts and of no others.
ResultFiles files_of(const std::vector<std::string>& names, const ExportOptions& options) {
  ResultFiles out;
  for (const auto& name : names) {
    if (options.format == CollectionFormat::mttl) {
      for (const auto* ending : {".ckpt", ".meta"}) out.push_back(mttl_name(name) + ending);
    } else {
      for (const auto& file : adapter_files()) out.push_back((place_of(name, options) / file).string());
    }
  }
  return out;
}

}  // namespace

std::vector<fs::path> export_experts(const Library& library, const std::vector<std::string>& names,
                                     const ExportOptions& options) {
  QUIVER_CHECK(options.format != CollectionFormat::pemt, unsupported, "--format pemt", "export writes peft or mttl");
  QUIVER_CHECK(!options.alone || names.size() == 1, usage, "export", "{} experts do not fit into one folder",
               names.size());
  const OutputFolder output{.path = options.output,
                            .replace = options.replace,
                            .files = files_of(names, options),
                            .inputs = {library.folder()}};
  write_output(output, [&](const fs::path& folder) {
    for (const auto& name : names) write_one(folder, library, name, options);
  });
  std::vector<fs::path> places;
  for (const auto& name : names) {
    const auto place = place_of(name, options);
    places.push_back(place.empty() ? options.output : options.output / place);
  }
  return places;
}

}  // namespace quiver::library
