// SPDX-License-Identifier: Apache-2.0
// The experts of a library as users choose them and see them.
#pragma once

#include <string>
#include <vector>

#include "quiver/library/library.h"

namespace quiver::library {

/// Those in `names`, each once, or where there are none all, without those in `without`. Throws Error{usage} for a name
/// that the library does not have, and where none is left.
std::vector<std::string> choose_experts(const Library& library, const std::vector<std::string>& names,
                                        const std::vector<std::string>& without = {});

/// An expert in one line: {name, tasks, kind, validation_loss, steps, rank, identity, path}, null where it is not
/// known.
nlohmann::json summary(const Library& library, const ExpertInfo& info);

/// One line on what lies in the library's experts/ and is no expert; empty where there is nothing of the kind.
std::string strays_line(const Library& library);

}  // namespace quiver::library
