// SPDX-License-Identifier: Apache-2.0
// Experts that lie outside, taken into a library.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "quiver/library/collection.h"
#include "quiver/workspace/open_model.h"

namespace quiver::workspace {

struct AddOptions {
  ModelOptions model;   ///< the base model, whose sites the experts must have
  std::string library;  ///< made with the first expert where there is none
  fs::path source;      ///< a folder of experts: library::find_experts
  library::CollectionFormat format = library::CollectionFormat::automatic;
  std::string name;                ///< of the expert, where it is one; empty: the one found
  std::vector<std::string> tasks;  ///< what it was trained for, where it is one; empty: what its files say
  std::optional<double> alpha;     ///< of MTTL experts whose metadata does not say it
  bool replace = false;            ///< experts of the same names give way
  bool allow_other_base = false;
};

/// What became of an expert that was found: one of the three is there.
struct AddedExpert {
  std::string name;
  nlohmann::json summary = nullptr;  ///< library::summary of it
  std::string skipped = "";          ///< why it was passed over
  std::string error = "";            ///< why it could not be added
  std::vector<std::string> notes = {};
  std::size_t sites = 0;
};

/// Each is reported as it is done. One that cannot be added does not keep the others out; Error{mismatch} at the end
/// says how many. A single one's error is thrown.
void add_experts(const AddOptions& options, const std::function<void(const AddedExpert&)>& report);

}  // namespace quiver::workspace
