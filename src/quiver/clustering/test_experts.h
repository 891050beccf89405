// SPDX-License-Identifier: Apache-2.0
// What the tests of this folder share: experts with planted families, the golden experts, and matrices from JSON.
#pragma once

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "quiver/base/random.h"
#include "quiver/library/library.h"
#include "quiver/tensor_io/test_files.h"

namespace quiver::clustering {

using Rows = std::vector<std::vector<double>>;

inline const std::string kFingerprint(64, 'a');

inline nlohmann::json golden_json(const std::string& name) {
  return nlohmann::json::parse(read_file(tensor_io::golden("cluster/" + name)));
}

inline at::Tensor tensor_of(const Rows& rows) {
  auto out =
      at::empty({static_cast<std::int64_t>(rows.size()), static_cast<std::int64_t>(rows.at(0).size())}, at::kDouble);
  auto values = out.accessor<double, 2>();
  for (std::size_t i = 0; i < rows.size(); ++i) {
    for (std::size_t j = 0; j < rows[i].size(); ++j) {
      values[static_cast<std::int64_t>(i)][static_cast<std::int64_t>(j)] = rows[i][j];
    }
  }
  return out;
}

/// Normal numbers, float32.
inline at::Tensor normal(std::int64_t rows, std::int64_t columns, Random& random) {
  auto out = at::empty({rows, columns}, at::kFloat);
  for (std::int64_t i = 0; i < out.numel(); ++i) out.mutable_data_ptr<float>()[i] = static_cast<float>(random.normal());
  return out;
}

inline adapter::Adapter random_expert(std::uint64_t seed, std::int64_t rank = 2) {
  Random random(seed);
  adapter::Adapter out;
  out.options.rank = rank;
  for (const auto* site : {"layers.0.q_proj", "layers.0.down_proj"}) {
    out.sites[site] = {normal(rank, 6, random), normal(5, rank, random), 0.5};
  }
  return out;
}

/// Noise around the centre of one of some families.
inline adapter::Adapter planted_expert(std::uint64_t family, std::uint64_t seed) {
  auto out = random_expert(1000 + family);
  const auto noise = random_expert(seed);
  for (auto& [site, factors] : out.sites) {
    factors.a += 0.2 * noise.sites.at(site).a;
    factors.b += 0.2 * noise.sites.at(site).b;
  }
  return out;
}

inline std::vector<const adapter::Adapter*> pointers(const std::vector<adapter::Adapter>& experts) {
  std::vector<const adapter::Adapter*> out;
  for (const auto& expert : experts) out.push_back(&expert);
  return out;
}

inline std::vector<adapter::Adapter> golden_experts(const nlohmann::json& golden) {
  std::vector<adapter::Adapter> out;
  for (std::size_t e = 0; e < golden.at("experts").size(); ++e) {
    auto& expert = out.emplace_back();
    for (const auto& [site, pair] : golden["experts"][e].items()) {
      expert.sites[site] = {tensor_of(pair.at("a").get<Rows>()).to(at::kFloat),
                            tensor_of(pair.at("b").get<Rows>()).to(at::kFloat), golden.at("scales")[e]};
    }
  }
  return out;
}

inline void save(const library::Library& library, const std::string& name, const adapter::Adapter& adapter,
                 bool replace = false) {
  library.save({name, {}, kFingerprint, "", {}, {}, {}}, adapter, replace);
}

}  // namespace quiver::clustering
