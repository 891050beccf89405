// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/token/site_table.h"

#include <ATen/ops/zeros.h>

#include "quiver/base/error.h"

namespace quiver::routing {

SiteTable::SiteTable(const std::vector<model::Site>& sites, std::int64_t rows) : rows_(rows) {
  std::int64_t offset = 0;
  for (const auto& site : sites) {
    offsets_.push_back(offset);
    widths_.push_back(site.in);
    offset += rows * site.in;
  }
  flat_ = at::zeros({offset}, at::kFloat);
}

at::Tensor SiteTable::site(std::int64_t number) const {
  const auto s = static_cast<std::size_t>(number);
  return flat_.narrow(0, offsets_.at(s), rows_ * widths_[s]).view({rows_, widths_[s]});
}

at::Tensor SiteTable::side_by_side(const std::vector<model::SiteColumns>& sites) const {
  const auto first = static_cast<std::size_t>(sites.front().site);
  for (std::size_t i = 0; i < sites.size(); ++i) {
    QUIVER_CHECK(sites[i].site == sites[0].site + static_cast<std::int64_t>(i), mismatch, "router",
                 "sites {} and {} share an input and are not neighbours", sites[0].site, sites[i].site);
  }
  const auto rows = rows_ * static_cast<std::int64_t>(sites.size());
  return flat_.narrow(0, offsets_.at(first), rows * widths_[first]).view({rows, widths_[first]});
}

void add_tensors(const SiteTable& table, const std::vector<model::Site>& sites, const std::string& suffix,
                 std::map<std::string, at::Tensor>& tensors) {
  for (std::size_t s = 0; s < sites.size(); ++s)
    tensors[sites[s].name + "." + suffix] = table.site(static_cast<std::int64_t>(s)).detach();
}

SiteTable read_table(const tensor_io::TensorSource& file, const std::vector<model::Site>& sites,
                     const std::string& suffix, std::int64_t rows, const std::string& where) {
  SiteTable table(sites, rows);
  for (std::size_t s = 0; s < sites.size(); ++s) {
    const auto values = file.load(sites[s].name + "." + suffix);
    QUIVER_CHECK(values.sizes() == at::IntArrayRef({rows, sites[s].in}), mismatch, where,
                 "'{}.{}' has another shape than [{}, {}]; prepare the route again", sites[s].name, suffix, rows,
                 sites[s].in);
    table.site(static_cast<std::int64_t>(s)).copy_(values);
  }
  return table;
}

}  // namespace quiver::routing
