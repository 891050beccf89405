// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/request/signature.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/stack.h>

#include <algorithm>

#include "quiver/base/error.h"
#include "quiver/routing/input_listener.h"
#include "quiver/routing/prompt_passes.h"

namespace quiver::routing {
namespace {

std::vector<std::int64_t> layers_of(const model::Model& model) {
  constexpr std::int64_t kWidest = 4096;
  const auto layers = model.config().prompt_layers();
  if (3 * static_cast<std::int64_t>(model.config().hidden) > kWidest) return {layers / 2};
  return {layers / 3, layers / 2, 2 * layers / 3};
}

/// All has been heard that is wanted: the layers above need not run.
struct HeardAll {};

/// [N, F] of the prompts of one pass.
at::Tensor features_of_pass(const model::Model& model, const model::PackedBatch& batch) {
  const auto wanted = layers_of(model);
  std::vector<at::Tensor> parts;
  InputListener listener(nullptr, [&](const std::vector<model::SiteColumns>& sites, const at::Tensor& x) {
    const auto& site = model.sites()[static_cast<std::size_t>(sites.front().site)];
    if (site.role != model::Role::query) return;
    for (const auto layer : wanted) {
      if (layer != site.layer) continue;
      std::vector<at::Tensor> means;
      for (const auto& row : batch.rows) means.push_back(x.narrow(0, row.begin, row.count).to(at::kFloat).mean(0));
      parts.push_back(at::stack(means, 0));
    }
    if (parts.size() == wanted.size()) throw HeardAll();
  });
  try {
    model.forward(batch, &listener);
  } catch (const HeardAll&) {
  }
  return at::cat(parts, 1);
}

}  // namespace

at::Tensor prompt_features(const model::Model& model, const std::vector<std::vector<std::int32_t>>& prompts) {
  std::vector<at::Tensor> passes;
  for_passes(prompts, [&](std::size_t, const auto& batch) { passes.push_back(features_of_pass(model, batch)); });
  return at::cat(passes, 0);
}

std::vector<std::size_t> signature_rows(std::size_t all, std::size_t count) {
  std::vector<std::size_t> out;
  for (std::size_t i = 0; i < std::min(all, count); ++i) out.push_back(i * all / std::min(all, count));
  return out;
}

void write_signature(const library::Library& library, const std::string& expert, const std::string& identity,
                     const model::Model& model, const std::vector<std::vector<std::int32_t>>& prompts) {
  const auto features = prompt_features(model, prompts).to(at::kHalf).contiguous();
  write_expert_file(library, kSignatures, expert, identity, {{"features", features}}, made_from(prompts));
}

std::vector<at::Tensor> read_signatures(const RouterInputs& inputs, const std::string& route) {
  const ExpertFiles files(inputs, kSignatures);
  std::vector<at::Tensor> out;
  for (std::size_t e = 0; e < files.size(); ++e) {
    const auto file = files.open(e);
    QUIVER_CHECK(file, usage, "--route " + route,
                 "expert '{}' has no signature; run: quiver prepare --library {} --route auto --task FOLDER",
                 files.name(e), inputs.library->folder().string());
    auto features = file->load("features").to(at::kFloat);
    QUIVER_CHECK(features.dim() == 2 && features.size(0) > 0 && (out.empty() || features.size(1) == out[0].size(1)),
                 format, files.place(e),
                 "'features' is not [N, F] of this base model; delete the file and prepare the route again");
    out.push_back(std::move(features));
  }
  return out;
}

std::vector<std::size_t> experts_without_signature(const RouterInputs& inputs) {
  return ExpertFiles(inputs, kSignatures).missing();
}

}  // namespace quiver::routing
