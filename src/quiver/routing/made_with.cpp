// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/made_with.h"

#include "quiver/tensor_io/safetensors.h"

namespace quiver::routing {
namespace {

constexpr const char* kKey = "made_with";

}  // namespace

std::map<std::string, std::string> metadata_of(const std::string& options) {
  std::map<std::string, std::string> out{{"format", "pt"}};
  if (!options.empty()) out[kKey] = options;
  return out;
}

bool was_made_with(const fs::path& file, const std::string& options) {
  const auto metadata = tensor_io::safetensors_metadata(file);
  const auto found = metadata.find(kKey);
  return (found == metadata.end() ? "" : found->second) == options;
}

}  // namespace quiver::routing
