// SPDX-License-Identifier: Apache-2.0
// The checkpoints of PEMT's own code (arXiv 2402.15082): folders with lora.pt and, beside it, task_embedding.pt, both
// of which torch.save wrote.
//
//   lora.pt             MODULE.lora_A [R, in], MODULE.lora_B [out, R] of one source; or both with .K behind them, of
//                       several sources at once, as its second stage holds them
//   task_embedding.pt   task_shared [m, D], the prompt
#pragma once

#include <optional>

#include "quiver/library/collection_expert.h"

namespace quiver::library {

/// How many sources the folder's lora.pt holds: 0 where there is no such file. Throws Error{format|unsupported}.
std::size_t pemt_sources(const fs::path& folder);

/// Source `number`; the prompt goes with the only one. alpha: of the scale alpha / R, which the files do not say; R
/// where it is missing, as in the published runs. Throws Error{usage} where it is not positive, Error{format}.
ImportedExpert read_pemt_source(const fs::path& folder, std::size_t number, std::optional<double> alpha);

}  // namespace quiver::library
