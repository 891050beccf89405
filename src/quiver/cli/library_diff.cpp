// SPDX-License-Identifier: Apache-2.0
#include <cmath>
#include <cstdio>

#include "quiver/base/error.h"
#include "quiver/cli/library_actions.h"
#include "quiver/clustering/difference.h"
#include "quiver/evaluation/terminal_table.h"

namespace quiver::cli {
namespace {

std::string number(double value, int digits) { return std::isnan(value) ? "-" : fmt::format("{:.{}f}", value, digits); }

}  // namespace

void diff_experts(const LibraryOptions& o) {
  const auto library = library::Library::open(o.library);
  QUIVER_CHECK(o.arguments.size() == 2, usage, "library diff", "expected two expert names, got {}", o.arguments.size());
  const auto first = library.load(o.arguments[0]), second = library.load(o.arguments[1]);
  evaluation::TextTable table{
      {"site", "norm of " + o.arguments[0], "norm of " + o.arguments[1], "cosine", "input angle", "output angle"}, {}};
  for (const auto& d : clustering::differences(first, second, {o.arguments[0], o.arguments[1]})) {
    table.rows.push_back({{d.site},
                          {number(d.norm_a, 4)},
                          {number(d.norm_b, 4)},
                          {number(d.cosine, 4)},
                          {number(d.input_angle, 1)},
                          {number(d.output_angle, 1)}});
    if (!o.json) continue;
    print_json({{"site", d.site},
                {"norm_a", d.norm_a},
                {"norm_b", d.norm_b},
                {"cosine", number_or_null(d.cosine)},
                {"input_angle", number_or_null(d.input_angle)},
                {"output_angle", number_or_null(d.output_angle)}});
  }
  if (!o.json) std::printf("%s", evaluation::render_table(table, {colour_wanted(), 1, 64}).c_str());
}

}  // namespace quiver::cli
