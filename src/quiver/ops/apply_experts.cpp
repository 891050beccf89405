// SPDX-License-Identifier: Apache-2.0
#include "quiver/ops/apply_experts.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/index_add.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <c10/core/GradMode.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <type_traits>

#include "quiver/base/error.h"
#include "quiver/kernels/scatter_rows.h"
#include "quiver/ops/expert_pieces.h"
#include "quiver/ops/kernel_sweep.h"

namespace quiver::ops {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

void check(const at::Tensor& x, const at::Tensor& y, const std::vector<SiteUse>& sites) {
  QUIVER_CHECK(x.dim() == 2 && y.dim() == 2 && x.size(0) == y.size(0), mismatch, "apply_experts",
               "expected x [T, in] and y [T, out] of the same T, got {} and {} dimensions", x.dim(), y.dim());
  for (const auto& site : sites) {
    QUIVER_CHECK(site.mix->tokens == x.size(0), mismatch, "apply_experts", "the mix is for {} tokens, x has {}",
                 site.mix->tokens, x.size(0));
    QUIVER_CHECK(site.out_begin >= 0 && site.out_begin + site.out_count <= y.size(1), mismatch, "apply_experts",
                 "columns [{}, {}) of y, which has {}", site.out_begin, site.out_begin + site.out_count, y.size(1));
    for (const auto& group : site.mix->groups) {
      QUIVER_CHECK(group.expert >= 0 && group.expert < static_cast<std::int64_t>(site.bank->experts.size()), mismatch,
                   "apply_experts", "expert {} of a bank of {}", group.expert, site.bank->experts.size());
      const auto& f = site.bank->experts[static_cast<std::size_t>(group.expert)];
      QUIVER_CHECK(
          !f.a.defined() || (f.a.size(1) == x.size(1) && f.b.size(0) == site.out_count && f.a.size(0) == f.b.size(1)),
          mismatch, "apply_experts", "expert {}: A [{}, {}] and B [{}, {}] do not fit in {} and out {}", group.expert,
          f.a.size(0), f.a.size(1), f.b.size(0), f.b.size(1), x.size(1), site.out_count);
    }
  }
}

at::Tensor entry_tokens(const Piece& p) {
  return p.site->mix->tokens_of_entries.narrow(0, p.group->first_entry, p.group->count);
}

/// Rows of `all` that the group covers: a view where they are contiguous.
at::Tensor gather(const at::Tensor& all, const Piece& p) {
  if (p.group->first_token >= 0) return all.narrow(0, p.group->first_token, p.group->count);
  return at::index_select(all, 0, entry_tokens(p));
}

/// all[tokens, :] += rows, where no token is named twice. ATen's index_add_ goes row by row through its general
/// machinery, which took half of a routed forward pass.
void scatter_add(at::Tensor all, const at::Tensor& tokens, const at::Tensor& rows) {
  const bool plain = all.is_cpu() && all.stride(1) == 1 && rows.is_contiguous();
  const auto dtype = all.scalar_type();
  if (!plain || (dtype != at::kFloat && dtype != at::kBFloat16)) {
    all.index_add_(0, tokens, rows);
    return;
  }
  const auto* named = tokens.const_data_ptr<std::int64_t>();
  const auto columns = rows.size(1);
  at::parallel_for(0, rows.size(0), 32, [&](std::int64_t begin, std::int64_t end) {
    const auto run = [&](auto* to, const auto* from) {
      using To = std::remove_pointer_t<decltype(to)>;
      kernels::scatter_add_rows(kernels::RowsOf<To>{to, all.stride(0)}, kernels::RowsOf<const To>{from, columns}, named,
                                begin, end, columns);
    };
    if (dtype == at::kFloat) {
      run(static_cast<float*>(all.data_ptr()), static_cast<const float*>(rows.const_data_ptr()));
    } else {
      run(static_cast<std::uint16_t*>(all.data_ptr()), static_cast<const std::uint16_t*>(rows.const_data_ptr()));
    }
  });
}

/// all[rows of the group] += u v for u [n, R], v [R, columns].
void scatter_product(at::Tensor all, const Piece& p, const at::Tensor& u, const at::Tensor& v) {
  if (p.group->first_token >= 0) {
    all.narrow(0, p.group->first_token, p.group->count).addmm_(u, v);
  } else {
    scatter_add(all, entry_tokens(p), at::mm(u, v));
  }
}

/// Weight times scale of each entry as a column [n, 1] of `dtype`; undefined where it is the same for all (see
/// `factor`).
at::Tensor entry_weights(const Piece& p, at::ScalarType dtype) {
  const auto& weights = p.site->mix->weights;
  if (!weights.defined()) return {};
  return weights.detach().narrow(0, p.group->first_entry, p.group->count).mul(p.factors->scale).to(dtype).unsqueeze(1);
}

at::Tensor scaled(const at::Tensor& h, const Piece& p) {
  const auto weights = entry_weights(p, h.scalar_type());
  if (weights.defined()) return h * weights;
  return p.factors->scale == 1.0 ? h : h * p.factors->scale;
}

at::Tensor columns(const at::Tensor& y, const SiteUse& site) { return y.narrow(1, site.out_begin, site.out_count); }

at::Tensor site_input(const at::Tensor& x, const SiteUse& site) {
  return site.dropout.active() ? x * dropout_mask(site.dropout, x) : x;
}

/// y += for every piece. `hidden` (A x of each piece, before weight and scale) is kept where not null.
void add_outputs(const at::Tensor& x, const at::Tensor& y, const std::vector<SiteUse>& sites,
                 std::vector<at::Tensor>* hidden) {
  const SiteUse* current = nullptr;
  at::Tensor input;
  for_each_piece(sites, [&](const Piece& p) {
    if (p.site != current) input = site_input(x, *(current = p.site));
    const auto h = at::mm(gather(input, p), p.factors->a.detach().to(x.scalar_type()).t());
    if (hidden) hidden->push_back(h);
    scatter_product(columns(y, *p.site), p, scaled(h, p), p.factors->b.detach().to(x.scalar_type()).t());
  });
}

struct Plan {
  std::vector<SiteUse> sites;
  bool weights_need_gradient = false;
};

/// y += sum w s B (A x), with the gradient written out: it saves x and the small A x only.
struct ApplyOutputs : torch::autograd::Function<ApplyOutputs> {
  /// `parameters`: per piece A, B, then per site the mix's weights where they need a gradient.
  static at::Tensor forward(AutogradContext* context, const at::Tensor& x, at::Tensor y, at::TensorList parameters,
                            const std::shared_ptr<Plan>& plan) {
    std::vector<at::Tensor> saved{x};
    add_outputs(x, y, plan->sites, &saved);
    context->mark_dirty({y});
    context->save_for_backward(std::move(saved));
    context->saved_data["parameters"] = static_cast<std::int64_t>(parameters.size());
    context->saved_data["x_needs_gradient"] = x.requires_grad();
    plan_of(context) = plan;
    return y;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto& plan = *plan_of(context);
    const auto saved = context->get_saved_variables();
    const auto& x = saved[0];
    const auto gy = gradients[0].contiguous();
    const bool need_gx = context->saved_data["x_needs_gradient"].toBool();
    variable_list out{need_gx ? at::zeros_like(x) : at::Tensor(), gy};
    std::vector<at::Tensor> weight_gradients(plan.sites.size());
    std::size_t index = 1;
    Input input(x);
    for_each_piece(plan.sites, [&](const Piece& p) {
      input.move_to(p.site, out[0], need_gx);
      const auto& h = saved[index++];
      const auto dtype = h.scalar_type();
      const auto g = gather(columns(gy, *p.site), p);
      const auto gb_in = scaled(h, p);
      const auto g_hidden = at::mm(g, p.factors->b.detach().to(dtype));  // before weight and scale
      if (p.site->mix->weights.defined() && p.site->mix->weights.requires_grad()) {
        auto& all = weight_gradients[static_cast<std::size_t>(p.site - plan.sites.data())];
        if (!all.defined()) all = at::zeros_like(p.site->mix->weights);
        all.narrow(0, p.group->first_entry, p.group->count)
            .copy_((g_hidden * h).to(at::kFloat).sum(1).mul_(p.factors->scale));
      }
      const auto gh = scaled(g_hidden, p);
      const bool factors_need = p.factors->a.requires_grad() || p.factors->b.requires_grad();
      out.push_back(factors_need ? at::mm(gh.t(), gather(input.value, p)).to(p.factors->a.scalar_type())
                                 : at::Tensor());
      out.push_back(factors_need ? at::mm(g.t(), gb_in).to(p.factors->b.scalar_type()) : at::Tensor());
      if (need_gx) scatter_product(input.gradient, p, gh, p.factors->a.detach().to(dtype));
    });
    input.move_to(nullptr, out[0], need_gx);
    for (std::size_t s = 0; s < plan.sites.size(); ++s) {
      if (weight_gradients[s].defined()) out.push_back(weight_gradients[s]);
    }
    out.resize(2 + static_cast<std::size_t>(context->saved_data["parameters"].toInt()) + 1);
    return out;
  }

