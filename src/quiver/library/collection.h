// SPDX-License-Identifier: Apache-2.0
// Experts that lie outside of a library: PEFT adapters in a folder and its folders, the experts of an MTTL library,
// PEMT's checkpoints, and those that were taken out of a library.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "quiver/base/files.h"
#include "quiver/library/collection_expert.h"

namespace quiver::library {

/// A name that a library takes, of any name: `/` becomes `-`, other characters that it cannot have `_`; at most 128.
std::string fit_name(std::string name);

enum class CollectionFormat { automatic, peft, mttl, pemt };

/// `auto`, `peft`, `mttl` or `pemt`. Throws Error{usage} naming the nearest.
CollectionFormat collection_format_of_name(const std::string& name);

struct FoundExpert {
  std::string name;                          ///< fit for a library; see find_experts
  fs::path folder;                           ///< that it lies in
  std::string mttl_name{};                   ///< of an expert of an MTTL library: that of its files; else empty
  std::optional<std::size_t> pemt_source{};  ///< of a source in PEMT's checkpoint: its number
};

/// Every expert under `folder`, to 16 levels, sorted by path: folders with an adapter_config.json, the .meta files of
/// MTTL libraries, and the sources in PEMT's lora.pt (NAME-0, NAME-1, ... where there are several). A library of Quiver
/// is searched in its experts/. Hidden folders, and the `checkpoint-N` of a folder that is an adapter itself, are
/// passed over. The adapter in `folder` itself is named after it, all others by their path from there with `-` between
/// its parts; characters that a name cannot have become `_`. Throws Error{not_found} where there is none, Error{usage}
/// where two would have the same name.
std::vector<FoundExpert> find_experts(const fs::path& folder, CollectionFormat format);

/// Reads it, with what an expert.json beside it or MTTL's metadata say; info.name is the one found.
/// `alpha` as in read_mttl_expert.
ImportedExpert read_found_expert(const FoundExpert& found, std::optional<double> alpha);

/// Puts the expert that was removed last under `name` back in its place. Throws Error{usage} where none was removed, or
/// the name is taken again.
void restore_expert(const Library& library, const std::string& name);

}  // namespace quiver::library
