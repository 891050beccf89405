// SPDX-License-Identifier: Apache-2.0
// A small model with random experts, for the tests of routers.
#pragma once

#include <ATen/ops/randn.h>
#include <ATen/ops/randn_like.h>
#include <gtest/gtest.h>

#include "quiver/adapter/bank.h"
#include "quiver/model/load.h"

namespace quiver::routing {

class WithBank : public testing::Test {
 protected:
  model::Model model_ =
      model::load_model(fs::path(QUIVER_SOURCE_DIR) / "tests" / "golden" / "llama_untied", at::kFloat);

  /// Experts of these ranks with both factors random and scales of their own.
  std::shared_ptr<adapter::Bank> bank(const std::vector<std::int64_t>& ranks, bool share_a = false) const {
    at::manual_seed(11);
    auto out = std::make_shared<adapter::Bank>(model_);
    for (std::size_t e = 0; e < ranks.size(); ++e) {
      adapter::LoraOptions options;
      options.rank = ranks[e];
      options.alpha = 2.0 + static_cast<double>(e);
      auto own = adapter::make_lora(model_, options, share_a ? 1 : e);
      for (auto& [site, f] : own.sites) f.b = at::randn_like(f.b);
      out->add("e" + std::to_string(e), own);
    }
    return out;
  }

  /// s B A of an expert at a site, [out, in] float64.
  static at::Tensor dense(const adapter::Bank& bank, std::int64_t site, std::int64_t expert) {
    const auto& f = bank.site(site).experts[static_cast<std::size_t>(expert)];
    return f.b.to(at::kDouble).matmul(f.a.to(at::kDouble)) * f.scale;
  }

  /// q, k and v of the first layer, which share an input.
  static std::vector<model::SiteColumns> first_sites() { return {{0, 0, 32}, {1, 32, 16}, {2, 48, 16}}; }
};

}  // namespace quiver::routing