 private:
  /// x of the site at hand after its dropout, and the gradient collected for it.
  struct Input {
    explicit Input(const at::Tensor& x) : x(x) {}
    const at::Tensor& x;
    const SiteUse* site = nullptr;
    at::Tensor mask, value, gradient;

    void move_to(const SiteUse* next, at::Tensor& gx, bool need_gx) {
      if (next == site) return;
      if (site && need_gx && mask.defined()) gx.add_(gradient * mask);
      site = next;
      if (!next) return;
      mask = next->dropout.active() ? dropout_mask(next->dropout, x) : at::Tensor();
      value = mask.defined() ? x * mask : x;
      gradient = !need_gx ? at::Tensor() : mask.defined() ? at::zeros_like(x) : gx;
    }
  };

  struct Holder : torch::CustomClassHolder {
    std::shared_ptr<Plan> plan;
  };
  static std::shared_ptr<Plan>& plan_of(AutogradContext* context) {
    auto& slot = context->saved_data["plan"];
    if (slot.isNone()) slot = c10::IValue::make_capsule(c10::make_intrusive<Holder>());
    return c10::static_intrusive_pointer_cast<Holder>(slot.toCapsule())->plan;
  }
};

/// Tensors of `sites` that may need a gradient, in the order ApplyOutputs names.
std::vector<at::Tensor> parameters_of(const std::vector<SiteUse>& sites) {
  std::vector<at::Tensor> out;
  for_each_piece(sites, [&](const Piece& p) {
    out.push_back(p.factors->a);
    out.push_back(p.factors->b);
  });
  for (const auto& site : sites) {
    if (site.mix->weights.defined() && site.mix->weights.requires_grad()) out.push_back(site.mix->weights);
  }
  return out;
}

/// combine = outputs or factors of one site by differentiable calls: what is added to columns of y.
at::Tensor site_term(const at::Tensor& x, const SiteUse& site) {
  const auto dtype = x.scalar_type();
  const auto input = site_input(x, site);
  auto out = at::zeros({x.size(0), site.out_count}, x.options());
  const auto weights = [&](const Piece& p) {
    const auto& all = site.mix->weights;
    return all.defined() ? all.narrow(0, p.group->first_entry, p.group->count).unsqueeze(1).to(dtype) : at::Tensor();
  };
  const auto tokens = [&](const Piece& p) {
    if (p.group->first_token < 0) return entry_tokens(p);
    return at::arange(p.group->first_token, p.group->first_token + p.group->count, at::kLong);
  };
  const auto weighted = [&](const at::Tensor& h, const Piece& p) {
    const auto w = weights(p);
    return w.defined() ? h * w : h;
  };
  const std::vector<SiteUse> one{site};
  if (site.combine == Combine::outputs) {
    for_each_piece(one, [&](const Piece& p) {
      const auto h = at::matmul(input.index_select(0, tokens(p)), p.factors->a.to(dtype).t());
      out = out.index_add(0, tokens(p), weighted(at::matmul(h, p.factors->b.to(dtype).t()), p) * p.factors->scale);
    });
    return out;
  }
  std::int64_t rank = 0;
  for_each_piece(one, [&](const Piece& p) { rank = std::max(rank, p.factors->a.size(0)); });
  auto u = at::zeros({x.size(0), rank}, x.options());
  for_each_piece(one, [&](const Piece& p) {
    const auto h = weighted(at::matmul(input.index_select(0, tokens(p)), p.factors->a.to(dtype).t()), p);
    u = u.index_add(0, tokens(p), at::constant_pad_nd(h, {0, rank - h.size(1)}));
  });
  for_each_piece(one, [&](const Piece& p) {
    const auto h = u.index_select(0, tokens(p)).narrow(1, 0, p.factors->a.size(0));
    out = out.index_add(0, tokens(p), weighted(at::matmul(h, p.factors->b.to(dtype).t()), p) * p.factors->scale);
  });
  return out;
}

}  // namespace

