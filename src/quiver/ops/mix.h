// SPDX-License-Identifier: Apache-2.0
// A mix: for each token at a site, the (expert, weight) pairs that apply.
//
// Every mode of applying experts is one of these. Base: no pairs. One adapter: one pair of weight 1 a token. A fixed
// composition: the same pairs for each token. Oracle: one pair a row. Arrow: the top k of each token. A token's pairs
// depend on that token alone, never on its neighbours.
//
// Pairs are stored by expert, because compute goes expert by expert: group g holds entries [first_entry,
// first_entry+count). A group either covers a contiguous range of tokens (first_token >= 0) or names its tokens in
// `tokens_of_entries`.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace quiver::ops {

struct MixGroup {
  std::int64_t expert = 0;
  std::int64_t first_entry = 0;
  std::int64_t count = 0;
  std::int64_t first_token = -1;  ///< >= 0: the group is tokens [first_token, first_token + count)
};

struct Mix {
  std::int64_t tokens = 0;
  std::vector<MixGroup> groups;
  at::Tensor tokens_of_entries;  ///< int64 [N]; undefined where every group is contiguous
  at::Tensor weights;            ///< float32 [N], may require a gradient; undefined: every weight is 1
  bool empty() const { return groups.empty(); }
};

using ExpertWeight = std::pair<std::int64_t, float>;

/// The pairs shared by tokens [begin, begin + count): one row of a packed batch.
struct RowMix {
  std::int64_t begin = 0;
  std::int64_t count = 0;
  std::vector<ExpertWeight> pairs;
};

/// Rows that each have their own constant pairs. Rows must not overlap; tokens outside every row get no expert.
Mix mix_of_rows(std::int64_t tokens, const std::vector<RowMix>& rows);

/// Every token mixes the same pairs.
Mix constant_mix(std::int64_t tokens, const std::vector<ExpertWeight>& pairs);

struct TopK {
  std::int64_t k = 3;        ///< experts kept per token; <= 0 or >= E keeps all
  double temperature = 1.0;  ///< scores are divided by it before the softmax, > 0
  double p = 1.0;  ///< below 1: of those, the fewest best whose weights reach p together, and these weighted anew
  bool share_of_all = false;  ///< the softmax is over all experts, so that those kept do not reach 1 together
};

/// The k best scores of each token with softmax weights over those kept (selection first, then softmax). Ties go to the
/// lower expert number. A score of minus infinity is never kept: a token may have fewer pairs, or none. scores: float32
/// [T, E]. Gradients reach the scores where they require one; else a kernel selects.
Mix top_k_mix(const at::Tensor& scores, const TopK& options);

/// Dense weights [T, E] as a mix, keeping entries that are not zero; gradients reach `weights`.
Mix mix_of_dense(const at::Tensor& weights);

/// The mix as dense weights, float32 [T, experts]: for tests, traces and pictures.
at::Tensor dense_weights(const Mix& mix, std::int64_t experts);

}  // namespace quiver::ops
