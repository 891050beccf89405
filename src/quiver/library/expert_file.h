// SPDX-License-Identifier: Apache-2.0
// expert.json: what is known of an expert beside its factors.
#pragma once

#include "quiver/library/library.h"

namespace quiver::library {

inline constexpr const char* kExpertFile = "expert.json";

ExpertInfo read_expert_file(const fs::path& folder, const std::string& name);
void write_expert_file(const fs::path& folder, const ExpertInfo& info);

/// Sizes and times of the adapter's files in an expert's folder; empty where one is missing.
std::string files_stamp(const fs::path& folder);

/// A text field of a JSON object. Throws Error{format} naming file and key.
std::string text_field(const nlohmann::json& object, const char* key, const std::string& where);

}  // namespace quiver::library
