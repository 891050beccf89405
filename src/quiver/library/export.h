// SPDX-License-Identifier: Apache-2.0
// Experts written for other programs: as PEFT folders with what Quiver knows of them beside, or as MTTL's files.
#pragma once

#include <string>
#include <vector>

#include "quiver/library/collection.h"
#include "quiver/library/library.h"

namespace quiver::library {

struct ExportOptions {
  fs::path output;
  CollectionFormat format = CollectionFormat::peft;  ///< automatic: peft
  bool alone = false;    ///< peft, one expert: its files lie in `output` itself, not in a folder of its name
  bool replace = false;  ///< files of an earlier export of these experts give way, all others stay
};

/// Writes them and returns where each lies. Throws Error{usage} where `output` is taken (base/output_folder.h) or alone
/// is asked for with several, Error{unsupported} for a format that is only read, and as write_mttl_expert does.
std::vector<fs::path> export_experts(const Library& library, const std::vector<std::string>& names,
                                     const ExportOptions& options);

}  // namespace quiver::library
