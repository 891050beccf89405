// SPDX-License-Identifier: Apache-2.0
// What a new adapter is made of, as described options (base/options.h).
#pragma once

#include <nlohmann/json.hpp>

#include "quiver/adapter/kinds.h"
#include "quiver/base/options.h"

namespace quiver::adapter {

/// rank, alpha, rslora, dropout, targets, init, share_a. The default of alpha is twice the rank: see settle.
void describe(LoraOptions& options, OptionSet& set);
/// alpha = 2 * rank where `set` was not given an alpha.
void settle(LoraOptions& options, const OptionSet& set);

/// kind_targets, bottleneck_width, bottleneck_scale, nonlinearity, prompt_tokens, and what each kind describes itself.
void describe(KindOptions& options, OptionSet& set);

/// As `--name value` does.
void set_option(KindOptions& options, const std::string& name, const std::string& value);

/// Throw Error{usage} naming the option that is out of the range of its description.
void check(const LoraOptions& options);
void check(const KindOptions& options);

/// {kinds, and what these read of the options}: what decides their start.
nlohmann::json to_json(KindOptions options);

/// The described options that a new adapter of these kinds depends on: those of the kinds' table.
std::vector<std::string> options_of(const std::set<std::string>& kinds);

}  // namespace quiver::adapter
