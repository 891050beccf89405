// SPDX-License-Identifier: Apache-2.0
#include "quiver/evaluation/trace.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "quiver/base/error.h"
#include "quiver/routing/recorder.h"

namespace quiver::evaluation {
namespace {

/// [tokens][entries] of dense weights [T, E].
std::vector<std::vector<TraceEntry>> entries_of(const at::Tensor& dense) {
  const auto values = dense.contiguous();
  std::vector<std::vector<TraceEntry>> out(static_cast<std::size_t>(values.size(0)));
  for (std::int64_t t = 0; t < values.size(0); ++t) {
    auto& own = out[static_cast<std::size_t>(t)];
    for (std::int64_t e = 0; e < values.size(1); ++e) {
      const double weight = values.const_data_ptr<float>()[t * values.size(1) + e];
      if (weight != 0) own.push_back({static_cast<std::size_t>(e), weight});
    }
    std::stable_sort(own.begin(), own.end(), [](const auto& a, const auto& b) { return a.weight > b.weight; });
  }
  return out;
}

}  // namespace

Trace trace_prompt(const EvaluateInputs& inputs, const routing::Router& router, const std::vector<std::int32_t>& ids,
                   const std::vector<std::string>& experts, const TraceOptions& options) {
  const c10::AutoGradMode no_gradient(false);
  QUIVER_CHECK(!ids.empty(), usage, "inspect", "the prompt has no tokens");
  Trace trace;
  const auto own = router.own_experts();
  trace.experts = own.empty() ? experts : own;
  for (const auto id : ids) trace.tokens.push_back(inputs.tokenizer.piece_bytes(id));

  const auto bind = routing::bind_requests(router, {{options.task, ids}});
  const auto soft = bind.soft_prompt(0);
  const auto batch = model::pack({{ids, nullptr, true, soft}});
  const auto source = bind(batch, {0});
  QUIVER_CHECK(source != nullptr, usage, "inspect",
               "the base model alone has no experts to show; give another --route");
  routing::Recorder recorder(*source);
  inputs.model.forward(batch, &recorder);

  QUIVER_CHECK(!recorder.mixes().empty(), unsupported, "inspect",
               "the route mixes no experts at the sites of a prompt");
  const auto count = static_cast<std::int64_t>(trace.experts.size()), before = soft.defined() ? soft.size(0) : 0;
  std::map<std::string, std::pair<at::Tensor, int>> sums;
  std::vector<std::string> order;
  for (const auto& [site, mix] : recorder.mixes()) {
    const auto& info = inputs.model.sites()[static_cast<std::size_t>(site)];
    const auto label = options.per_site ? info.name : fmt::format("{}", info.layer);
    auto& [sum, sites] = sums[label];
    if (!sum.defined()) {
      sum = at::zeros({batch.tokens() - before, count}, at::kFloat);
      order.push_back(label);
    }
    sum += ops::dense_weights(*mix, count).narrow(0, before, sum.size(0));
    ++sites;
  }
  for (const auto& label : order) {
    trace.layers.push_back(label);
    trace.weights.push_back(entries_of(sums[label].first / static_cast<double>(sums[label].second)));
  }
  return trace;
}

nlohmann::json to_json(const Trace& trace, bool per_site) {
  auto layers = nlohmann::json::array();
  for (std::size_t l = 0; l < trace.layers.size(); ++l) {
    auto tokens = nlohmann::json::array();
    for (const auto& entries : trace.weights[l]) {
      auto mix = nlohmann::json::object();
      for (const auto& entry : entries) mix[trace.experts[entry.expert]] = entry.weight;
      tokens.push_back(mix);
    }
    layers.push_back({{per_site ? "site" : "layer", trace.layers[l]}, {"tokens", tokens}});
  }
  return {{"tokens", trace.tokens}, {"experts", trace.experts}, {"layers", layers}};
}

}  // namespace quiver::evaluation
