// SPDX-License-Identifier: Apache-2.0
// The bank: the experts of a library side by side in memory, per site of one base model, at their true ranks.
//
// Immutable after the last `add`; then safe to share between threads. Adding takes no copy of the factors.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "quiver/adapter/adapter.h"
#include "quiver/adapter/traits.h"
#include "quiver/model/model.h"

namespace quiver::adapter {

class Bank {
 public:
  explicit Bank(const model::Model& model);

  /// Appends an expert and returns its number. Throws Error{mismatch} naming the site that the model does not have, or
  /// whose shape differs; the bank is then as it was.
  std::int64_t add(const std::string& name, const Adapter& adapter);

  /// A bank over the same model without experts.
  Bank empty_copy() const;
  /// The same experts, with what is worked out (derived.h) from tensors that require a gradient worked out anew: for
  /// each pass of training. The bank itself where there is nothing of the kind.
  static std::shared_ptr<const Bank> renewed(const std::shared_ptr<const Bank>& bank);

  std::int64_t size() const { return static_cast<std::int64_t>(names_.size()); }
  const std::vector<std::string>& names() const { return names_; }
  /// The number of an expert. Throws Error{usage} with the nearest name.
  std::int64_t number(const std::string& name) const;
  /// What the expert is made of as it is applied, and its kinds by name.
  Traits traits(std::int64_t expert) const { return traits_[static_cast<std::size_t>(expert)]; }
  const std::set<std::string>& kinds(std::int64_t expert) const { return kinds_[static_cast<std::size_t>(expert)]; }
  /// Throws Error{unsupported} naming the first expert that has what is not honoured.
  void require(const Honours& honours) const;
  /// The expert as it is applied; handles, not copies.
  Adapter expert(std::int64_t expert) const;

  const ops::BankSite& site(std::int64_t site) const { return sites_[static_cast<std::size_t>(site)]; }
  /// True where some expert touches the site.
  bool touches(std::int64_t site) const { return touched_[static_cast<std::size_t>(site)]; }
  /// True where the expert does, by factors, scales, a bias or a bottleneck.
  bool touches(std::int64_t site, std::int64_t expert) const;
  const std::vector<model::Site>& model_sites() const { return model_.sites(); }
  /// The expert's weight of a norm, [D]; undefined where it keeps the base model's.
  at::Tensor norm(std::int64_t expert, std::int64_t norm) const;
  bool touches_norms() const { return touches_norms_; }
  /// True where the expert has a bottleneck at this site that reads what the site's block reads.
  bool reads_block(std::int64_t site) const { return reads_block_[static_cast<std::size_t>(site)]; }
  /// The first site of the block (attention or feed-forward) that the site belongs to.
  std::int64_t block_start(std::int64_t site) const { return block_start_[static_cast<std::size_t>(site)]; }
  /// [m, layers, 2, K, d]: keys and values before the prompt, in an encoder-decoder before the answer, of the layers
  /// that write it; undefined where the expert has none.
  const at::Tensor& prefix(std::int64_t expert) const { return prefixes_[static_cast<std::size_t>(expert)]; }
  bool has_prefixes() const;
  bool prefixes_start_answers() const { return model_.config().encoder_decoder() && has_prefixes(); }
  /// [m, D]: the tokens before the prompt, zeros where a prefix of keys and values takes their places; undefined where
  /// the expert has none.
  const at::Tensor& soft_prompt(std::int64_t expert) const { return soft_prompts_[static_cast<std::size_t>(expert)]; }
  /// True where the expert has vectors, keys or values of either kind, which cannot be mixed with another's.
  bool reads_before_prompt(std::int64_t expert) const {
    return soft_prompt(expert).defined() || prefix(expert).defined();
  }

 private:
  void refuse_unknown(const std::string& name, const Adapter& adapter) const;
  void put(std::size_t number, const std::string& name, const Adapter& adapter);
  void put_vectors(std::size_t number, const std::string& name, const Adapter& adapter);
  void check_factors(const std::string& name, const model::Site& site, const ops::LoraFactors& f) const;

  model::Model model_;
  std::vector<std::string> names_;
  std::vector<ops::BankSite> sites_;
  std::vector<bool> touched_;
  std::vector<Traits> traits_;                             ///< by expert
  std::vector<std::set<std::string>> kinds_;               ///< by expert
  std::vector<std::map<std::int64_t, at::Tensor>> norms_;  ///< by expert, then norm
  std::vector<at::Tensor> soft_prompts_, prefixes_;        ///< by expert
  std::vector<std::int64_t> block_start_;                  ///< by site
  std::vector<bool> reads_block_;                          ///< by site
  std::map<std::size_t, Adapter> live_;                    ///< what `renewed` starts from, by expert
  bool touches_norms_ = false;
};

}  // namespace quiver::adapter
