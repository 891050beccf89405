// SPDX-License-Identifier: Apache-2.0
// The bank: the experts of a library side by side in memory, per site of one base model, at their true ranks.
//
// Immutable after the last `add`; then safe to share between threads. Adding takes no copy of the factors.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "quiver/adapter/adapter.h"
#include "quiver/model/model.h"

namespace quiver::adapter {

class Bank {
 public:
  explicit Bank(const model::LanguageModel& model);

  /// Appends an expert and returns its number. Throws Error{mismatch} naming the site that the model does not have, or
  /// whose shape differs; the bank is then as it was.
  std::int64_t add(const std::string& name, const Adapter& adapter);

  /// A bank over the same model without experts.
  Bank empty_copy() const;

  std::int64_t size() const { return static_cast<std::int64_t>(names_.size()); }
  const std::vector<std::string>& names() const { return names_; }
  /// The number of an expert. Throws Error{usage} with the nearest name.
  std::int64_t number(const std::string& name) const;
  const ops::BankSite& site(std::int64_t site) const { return sites_[static_cast<std::size_t>(site)]; }
  /// True where some expert touches the site.
  bool touches(std::int64_t site) const { return touched_[static_cast<std::size_t>(site)]; }
  const std::vector<model::Site>& model_sites() const { return *model_sites_; }
  /// The expert's weight of a norm, [D]; undefined where it keeps the base model's.
  at::Tensor norm(std::int64_t expert, std::int64_t norm) const;
  bool touches_norms() const { return touches_norms_; }
  /// [m, D]; undefined where the expert has none.
  const at::Tensor& soft_prompt(std::int64_t expert) const { return soft_prompts_[static_cast<std::size_t>(expert)]; }

 private:
  void refuse_unknown(const std::string& name, const Adapter& adapter) const;
  void check_factors(const std::string& name, const model::Site& site, const ops::LoraFactors& f) const;

  const std::vector<model::Site>* model_sites_;
  const std::vector<model::Norm>* model_norms_;
  std::int64_t width_ = 0;  ///< D
  std::vector<std::string> names_;
  std::vector<ops::BankSite> sites_;
  std::vector<bool> touched_;
  std::vector<std::map<std::int64_t, at::Tensor>> norms_;  ///< by expert, then norm
  std::vector<at::Tensor> soft_prompts_;                   ///< by expert
  bool touches_norms_ = false;
};

}  // namespace quiver::adapter
