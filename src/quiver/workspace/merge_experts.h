// SPDX-License-Identifier: Apache-2.0
// Experts of a library merged into one: an adapter, an expert of the library, or a whole model.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "quiver/base/files.h"
#include "quiver/base/progress.h"

namespace quiver::workspace {

struct MergeJob {
  std::string library;
  std::string method;
  std::vector<std::string> experts;                           ///< in this order; empty: all
  std::vector<double> weights;                                ///< one per expert; empty: the method's
  std::vector<std::pair<std::string, std::string>> settings;  ///< of the method: merging::merge_options
  std::string output;             ///< a folder for the result; may be empty where it has a name
  std::string name;               ///< under which the library also takes it; empty: it does not
  bool into_base = false;         ///< `output` becomes `model` with the result folded in
  std::string model;              ///< into_base: a Hugging Face folder, or a name of one
  bool allow_other_base = false;  ///< into_base: a model that the experts were not trained on
  bool replace = false;           ///< of what has the name, and of the files of an earlier result
};

struct MergedExperts {
  std::vector<std::string> experts;
  fs::path output;  ///< the folder given, or the expert's
  std::int64_t parameters = 0;
};

/// Everything is checked before anything is computed. Throws Error{usage|mismatch|unsupported} as merging::merge,
/// fold_into_base and Library::save do.
MergedExperts merge_experts(const MergeJob& job, Progress& progress);

}  // namespace quiver::workspace