namespace {

at::Tensor add_factors_reference(const at::Tensor& x, const at::Tensor& y, const std::vector<SiteUse>& sites) {
  auto out = y;
  for (const auto& site : sites) {
    const auto term = site_term(x, site);
    out = out + at::constant_pad_nd(term, {site.out_begin, y.size(1) - site.out_begin - site.out_count});
  }
  return out;
}

}  // namespace

at::Tensor apply_experts_reference(const at::Tensor& x, const at::Tensor& y, const std::vector<SiteUse>& sites) {
  check(x, y, sites);
  const auto out = add_factors_reference(x, y, sites);
  return has_extras(sites) ? apply_extras(x, out, sites) : out;
}

namespace {

at::Tensor add_factors(const at::Tensor& x, at::Tensor y, const std::vector<SiteUse>& sites) {
  const bool factors =
      std::any_of(sites.begin(), sites.end(), [](const auto& s) { return s.combine == Combine::factors; });
  if (factors) return add_factors_reference(x, y, sites);
  if (!c10::GradMode::is_enabled()) {
    if (!add_outputs_by_kernels(x, y, sites)) add_outputs(x, y, sites, nullptr);
    return y;
  }
  auto plan = std::make_shared<Plan>();
  plan->sites = sites;
  const auto parameters = parameters_of(plan->sites);
  return ApplyOutputs::apply(x, y, at::TensorList(parameters), plan);
}

}  // namespace

at::Tensor apply_experts(const at::Tensor& x, at::Tensor y, const std::vector<SiteUse>& sites) {
  const bool any = std::any_of(sites.begin(), sites.end(), [](const auto& site) { return !site.mix->empty(); });
  if (!any) return y;
  check(x, y, sites);
  y = add_factors(x, std::move(y), sites);
  return has_extras(sites) ? apply_extras(x, y, sites) : y;
}

}  // namespace quiver::ops
