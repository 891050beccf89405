// SPDX-License-Identifier: Apache-2.0
// Where the numbers of new adapters come from, and at which sites.
#pragma once

#include <functional>
#include <initializer_list>

#include "quiver/adapter/kind.h"
#include "quiver/base/random.h"

namespace quiver::adapter {

/// N(0, deviation^2), float32.
at::Tensor normal(at::IntArrayRef shape, Random& random, double deviation);
/// U(-bound, bound), float32.
at::Tensor uniform(at::IntArrayRef shape, Random& random, double bound);
/// [prompt_tokens, D]: embeddings of random tokens.
at::Tensor random_embeddings(const NewAdapter& in, std::uint64_t stream);

/// Calls visit(site, number) at the targeted sites, or, where none are named, at those of the usual roles (none: all).
/// Throws Error{usage} where there is no such site.
void at_sites(const NewAdapter& in, std::initializer_list<model::Role> usual,
              const std::function<void(const model::Site&, std::size_t)>& visit);

/// A bottleneck with zero biases and no maps yet, at a site of `out`.
ops::Bottleneck& empty_bottleneck(const NewAdapter& in, const model::Site& site, ops::Reads reads, Adapter& out);
/// Bottlenecks of random maps at the usual sites.
void make_bottlenecks(const NewAdapter& in, std::initializer_list<model::Role> usual, ops::Reads reads, Adapter& out);
/// True where some bottleneck reads that.
bool has_bottleneck(const Adapter& adapter, ops::Reads reads);

}  // namespace quiver::adapter
