// SPDX-License-Identifier: Apache-2.0
// Where the tokens of a prompt are routed.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "quiver/evaluation/evaluate.h"

namespace quiver::evaluation {

struct TraceOptions {
  bool per_site = false;  ///< one line per site; false: the sites of a layer are averaged
  std::string task;       ///< what the oracle goes by
};

/// Runs a prompt, as it would be read to be answered, through the model under the router and records, per layer (or
/// site) and token, the experts' weights, largest first. `experts` are the names in the order of the bank; the title is
/// empty.
Trace trace_prompt(const EvaluateInputs& inputs, const routing::Router& router, const std::vector<std::int32_t>& ids,
                   const std::vector<std::string>& experts, const TraceOptions& options);

/// {tokens, experts, layers: [{layer or site, tokens: [{expert: weight}]}]}.
nlohmann::json to_json(const Trace& trace, bool per_site);

}  // namespace quiver::evaluation
