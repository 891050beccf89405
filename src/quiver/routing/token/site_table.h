// SPDX-License-Identifier: Apache-2.0
// A matrix per site, over the site's inputs: prototypes, gates, means. All in one piece of memory in the order of the
// sites, so that those of sites that share an input (q, k, v; gate, up) are one matrix without a copy.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

#include "quiver/model/experts.h"
#include "quiver/tensor_io/tensor_source.h"

namespace quiver::routing {

class SiteTable {
 public:
  /// Zeros, float32 [rows, in] per site.
  SiteTable(const std::vector<model::Site>& sites, std::int64_t rows);

  std::int64_t rows() const { return rows_; }
  std::size_t sites() const { return offsets_.size(); }
  /// [rows, in]: a view, which may be written to until the table is shared.
  at::Tensor site(std::int64_t number) const;
  /// [sites * rows, in] of neighbouring sites that share an input.
  at::Tensor side_by_side(const std::vector<model::SiteColumns>& sites) const;
  /// Everything, [N]: to be scaled, or trained as one parameter.
  const at::Tensor& flat() const { return flat_; }
  /// Puts other numbers in the same places, e.g. ones that require a gradient.
  void set_flat(at::Tensor flat) { flat_ = std::move(flat); }

 private:
  std::int64_t rows_;
  std::vector<std::int64_t> offsets_, widths_;
  at::Tensor flat_;
};

/// As "SITE.SUFFIX" per site; SITE is the module path.
void add_tensors(const SiteTable& table, const std::vector<model::Site>& sites, const std::string& suffix,
                 std::map<std::string, at::Tensor>& tensors);
/// The reverse. Throws Error{mismatch} naming the tensor that has another shape.
SiteTable read_table(const tensor_io::TensorSource& file, const std::vector<model::Site>& sites,
                     const std::string& suffix, std::int64_t rows, const std::string& where);

}  // namespace quiver::routing
