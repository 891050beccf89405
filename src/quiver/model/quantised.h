// SPDX-License-Identifier: Apache-2.0
// Folders whose weights are stored by a quantisation that is not read.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "quiver/tensor_io/tensor_source.h"

namespace quiver::model {

/// Throws Error{unsupported} naming the method, where config.json names one or the weights' names are one's own: their
/// bytes mean nothing without scales that no architecture here has a place for. `where`: for messages.
void refuse_quantised(const nlohmann::json& config, const tensor_io::TensorSource& weights, const std::string& where);

}  // namespace quiver::model
