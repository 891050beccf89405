// SPDX-License-Identifier: Apache-2.0
#include "quiver/routing/sessions.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/zeros.h>
#include <c10/core/GradMode.h>

#include "quiver/routing/constant_router.h"
#include "quiver/routing/learned/xlora_router.h"
#include "quiver/routing/test_bank.h"

namespace quiver::routing {
namespace {

using Ids = std::vector<std::int32_t>;

class OpenRequests : public WithBank {
 protected:
  OpenRequests() {
    at::manual_seed(3);
    network_.weights = {at::randn({14 * 2, 32})};
    network_.biases = {at::zeros({14 * 2})};
  }

  at::Tensor last(const at::Tensor& hidden) const { return hidden[hidden.size(0) - 1]; }
  /// The last state of a whole pass.
  at::Tensor whole(const Router& router, const Ids& ids) const {
    const auto batch = model::pack({{ids, nullptr, true}});
    return last(model_.forward(batch, bind_once(router, batch, {{"", ids}}).get()));
  }
  static double distance(const at::Tensor& a, const at::Tensor& b) { return (a - b).abs().max().item<double>(); }

  c10::AutoGradMode no_gradient_{false};
  XLoraNetwork network_;
};

/// A router that reads with a cache of its own: branches go on apart, from the state that they share.
TEST_F(OpenRequests, BranchesGoOnFromOneStateByThemselves) {
  const XLoraRouter router(bank({3, 2}), model_, network_);
  const auto sessions = router.sessions();
  const Ids prompt{3, 9, 27}, first{3, 9, 27, 11, 5}, second{3, 9, 27, 60, 7};
  const auto one = sessions->open({{"", prompt}})[0];
  model::RowCache cache;
  const auto read = model::pack({{prompt, &cache, true}});
  model_.forward(read, sessions->bind(read, {one}).get());
  const auto two = sessions->branch(one);
  auto other = cache.copy();
  for (std::size_t t = 3; t < first.size(); ++t) {
    const auto batch =
        model::pack({{std::span(first).subspan(t, 1), &cache, true}, {std::span(second).subspan(t, 1), &other, true}});
    const auto hidden = model_.forward(batch, sessions->bind(batch, {one, two}).get());
    const auto so_far = static_cast<std::ptrdiff_t>(t + 1);
    EXPECT_LT(distance(hidden[0], whole(router, {first.begin(), first.begin() + so_far})), 1e-4) << t;
    EXPECT_LT(distance(hidden[1], whole(router, {second.begin(), second.begin() + so_far})), 1e-4) << t;
    sessions->close(sessions->open({{"", prompt}})[0]);  // others come and go between
  }
}

TEST_F(OpenRequests, WhatIsNotOpenIsRefused) {
  const ConstantRouter router(bank({2}), {{0, 1.0f}});
  const auto sessions = router.sessions();
  const Ids ids{3, 9};
  const auto batch = model::pack({{ids, nullptr, true}});
  const auto id = sessions->open({{"", ids}})[0];
  EXPECT_NE(sessions->bind(batch, {id}), nullptr);
  EXPECT_THROW(sessions->bind(batch, {id, id}), Error);
  const auto source = sessions->bind(batch, {id});
  sessions->close(id);
  EXPECT_EQ(model_.forward(batch, source.get()).size(0), 2);  // what was bound stays
  EXPECT_THROW(sessions->bind(batch, {id}), Error);
  EXPECT_THROW(sessions->branch(id), Error);
  EXPECT_THROW(sessions->close(id), Error);
  EXPECT_THROW(sessions->soft_prompt(id), Error);
}

/// A row that goes on before its prompt was read would be routed by half a text.
TEST_F(OpenRequests, APassThatSkipsTheFirstPassIsRefused) {
  const XLoraRouter router(bank({3, 2}), model_, network_);
  const Ids prompt{3, 9, 27}, next{11};
  model::RowCache cache;
  const auto read = model::pack({{prompt, &cache, true}});
  model_.forward(read, nullptr);
  const auto sessions = router.sessions();
  const auto batch = model::pack({{next, &cache, true}});
  EXPECT_THROW(sessions->bind(batch, sessions->open({{"", prompt}})), Error);
}

}  // namespace
}  // namespace quiver::routing
