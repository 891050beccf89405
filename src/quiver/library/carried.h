// SPDX-License-Identifier: Apache-2.0
// Derived data that travels with an expert, for it is made from prompts that whoever gets the expert may not have: the
// signature that the route `auto` goes by.
//
//   NAME.safetensors in an exported adapter's folder = derived/NAME/EXPERT-IDENTITY.safetensors in a library
//
// It holds over the same base model and for the same factors alone.
#pragma once

#include <map>

#include "quiver/library/library.h"

namespace quiver::library {

/// Files by kind.
using Carried = std::map<std::string, fs::path>;

/// What a library has of one of its experts.
Carried carried_in_library(const Library& library, const ExpertInfo& info);
/// What lies beside an adapter: in its folder, or in the library whose expert it is. Empty where the folder has no
/// expert.json, which says what base model and factors it was made for.
Carried carried_beside(const fs::path& adapter_folder, const ExpertInfo& known);
/// Copies them into an exported adapter's folder.
void export_carried(const Carried& files, const fs::path& adapter_folder);
/// Takes them into a library, as those of its expert `info`.
void take_carried(const Carried& files, const Library& library, const ExpertInfo& info);

}  // namespace quiver::library
