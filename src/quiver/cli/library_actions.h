// SPDX-License-Identifier: Apache-2.0
// The actions of `quiver library` that have a file of their own, and what they share.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "quiver/cli/common.h"

namespace quiver::cli {

struct LibraryOptions {
  ModelOptions model;
  std::string action, library, name, output, format = "auto";
  std::vector<std::string> arguments, experts, exclude, tasks;
  std::optional<double> alpha;
  bool replace = false, allow_other_base = false, json = false;
};

/// Exactly one argument; `what` names it in the error.
const std::string& one_argument(const LibraryOptions& options, const char* what);

/// The experts meant: those given as arguments and by --experts, or else all, without those of --exclude.
/// Throws Error{usage} for a name that the library does not have, and where none is left.
std::vector<std::string> chosen_experts(const library::Library& library, const LibraryOptions& options);

/// An expert in one line.
nlohmann::json summary(const library::Library& library, const library::ExpertInfo& info);

/// One that cannot be added is reported, and the others still go in; then Error{mismatch}.
void add_experts(const LibraryOptions& options);
void export_experts(const LibraryOptions& options);
void diff_experts(const LibraryOptions& options);

}  // namespace quiver::cli
