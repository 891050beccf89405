// SPDX-License-Identifier: Apache-2.0
#include "quiver/adapter/derived.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/einsum.h>
#include <ATen/ops/linalg_vector_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/tanh.h>
#include <c10/core/GradMode.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "quiver/base/error.h"

namespace quiver::adapter {
namespace {

void check(bool right, const std::string& name, const std::string& site, const char* what) {
  QUIVER_CHECK(right, mismatch, "expert " + name, "site '{}': {}", site, what);
}

/// |W + s B A| of each row, [out], without forming B A:
/// |w_i + s b_i A|^2 = |w_i|^2 + 2 s b_i (A w_i) + s^2 b_i (A A^T) b_i^T.
at::Tensor row_norms(const at::Tensor& weight, const ops::LoraFactors& f) {
  const c10::AutoGradMode no_gradient(false);
  const auto w = weight.to(at::kFloat), a = f.a.detach(), b = f.b.detach();
  const auto own = at::linalg_vector_norm(w, 2, at::IntArrayRef{1}).square();
  const auto crossed = (at::linear(w, a) * b).sum(1) * (2.0 * f.scale);
  const auto added = (b.matmul(a.matmul(a.t())) * b).sum(1) * (f.scale * f.scale);
  return (own + crossed + added).clamp_min(0).sqrt();
}

void apply_magnitude(const DerivedSite& own, const model::Site& site, const std::string& name, Adapter& out) {
  const auto found = out.sites.find(site.name);
  check(found != out.sites.end() && own.magnitude.numel() == site.out && found->second.a.size(1) == site.in &&
            found->second.b.size(0) == site.out,
        name, site.name, "a magnitude is for the factors of the same site, one number for each output");
  auto& extras = out.extras[site.name];
  const auto c = own.magnitude.reshape({-1}) / row_norms(site.weight, found->second);
  // Before the adapter's own scale and bias: l (c (W x + s B A x) + base bias) + b.
  const auto& l = extras.output_scale;
  if (site.bias.defined()) {
    const auto kept = (1.0 - c) * site.bias.to(at::kFloat) * (l.defined() ? l : at::ones_like(c));
    extras.bias = extras.bias.defined() ? extras.bias + kept : kept;
  }
  extras.output_scale = l.defined() ? l * c : c;
}

void apply_gains(const Adapter& adapter, const DerivedSite& own, const model::Site& site, const std::string& name,
                 Adapter& out) {
  const auto &a = adapter.shared_a, &b = adapter.shared_b;
  const bool fits = a.defined() && b.defined() && own.output_gains.defined() && a.dim() == 2 && b.dim() == 2 &&
                    a.size(0) == b.size(1) && own.input_gains.numel() == a.size(0) &&
                    own.output_gains.numel() == site.out && a.size(1) >= site.in && b.size(0) >= site.out;
  check(fits, name, site.name, "gains are for shared factors that are as wide as the site");
  out.sites[site.name] = {own.input_gains.unsqueeze(1) * a.narrow(1, 0, site.in),
                          own.output_gains.unsqueeze(1) * b.narrow(0, 0, site.out), 1.0};
}

/// sum_i R_i (x) (L_i M_i), transposed: [n q, n p] from R [n, n, n], L [n, p, r], M [n, r, q].
at::Tensor kronecker_sum(const at::Tensor& rule, const at::Tensor& left, const at::Tensor& right) {
  const auto blocks = at::bmm(left, right);
  return at::einsum("nab,npq->bqap", {rule, blocks})
      .reshape({rule.size(2) * blocks.size(2), rule.size(1) * blocks.size(1)});
}

void apply_rule(const Adapter& adapter, const DerivedSite& own, const model::Site& site, const std::string& name,
                Adapter& out) {
  const auto& rule = adapter.rule;
  const auto n = rule.defined() ? rule.size(0) : 0;
  const auto pair = [&](const at::Tensor& left, const at::Tensor& right) {
    return left.defined() && right.defined() && left.dim() == 3 && right.dim() == 3 && left.size(0) == n &&
           right.size(0) == n && left.size(2) == right.size(1);
  };
  auto& b = out.extras[site.name].bottleneck;
  check(n > 0 && rule.dim() == 3 && b.has_value() && pair(own.down_left, own.down_right) &&
            pair(own.up_left, own.up_right),
        name, site.name, "Compacter's rule [n, n, n] is for factors [n, in / n, r], [n, r, out / n] of a bottleneck");
  b->down = kronecker_sum(rule, own.down_left, own.down_right);
  b->up = kronecker_sum(rule, own.up_left, own.up_right);
}

}  // namespace

at::Tensor PrefixMap::value() const { return at::linear(at::tanh(at::linear(embedding, in, in_bias)), out, out_bias); }

bool derives(const Adapter& adapter) {
  return !adapter.derived.empty() || adapter.prefix_map.embedding.defined() || adapter.task_columns.defined();
}

at::Tensor task_prompt(const Adapter& adapter, std::int64_t task, const std::string& name) {
  const auto &p = adapter.soft_prompt, &u = adapter.task_columns, &v = adapter.task_rows;
  const bool fits = p.defined() && u.defined() && v.defined() && p.dim() == 2 && u.dim() == 3 && v.dim() == 3 &&
                    u.size(0) == v.size(0) && u.size(1) == p.size(0) && u.size(2) == v.size(1) &&
                    v.size(2) == p.size(1);
  QUIVER_CHECK(fits, mismatch, "expert " + name,
               "a prompt of several tasks is [m, D] with columns [K, m, r] and rows [K, r, D]");
  return p * at::mm(u[task], v[task]);
}

Adapter applied(const Adapter& adapter, const std::vector<model::Site>& sites, const std::string& name) {
  auto out = adapter;
  for (const auto& [place, own] : adapter.derived) {
    const auto found = std::find_if(sites.begin(), sites.end(), [&](const auto& s) { return s.name == place; });
    QUIVER_CHECK(found != sites.end(), mismatch, "expert " + name, "site '{}' does not exist in the base model", place);
    if (own.input_gains.defined()) apply_gains(adapter, own, *found, name, out);
    if (own.magnitude.defined()) apply_magnitude(own, *found, name, out);
    if (own.down_left.defined()) apply_rule(adapter, own, *found, name, out);
  }
  if (adapter.prefix_map.embedding.defined()) out.prefix = adapter.prefix_map.value();
  if (adapter.task_columns.defined()) out.soft_prompt = task_prompt(for_new_task(adapter), 0, name);
  out.derived.clear();
  out.prefix_map = {};
  out.task_columns = out.task_rows = at::Tensor();
  return out;
}

}  // namespace quiver::adapter
