// SPDX-License-Identifier: Apache-2.0
#include "quiver/ops/recompute.h"

#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

namespace quiver::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;
using Part = std::function<at::Tensor(const at::Tensor&)>;

struct PartHolder : torch::CustomClassHolder {
  explicit PartHolder(Part p) : part(std::move(p)) {}
  Part part;
};

struct Recomputed : torch::autograd::Function<Recomputed> {
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, const Part& part) {
    context->save_for_backward({x});
    context->saved_data["part"] = c10::IValue::make_capsule(c10::make_intrusive<PartHolder>(part));
    return part(x);
  }
  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto holder = c10::static_intrusive_pointer_cast<PartHolder>(context->saved_data["part"].toCapsule());
    const c10::AutoGradMode with_gradient(true);
    auto x = context->get_saved_variables()[0].detach();
    x.set_requires_grad(true);
    // What leads to the tensors that the part uses may be shared with other parts, whose backward passes need it too.
    torch::autograd::backward({holder->part(x)}, {gradients[0]}, /*retain_graph=*/true);
    return {x.grad(), {}};
  }
};

}  // namespace

at::Tensor recomputed(const std::function<at::Tensor(const at::Tensor&)>& part, const at::Tensor& x) {
  return Recomputed::apply(x, part);
}

}  // namespace quiver::ops
