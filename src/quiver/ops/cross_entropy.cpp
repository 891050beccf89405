// SPDX-License-Identifier: Apache-2.0
#include "quiver/ops/cross_entropy.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/amax.h>
#include <ATen/ops/argmax.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>

namespace quiver::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct HeadCrossEntropy : torch::autograd::Function<HeadCrossEntropy> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& hidden, const at::Tensor& head,
                            const at::Tensor& labels, const at::Tensor& weights, std::int64_t chunk) {
    auto loss = at::zeros({}, at::kDouble);
    auto gradient = at::empty_like(hidden);
    const bool whole = head.requires_grad();
    auto of_head = whole ? at::zeros(head.sizes(), head.options().requires_grad(false)) : at::Tensor();
    for (std::int64_t begin = 0; begin < hidden.size(0); begin += chunk) {
      const auto n = std::min(chunk, hidden.size(0) - begin);
      auto logits = at::linear(hidden.narrow(0, begin, n), head).to(at::kFloat);
      const auto label = labels.narrow(0, begin, n).unsqueeze(1);
      const auto weight = weights.narrow(0, begin, n).unsqueeze(1);
      const auto largest = at::amax(logits, {1}, true), of_label = logits.gather(1, label);
      const auto sum = logits.sub_(largest).exp_().sum(1, true);
      loss += ((sum.log() + largest - of_label) * weight).sum().to(at::kDouble);
      logits.mul_(weight / sum).scatter_add_(1, label, weight.neg());  // becomes d loss / d logits
      const auto of_logits = logits.to(head.scalar_type());
      gradient.narrow(0, begin, n).copy_(at::mm(of_logits, head));
      if (whole) of_head.addmm_(of_logits.t(), hidden.narrow(0, begin, n));
    }
    context->save_for_backward({gradient, of_head});
    return loss.to(at::kFloat);
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const auto factor = gradients[0].to(saved[0].scalar_type());
    return {saved[0] * factor, saved[1].defined() ? saved[1] * factor : at::Tensor(), {}, {}, {}};
  }
};

}  // namespace

at::Tensor head_cross_entropy(const at::Tensor& hidden, const at::Tensor& head, const at::Tensor& labels,
                              const at::Tensor& weights, std::int64_t chunk) {
  const bool differentiates = c10::GradMode::is_enabled() && (hidden.requires_grad() || head.requires_grad());
  if (!differentiates) return head_log_likelihood(hidden, head, labels, nullptr, chunk).mul_(weights).sum().neg_();
  return HeadCrossEntropy::apply(hidden, head, labels, weights, chunk);
}

at::Tensor head_log_likelihood(const at::Tensor& hidden, const at::Tensor& head, const at::Tensor& labels,
                               at::Tensor* greedy, std::int64_t chunk) {
  const c10::AutoGradMode no_gradient(false);
  auto out = at::empty({hidden.size(0)}, at::kFloat);
  if (greedy) *greedy = at::empty({hidden.size(0)}, at::kBool);
  for (std::int64_t begin = 0; begin < hidden.size(0); begin += chunk) {
    const auto n = std::min(chunk, hidden.size(0) - begin);
    const auto logits = at::linear(hidden.narrow(0, begin, n), head).to(at::kFloat);
    const auto label = labels.narrow(0, begin, n);
    out.narrow(0, begin, n).copy_(logits.gather(1, label.unsqueeze(1)).squeeze(1) - at::logsumexp(logits, {1}));
    if (greedy) greedy->narrow(0, begin, n).copy_(at::argmax(logits, 1).eq(label));
  }
  return out;
}

}  // namespace quiver::ops
