// SPDX-License-Identifier: Apache-2.0
#include "quiver/clustering/products_gram.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/triu.h>
#include <ATen/ops/zeros.h>

#include <map>
#include <string>

#include "quiver/base/error.h"

namespace quiver::clustering {
namespace {

constexpr std::int64_t kStackRows = 512;  // of rank: large enough for a fast GEMM, small enough for the caches

/// One expert at one site.
struct Member {
  std::int64_t expert;
  const ops::LoraFactors* factors;
};

/// Consecutive members' factors side by side.
struct Stack {
  at::Tensor a;  // float32 [S, in]
  at::Tensor b;  // float32 [out, S]
  std::vector<Member> members;
  std::vector<std::int64_t> begin;  // first row of each member, and S
};

using Members = std::vector<Member>;

std::map<std::string, Members> members_by_site(const std::vector<const adapter::Adapter*>& experts) {
  std::map<std::string, Members> out;
  for (std::size_t e = 0; e < experts.size(); ++e) {
    for (const auto& [site, factors] : experts[e]->sites) {
      auto& members = out[site];
      members.push_back({static_cast<std::int64_t>(e), &factors});
      const auto& first = *members[0].factors;
      QUIVER_CHECK(factors.a.size(1) == first.a.size(1) && factors.b.size(0) == first.b.size(0), mismatch, site,
                   "experts with in {}, out {} and in {}, out {} are not of one base model", first.a.size(1),
                   first.b.size(0), factors.a.size(1), factors.b.size(0));
    }
  }
  return out;
}

/// Cuts members into runs of at most kStackRows rows, though never an expert.
std::vector<Members> portions(const Members& members) {
  std::vector<Members> out;
  std::int64_t rows = 0;
  for (const auto& member : members) {
    const auto rank = member.factors->a.size(0);
    if (out.empty() || rows + rank > kStackRows) {
      out.emplace_back();
      rows = 0;
    }
    out.back().push_back(member);
    rows += rank;
  }
  return out;
}

Stack stack_of(const Members& members) {
  Stack out{{}, {}, members, {0}};
  std::vector<at::Tensor> a, b;
  for (const auto& [expert, factors] : members) {
    a.push_back(factors->a.detach().to(at::kFloat));
    b.push_back(factors->b.detach().to(at::kFloat));
    out.begin.push_back(out.begin.back() + factors->a.size(0));
  }
  out.a = at::cat(a, 0);
  out.b = at::cat(b, 1);
  return out;
}

/// Adds the products of each expert of one stack with each of the other.
void add_products(const Stack& one, const Stack& other, at::TensorAccessor<double, 2> gram) {
  const auto aa = at::mm(one.a, other.a.t()), bb = at::mm(one.b.t(), other.b);
  const auto columns = aa.size(1);
  at::parallel_for(0, static_cast<std::int64_t>(one.members.size()), 1, [&](std::int64_t first, std::int64_t last) {
    const float *a = aa.const_data_ptr<float>(), *b = bb.const_data_ptr<float>();
    for (auto i = static_cast<std::size_t>(first); i < static_cast<std::size_t>(last); ++i) {
      auto row = gram[one.members[i].expert];
      for (std::size_t j = 0; j < other.members.size(); ++j) {
        double sum = 0.0;
        for (auto p = one.begin[i]; p < one.begin[i + 1]; ++p) {
          for (auto q = other.begin[j]; q < other.begin[j + 1]; ++q) {
            sum += static_cast<double>(a[p * columns + q]) * static_cast<double>(b[p * columns + q]);
          }
        }
        row[other.members[j].expert] += one.members[i].factors->scale * other.members[j].factors->scale * sum;
      }
    }
  });
}

}  // namespace

at::Tensor products_gram(const std::vector<const adapter::Adapter*>& experts, Progress* progress) {
  const auto n = static_cast<std::int64_t>(experts.size());
  const auto gram = at::zeros({n, n}, at::kDouble);
  const auto by_site = members_by_site(experts);
  std::uint64_t done = 0;
  for (const auto& [site, members] : by_site) {
    if (progress) progress->update("compare experts", done++, by_site.size(), "");
    const auto cut = portions(members);
    for (std::size_t i = 0; i < cut.size(); ++i) {
      const auto one = stack_of(cut[i]);
      add_products(one, one, gram.accessor<double, 2>());
      for (std::size_t j = i + 1; j < cut.size(); ++j) add_products(one, stack_of(cut[j]), gram.accessor<double, 2>());
    }
  }
  if (progress) progress->finish();
  return gram.triu() + gram.triu(1).t();
}

}  // namespace quiver::clustering
