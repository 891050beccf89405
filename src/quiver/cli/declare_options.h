// SPDX-License-Identifier: Apache-2.0
// Described options (base/options.h) on the command line.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "quiver/base/options.h"

namespace quiver::cli {

/// Declares each option of the set under its command-line name, with its help, range and default. What is given is
/// assigned to the described field and counts as given in the set, which must outlive the application's run. Values
/// that the description does not allow end in Error{usage} with exit status 2.
void declare(CLI::App& app, OptionSet& set);

/// Parts KEY=VALUE at the first `=`. Throws Error{usage} at `option` where there is none or the key is empty.
std::vector<std::pair<std::string, std::string>> key_values(const std::vector<std::string>& settings,
                                                            const std::string& option);

}  // namespace quiver::cli
