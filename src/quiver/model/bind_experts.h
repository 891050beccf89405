// SPDX-License-Identifier: Apache-2.0
// What experts do to some requests: experts for each pass over them, and vectors that their prompts begin with.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include "quiver/model/experts.h"
#include "quiver/model/packed_batch.h"

namespace quiver::model {

class BindExperts {
 public:
  /// Experts for a pass over `batch`, whose row i is request requests[i]; null: the base model.
  using Bind =
      std::function<std::unique_ptr<ExpertSource>(const PackedBatch& batch, const std::vector<std::size_t>& requests)>;

  /// The base model.
  BindExperts(std::nullptr_t = nullptr) {}
  template <typename F>
  requires(!std::is_same_v<std::decay_t<F>, BindExperts>) BindExperts(F bind, std::vector<at::Tensor> soft_prompts = {})
      : bind_(std::move(bind)), soft_prompts_(std::move(soft_prompts)) {}

  explicit operator bool() const { return static_cast<bool>(bind_); }
  std::unique_ptr<ExpertSource> operator()(const PackedBatch& batch, const std::vector<std::size_t>& requests) const {
    return bind_ ? bind_(batch, requests) : nullptr;
  }
  /// [m, D]: read before the request's prompt; undefined: nothing.
  at::Tensor soft_prompt(std::size_t request) const {
    return request < soft_prompts_.size() ? soft_prompts_[request] : at::Tensor();
  }
  const std::vector<at::Tensor>& soft_prompts() const { return soft_prompts_; }

 private:
  Bind bind_;
  std::vector<at::Tensor> soft_prompts_;
};

/// The base model over prompts that begin with these vectors.
inline BindExperts prompts_alone(std::vector<at::Tensor> soft_prompts) {
  return {[](const PackedBatch&, const std::vector<std::size_t>&) { return std::unique_ptr<ExpertSource>(); },
          std::move(soft_prompts)};
}

}  // namespace quiver::model
