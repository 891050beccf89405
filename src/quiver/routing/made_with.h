// SPDX-License-Identifier: Apache-2.0
// The options that an expert's derived data was made with, in the metadata of its file: "made_with", free text that is
// only compared. A file is known by what it was computed from; this tells whether it was computed in the way asked for.
#pragma once

#include <map>
#include <string>

#include "quiver/base/files.h"

namespace quiver::routing {

/// Metadata of a file made with these options; empty: data that has none.
std::map<std::string, std::string> metadata_of(const std::string& options);

/// True where the safetensors file was made with exactly these.
bool was_made_with(const fs::path& file, const std::string& options);

}  // namespace quiver::routing
