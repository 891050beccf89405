// SPDX-License-Identifier: Apache-2.0
// Sites and norms, and where the model gets their experts from.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "quiver/ops/apply_experts.h"

namespace quiver::model {

/// What a linear map gives, in an attention or a feed-forward block.
enum class Role {
  query,
  key,
  value,
  attention_output,
  gate,  ///< what goes through the activation and multiplies `up`
  up,    ///< the wide states; through the activation itself where the block has no gate
  down,  ///< the feed-forward block's output
};

/// One linear map of the base model that an adapter may attach to.
struct Site {
  std::string name;  ///< Hugging Face module path: model.layers.3.self_attn.q_proj
  std::int64_t in = 0;
  std::int64_t out = 0;
  std::int64_t layer = 0;
  std::int64_t block = 0;  ///< attention, cross-attention or feed-forward block, numbered through the model
  Role role = Role::query;
  at::Tensor weight = {};  ///< the base model's, [out, in]
  at::Tensor bias = {};    ///< [out], or undefined
};

/// One norm of the base model, whose weight an adapter may replace.
struct Norm {
  std::string name;  ///< Hugging Face module path: model.layers.3.input_layernorm
  std::int64_t width = 0;
  std::int64_t layer = 0;
  at::Tensor weight = {};  ///< float32 [D]: the base model's
};

/// A site's columns in a (possibly fused) weight.
struct SiteColumns {
  std::int64_t site = 0;  ///< number in Model::sites()
  std::int64_t begin = 0;
  std::int64_t count = 0;
};

/// What experts do to one batch: low-rank terms at the sites of a linear map, then whatever else they make of its
/// output, and the weights of norms. The model calls it and does not know where it comes from.
class ExpertSource {
 public:
  virtual ~ExpertSource() = default;
  /// `sites` share the input x [T, in]. Sites without experts may be left out.
  virtual std::vector<ops::SiteUse> at(const std::vector<SiteColumns>& sites, const at::Tensor& x) = 0;
  /// The output of the linear map [T, out], the terms of `at` included, as it goes on; `y` may be changed in place.
  virtual at::Tensor finish(const std::vector<SiteColumns>& /*sites*/, const at::Tensor& /*x*/, at::Tensor y) {
    return y;
  }
  /// The weight of norm `number`: [D], or [T, D] where rows differ.
  virtual at::Tensor norm(std::int64_t /*number*/, const at::Tensor& weight) { return weight; }
  /// A decoder-only layer's keys (rotated) and values [T, K, d] of the batch's own tokens, to be changed.
  virtual void keys_values(std::int64_t /*layer*/, at::Tensor& /*keys*/, at::Tensor& /*values*/) {}
  /// An encoder-decoder's: what stands before the answer of the batch's row, [m, layers that answer, 2, K, d], keys and
  /// values; undefined: nothing.
  virtual at::Tensor before_answer(std::size_t /*row*/) { return {}; }
};

/// Passes everything on to another source (null: the base model), for those that listen, or change one part. The other
/// must outlive it.
class PassingOn : public ExpertSource {
 public:
  explicit PassingOn(ExpertSource* source) : source_(source) {}
  std::vector<ops::SiteUse> at(const std::vector<SiteColumns>& sites, const at::Tensor& x) override {
    return source_ ? source_->at(sites, x) : std::vector<ops::SiteUse>{};
  }
  at::Tensor finish(const std::vector<SiteColumns>& sites, const at::Tensor& x, at::Tensor y) override {
    return source_ ? source_->finish(sites, x, std::move(y)) : y;
  }
  at::Tensor norm(std::int64_t number, const at::Tensor& weight) override {
    return source_ ? source_->norm(number, weight) : weight;
  }
  void keys_values(std::int64_t layer, at::Tensor& keys, at::Tensor& values) override {
    if (source_) source_->keys_values(layer, keys, values);
  }
  at::Tensor before_answer(std::size_t row) override { return source_ ? source_->before_answer(row) : at::Tensor(); }

 private:
  ExpertSource* source_;
};

}  // namespace quiver::model
