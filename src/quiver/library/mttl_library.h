// SPDX-License-Identifier: Apache-2.0
// Expert libraries of MTTL (microsoft/mttl, arXiv 2405.11157): a flat folder of
//
//   NAME.ckpt         a dictionary of parameters, `MODULE.lora_a` [in, R] and `MODULE.lora_b` [R, out]
//   NAME.meta         name, tasks, configurations, whether the expert was deleted
//   NAME.scores.bin   scores by (name, task, split); NAME.KIND.bin: derived data
//
// all written by torch.save, and read here without running anything (tensor_io/pickle.h). MTTL's scale is
// lora_alpha / lora_rank; alpha's default has been 1 and 16, so it is taken from the metadata or asked for.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "quiver/base/files.h"
#include "quiver/library/collection_expert.h"

namespace quiver::library {

/// The names of all .meta files, sorted.
std::vector<std::string> mttl_expert_names(const fs::path& folder);

/// Reads an expert. `alpha` is used where the metadata says none. Tied parameters are put back; both configurations
/// stand in info.training under `mttl`; scores are kept; derived data is left out with a note. Throws
/// Error{usage} that asks for --alpha, and Error{not_found|format|mismatch|unsupported}.
ImportedExpert read_mttl_expert(const fs::path& folder, const std::string& name, std::optional<double> alpha);

/// An expert's name with `_` for the dots that MTTL does not allow.
std::string mttl_name(std::string name);

/// Writes NAME.ckpt and NAME.meta; NAME, which is returned, is mttl_name of the expert's. MTTL has one rank and one
/// alpha: where sites differ, factors are padded with zeros to the largest rank and what the scale lacks goes into
/// lora_b, which leaves s B A as it is. `base_model` is what MTTL would load.
std::string write_mttl_expert(const fs::path& folder, const ExpertInfo& info, const adapter::Adapter& adapter,
                              const std::string& base_model);

}  // namespace quiver::library
