// SPDX-License-Identifier: Apache-2.0
// Pickles in protocol 2, which torch.load(weights_only=True) reads.
#pragma once

#include <ATen/core/Tensor.h>

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

namespace quiver::tensor_io {

/// Objects become dictionaries, lists lists.
std::string pickle_of(const nlohmann::json& value);

/// A dictionary of tensors, in that order; tensor N is row-major and all of storage `N`.
/// Throws Error{unsupported} naming a tensor whose type has no storage class.
std::string pickle_of(const std::vector<std::pair<std::string, at::Tensor>>& tensors, const std::string& where);

}  // namespace quiver::tensor_io
