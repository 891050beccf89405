// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/token/expert_rows.h"

#include "quiver/base/error.h"

namespace quiver::routing {

void write_expert_row(const ExpertFiles& files, const adapter::Bank& bank, const SiteTable& table, std::int64_t row,
                      std::size_t expert, const std::string& made_with) {
  const auto& sites = bank.model_sites();
  std::map<std::string, at::Tensor> tensors;
  for (std::size_t s = 0; s < sites.size(); ++s)
    tensors[sites[s].name] = table.site(static_cast<std::int64_t>(s))[row].detach();
  files.write(expert, tensors, made_with);
}

std::vector<std::size_t> fill_kept_rows(const ExpertFiles& files, const adapter::Bank& bank, SiteTable& table) {
  const auto& sites = bank.model_sites();
  std::vector<std::size_t> missing;
  for (std::size_t e = 0; e < files.size(); ++e) {
    const auto file = files.open(e);
    if (!file) {
      missing.push_back(e);
      continue;
    }
    for (std::size_t s = 0; s < sites.size(); ++s) {
      const auto row = file->load(sites[s].name);
      QUIVER_CHECK((row.sizes() == at::IntArrayRef{sites[s].in}), mismatch, files.place(e),
                   "'{}' has another shape than [{}]; delete the file and prepare the route again", sites[s].name,
                   sites[s].in);
      table.site(static_cast<std::int64_t>(s))[static_cast<std::int64_t>(e)].copy_(row);
    }
  }
  return missing;
}

SiteTable read_expert_rows(const RouterInputs& inputs, const DerivedKind& kind) {
  const ExpertFiles files(inputs, kind);
  SiteTable table(inputs.bank->model_sites(), inputs.bank->size());
  const auto missing = fill_kept_rows(files, *inputs.bank, table);
  if (missing.empty()) return table;
  fail(ErrorCode::usage, "--route " + kind.name,
       "expert '{}' has no data for it; run: quiver prepare --library {} --route {} --task FOLDER",
       files.name(missing[0]), inputs.library->folder().string(), kind.name);
}

}  // namespace quiver::routing
