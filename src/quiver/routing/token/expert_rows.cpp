// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/token/expert_rows.h"

#include "quiver/base/error.h"
#include "quiver/routing/made_with.h"
#include "quiver/tensor_io/safetensors.h"

namespace quiver::routing {
namespace {

constexpr const char* kExtension = "safetensors";

std::optional<fs::path> file_of(const library::Library& library, const std::string& kind, const std::string& expert) {
  return library.derived(kind + "/" + expert, library.info(expert).identity, kExtension);
}

}  // namespace

std::vector<std::size_t> experts_without(const library::Library& library, const adapter::Bank& bank,
                                         const std::string& kind, const std::string& options) {
  std::vector<std::size_t> out;
  for (std::size_t e = 0; e < bank.names().size(); ++e) {
    const auto file = file_of(library, kind, bank.names()[e]);
    if (!file || !was_made_with(*file, options)) out.push_back(e);
  }
  return out;
}

void write_expert_rows(const library::Library& library, const adapter::Bank& bank, const std::string& kind,
                       const SiteTable& table, const std::vector<std::size_t>& experts, const std::string& options) {
  const auto& sites = bank.model_sites();
  for (const auto e : experts) {
    std::map<std::string, at::Tensor> tensors;
    for (std::size_t s = 0; s < sites.size(); ++s)
      tensors[sites[s].name] = table.site(static_cast<std::int64_t>(s))[static_cast<std::int64_t>(e)].detach();
    const auto& name = bank.names()[e];
    library.write_derived(kind + "/" + name, library.info(name).identity, kExtension, [&](const fs::path& path) {
      tensor_io::write_safetensors(path, tensors, metadata_of(options));
    });
  }
}

SiteTable read_expert_rows(const library::Library& library, const adapter::Bank& bank, const std::string& kind) {
  const auto& sites = bank.model_sites();
  SiteTable table(sites, bank.size());
  for (std::size_t e = 0; e < bank.names().size(); ++e) {
    const auto path = file_of(library, kind, bank.names()[e]);
    QUIVER_CHECK(path, usage, "--route " + kind,
                 "expert '{}' has no data for it; run: quiver prepare --library {} --route {} --task FOLDER",
                 bank.names()[e], library.folder().string(), kind);
    const auto file = tensor_io::open_safetensors(*path);
    for (std::size_t s = 0; s < sites.size(); ++s) {
      const auto row = file->load(sites[s].name);
      QUIVER_CHECK((row.sizes() == at::IntArrayRef{sites[s].in}), mismatch, path->string(),
                   "'{}' has another shape than [{}]; delete the file and prepare the route again", sites[s].name,
                   sites[s].in);
      table.site(static_cast<std::int64_t>(s))[static_cast<std::int64_t>(e)].copy_(row);
    }
  }
  return table;
}

}  // namespace quiver::routing
