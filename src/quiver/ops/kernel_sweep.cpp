// SPDX-License-Identifier: Apache-2.0
#include "quiver/ops/kernel_sweep.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include <algorithm>

#include "quiver/kernels/table.h"
#include "quiver/ops/expert_pieces.h"
#include "quiver/ops/kernel_dispatch.h"

namespace quiver::ops {
namespace {

bool all_served(const at::Tensor& x, const at::Tensor& y, const std::vector<SiteUse>& sites) {
  bool served = kernels_serve(x) && kernels_serve(y) && x.scalar_type() == y.scalar_type();
  for (const auto& site : sites) served = served && !site.dropout.active();
  for_each_piece(sites, [&](const Piece& p) {
    served = served && kernels_serve(p.factors->a) && kernels_serve(p.factors->b) && p.factors->b.is_contiguous() &&
             p.factors->a.scalar_type() == p.factors->b.scalar_type();
  });
  return served;
}

/// All sites of one input in two parallel sweeps, without gathering rows or writing a product per expert: first every
/// A x, in portions of tokens, then every B h, in portions of columns.
class KernelSweep {
 public:
  KernelSweep(const at::Tensor& x, const at::Tensor& y, const std::vector<SiteUse>& sites)
      : x_(x), y_(y), sites_(sites) {
    std::int64_t floats = 0;
    for_each_piece(sites, [&](const Piece& p) {
      offsets_.push_back(floats);
      floats += p.group->count * p.factors->a.size(0);
      pieces_.push_back(p);
    });
    hidden_ = at::empty({floats}, at::kFloat);
  }

  void run() {
    with_element(x_.scalar_type(), [&](auto element) {
      enter_factors<decltype(element)>();
      leave_factors<decltype(element)>();
    });
  }

 private:
  static constexpr std::int64_t kTokensAtOnce = 64, kColumnsAtOnce = 64;

  static kernels::RowList rows(const Piece& p) {
    if (p.group->first_token >= 0) return {nullptr, p.group->first_token, p.group->count};
    const auto* tokens = p.site->mix->tokens_of_entries.const_data_ptr<std::int64_t>();
    return {tokens + p.group->first_entry, 0, p.group->count};
  }

  template <typename X>
  void enter_factors() {
    struct Portion {
      std::size_t piece;
      std::int64_t begin, count;
    };
    std::vector<Portion> portions;
    for (std::size_t i = 0; i < pieces_.size(); ++i) {
      for (std::int64_t begin = 0; begin < pieces_[i].group->count; begin += kTokensAtOnce)
        portions.push_back({i, begin, std::min(kTokensAtOnce, pieces_[i].group->count - begin)});
    }
    at::parallel_for(0, static_cast<std::int64_t>(portions.size()), 1, [&](std::int64_t begin, std::int64_t end) {
      for (auto i = begin; i < end; ++i) {
        const auto& portion = portions[static_cast<std::size_t>(i)];
        enter<X>(portion.piece, portion.begin, portion.count);
      }
    });
  }

  template <typename X>
  void enter(std::size_t piece, std::int64_t begin, std::int64_t count) {
    const auto& p = pieces_[piece];
    const auto& a = p.factors->a;
    const auto& weights = p.site->mix->weights;
    auto own = rows(p);
    own = {own.named ? own.named + begin : nullptr, own.first + begin, count};
    with_element(a.scalar_type(), [&](auto element) {
      using A = decltype(element);
      const auto rank = a.size(0);
      kernels::dot_rows(
          kernels::DotRows<X, A>{
              entries<X>(x_), x_.stride(0), own, entries<A>(a), a.stride(0), a.size(1),
              hidden_.data_ptr<float>() + offsets_[piece] + begin * rank, rank,
              weights.defined() ? weights.const_data_ptr<float>() + p.group->first_entry + begin : nullptr,
              static_cast<float>(p.factors->scale)},
          0, rank);
    });
  }

  template <typename Y>
  void leave_factors() {
    struct Portion {
      const SiteUse* site;
      std::int64_t begin, end;
    };
    std::vector<Portion> portions;
    for (const auto& site : sites_) {
      for (std::int64_t begin = 0; begin < site.out_count; begin += kColumnsAtOnce)
        portions.push_back({&site, begin, std::min(begin + kColumnsAtOnce, site.out_count)});
    }
    at::parallel_for(0, static_cast<std::int64_t>(portions.size()), 1, [&](std::int64_t begin, std::int64_t end) {
      for (auto i = begin; i < end; ++i) {
        const auto& portion = portions[static_cast<std::size_t>(i)];
        for (std::size_t piece = 0; piece < pieces_.size(); ++piece) {
          if (pieces_[piece].site == portion.site) leave<Y>(piece, portion.begin, portion.end);
        }
      }
    });
  }

  template <typename Y>
  void leave(std::size_t piece, std::int64_t begin, std::int64_t end) {
    const auto& p = pieces_[piece];
    with_element(p.factors->b.scalar_type(), [&](auto element) {
      using B = decltype(element);
      kernels::add_low_rank(kernels::AddLowRank<Y, B>{writable_entries<Y>(y_) + p.site->out_begin, y_.stride(0),
                                                      rows(p), hidden_.const_data_ptr<float>() + offsets_[piece],
                                                      p.factors->a.size(0), entries<B>(p.factors->b)},
                            begin, end);
    });
  }

  const at::Tensor& x_;
  const at::Tensor& y_;
  const std::vector<SiteUse>& sites_;
  std::vector<Piece> pieces_;
  std::vector<std::int64_t> offsets_;  ///< of each piece's A x [count, rank] in `hidden_`
  at::Tensor hidden_;
};

}  // namespace

bool add_outputs_by_kernels(const at::Tensor& x, const at::Tensor& y, const std::vector<SiteUse>& sites) {
  if (!all_served(x, y, sites)) return false;
  KernelSweep(x, y, sites).run();
  return true;
}

}  // namespace quiver::ops
