// SPDX-License-Identifier: Apache-2.0
// Derived data of single experts (expert_files.h): one row per site.
//
//   derived/KIND/EXPERT-IDENTITY.safetensors    "SITE" [in] float32 for every site of the base model
#pragma once

#include "quiver/routing/expert_files.h"
#include "quiver/routing/token/site_table.h"

namespace quiver::routing {

/// Rows that only `prepare` computes: mean inputs, gates of PhatGoose.
inline const DerivedKind kAverageActivations{"average-activation"}, kPhatgooseGates{"phatgoose"};

/// A row of `table` as the file of an expert.
void write_expert_row(const ExpertFiles& files, const adapter::Bank& bank, const SiteTable& table, std::int64_t row,
                      std::size_t expert, const std::string& made_with = "");

/// Fills rows of `table`, one for each expert, with those that are kept, whatever options they were made with. Returns
/// the experts that have none. Throws Error{mismatch} where a file is of another base model.
std::vector<std::size_t> fill_kept_rows(const ExpertFiles& files, const adapter::Bank& bank, SiteTable& table);

/// The rows of all experts of the bank. Throws Error{usage} that says how to prepare them where one is missing.
SiteTable read_expert_rows(const RouterInputs& inputs, const DerivedKind& kind);

}  // namespace quiver::routing
