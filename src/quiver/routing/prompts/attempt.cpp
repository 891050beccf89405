// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/prompts/attempt.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mv.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include "quiver/base/error.h"
#include "quiver/routing/described.h"

namespace quiver::routing {
namespace {

constexpr const char *kSources = "source_prompts", *kPrompt = "prompt_embeddings", *kDown = "attention.down.weight",
                     *kUp = "attention.up.weight", *kNormWeight = "attention.norm.weight",
                     *kNormBias = "attention.norm.bias";

/// max over tokens of their embeddings, [D].
at::Tensor pooled(const at::Tensor& embedding, std::span<const std::int32_t> text) {
  if (text.empty()) return at::zeros({embedding.size(1)}, at::kFloat);
  const auto ids = at::tensor(at::ArrayRef<std::int32_t>(text.data(), text.size()), at::kLong);
  return embedding.index_select(0, ids).to(at::kFloat).amax(0);
}

}  // namespace

at::Tensor attempt_prompt(const Attempt& a, const at::Tensor& embedding, std::span<const std::int32_t> text) {
  const auto all = at::cat({a.sources, a.prompt.unsqueeze(0)}, 0);
  const auto query = at::layer_norm(at::linear(at::silu(at::linear(pooled(embedding, text), a.down)), a.up),
                                    {a.prompt.size(1)}, a.norm_weight, a.norm_bias);
  const auto shares = (at::mv(at::amax(all, {1}), query) / a.temperature).softmax(0);
  return a.prompt + (all * shares.view({-1, 1, 1})).sum(0);
}

SavedRouter save_attempt(const std::string& name, const Attempt& a) {
  SavedRouter out{name, "attempt", {}, {{"temperature", a.temperature}}, nullptr, {}, {}};
  out.tensors = {{kSources, a.sources}, {kPrompt, a.prompt},          {kDown, a.down},
                 {kUp, a.up},           {kNormWeight, a.norm_weight}, {kNormBias, a.norm_bias}};
  for (auto& [key, tensor] : out.tensors) tensor = tensor.detach().to(at::kFloat).contiguous();
  return out;
}

Attempt read_attempt(const SavedRouter& saved, const model::Model& model) {
  Attempt out;
  OptionSet set;
  describe_temperature(set, out.temperature, "of the attention");
  saved.read_options(set);
  out.prompt = saved.tensor(kPrompt, {-1, -1});
  const auto length = out.prompt.size(0), width = out.prompt.size(1);
  QUIVER_CHECK(width == model.config().hidden, mismatch, saved.where(), "its prompts are {} wide, the base model is {}",
               width, model.config().hidden);
  out.sources = saved.tensor(kSources, {-1, length, width});
  out.down = saved.tensor(kDown, {-1, width});
  out.up = saved.tensor(kUp, {width, out.down.size(0)});
  out.norm_weight = saved.tensor(kNormWeight, {width});
  out.norm_bias = saved.tensor(kNormBias, {width});
  return out;
}

/// The state of a request is its prompt of vectors.
class AttemptRouter::AttemptSessions : public StateSessions<at::Tensor> {
 public:
  explicit AttemptSessions(const AttemptRouter& router) : router_(router) {}

 protected:
  std::vector<at::Tensor> start(const std::vector<Request>& requests) override {
    std::vector<at::Tensor> out;
    for (const auto& request : requests)
      out.push_back(attempt_prompt(router_.attempt_, router_.model_.embedding(), request.prompt));
    return out;
  }
  std::unique_ptr<model::ExpertSource> bind_states(const model::PackedBatch&, const States&) override {
    return nullptr;
  }
  at::Tensor prompt_of(const at::Tensor& prompt) const override { return prompt; }

 private:
  const AttemptRouter& router_;
};

std::unique_ptr<Sessions> AttemptRouter::sessions() const { return std::make_unique<AttemptSessions>(*this); }

}  // namespace quiver::routing
