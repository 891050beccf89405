// SPDX-License-Identifier: Apache-2.0
// Derived data of single experts: one row per site, kept in a file of its own for each expert, so that an expert added
// later touches nothing of the others.
//
//   derived/KIND/EXPERT-IDENTITY.safetensors    "SITE" [in] float32 for every site of the base model; metadata
//                                               "made_with": the options, where the kind has any
#pragma once

#include "quiver/adapter/bank.h"
#include "quiver/library/library.h"
#include "quiver/routing/token/site_table.h"

namespace quiver::routing {

/// Numbers of the bank's experts that have no rows of this kind that were made with these options.
std::vector<std::size_t> experts_without(const library::Library& library, const adapter::Bank& bank,
                                         const std::string& kind, const std::string& options = "");

/// Writes row e of `table` for each of the experts, in the place of rows made with other options.
void write_expert_rows(const library::Library& library, const adapter::Bank& bank, const std::string& kind,
                       const SiteTable& table, const std::vector<std::size_t>& experts,
                       const std::string& options = "");

/// The rows of all experts of the bank, whatever the options they were made with. Throws Error{usage} that says how to
/// prepare them where one is missing.
SiteTable read_expert_rows(const library::Library& library, const adapter::Bank& bank, const std::string& kind);

}  // namespace quiver::routing
