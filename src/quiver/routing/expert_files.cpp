// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/expert_files.h"

#include "quiver/base/error.h"
#include "quiver/base/sha256.h"
#include "quiver/tensor_io/safetensors.h"

namespace quiver::routing {
namespace {

constexpr const char *kExtension = "safetensors", *kMadeWith = "made_with", *kVersion = "version";

std::string field(const std::map<std::string, std::string>& metadata, const char* key, const char* fallback) {
  const auto found = metadata.find(key);
  return found == metadata.end() ? fallback : found->second;
}

}  // namespace

std::string hash_of(const std::vector<std::vector<std::int32_t>>& rows) {
  Sha256 hash;
  for (const auto& ids : rows) {
    hash.add(fmt::format("{}\n", ids.size()));
    hash.add(ids.data(), ids.size() * sizeof(ids[0]));
  }
  return hash.hex();
}

std::string made_from(const std::vector<std::vector<std::int32_t>>& prompts) {
  return nlohmann::json{{"prompts", hash_of(prompts)}}.dump();
}

void write_expert_file(const library::Library& library, const DerivedKind& kind, const std::string& expert,
                       const std::string& identity, const std::map<std::string, at::Tensor>& tensors,
                       const std::string& made_with) {
  std::map<std::string, std::string> metadata{{"format", "pt"}};
  if (!made_with.empty()) metadata[kMadeWith] = made_with;
  if (kind.version > 1) metadata[kVersion] = std::to_string(kind.version);
  library.write_derived(kind.name + "/" + expert, identity, kExtension,
                        [&](const fs::path& path) { tensor_io::write_safetensors(path, tensors, metadata); });
}

ExpertFiles::ExpertFiles(const RouterInputs& inputs, DerivedKind kind) : inputs_(inputs), kind_(std::move(kind)) {
  QUIVER_CHECK(inputs.library, usage, "route " + kind_.name, "it needs data kept in a library; give --library DIR");
  QUIVER_CHECK(inputs.identities.size() == size(), mismatch, "route " + kind_.name, "{} identities of {} experts",
               inputs.identities.size(), size());
}

std::optional<fs::path> ExpertFiles::kept(std::size_t expert) const {
  return inputs_.library->derived(kind_.name + "/" + name(expert), inputs_.identities[expert], kExtension);
}

std::string ExpertFiles::place(std::size_t expert) const {
  return kept(expert).value_or(inputs_.library->folder() / "derived" / kind_.name / name(expert)).string();
}

std::shared_ptr<tensor_io::TensorSource> ExpertFiles::open(std::size_t expert,
                                                           const std::optional<std::string>& made_with) const {
  const auto file = kept(expert);
  if (!file) return nullptr;
  try {
    const auto metadata = tensor_io::safetensors_metadata(*file);
    const bool wanted = field(metadata, kVersion, "1") == std::to_string(kind_.version) &&
                        (!made_with || field(metadata, kMadeWith, "") == *made_with);
    return wanted ? tensor_io::open_safetensors(*file) : nullptr;
  } catch (const Error&) {
    if (kept(expert)) throw;
    return nullptr;  // dropped between two looks, by someone who replaced the expert
  }
}

std::vector<std::size_t> ExpertFiles::missing(const std::optional<std::string>& made_with) const {
  std::vector<std::size_t> out;
  for (std::size_t e = 0; e < size(); ++e) {
    if (!open(e, made_with)) out.push_back(e);
  }
  return out;
}

void ExpertFiles::write(std::size_t expert, const std::map<std::string, at::Tensor>& tensors,
                        const std::string& made_with) const {
  write_expert_file(*inputs_.library, kind_, name(expert), inputs_.identities[expert], tensors, made_with);
}

}  // namespace quiver::routing
