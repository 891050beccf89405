// SPDX-License-Identifier: Apache-2.0
// The methods of `quiver train`.
#pragma once

#include <string>
#include <vector>

#include "quiver/training/methods/method.h"

namespace quiver::training {

/// In the order of the documents.
const std::vector<MethodEntry>& method_table();
/// Throws Error{usage} with the nearest name.
const MethodEntry& method_of_name(const std::string& name);
/// What the method of `options` reads with the kinds that they name. Throws Error{usage} on unknown names.
std::vector<std::string> options_read(MethodOptions options);
/// Throws Error{usage} naming the first option that was given and that the method of `options` does not read with these
/// kinds, and what reads it.
void refuse_unread_options(const MethodOptions& options, const OptionSet& given);

// The entries, one a file.
MethodEntry lora_method();
MethodEntry poly_method();
MethodEntry full_method();
MethodEntry pemt_source_method();
MethodEntry pemt_method();
MethodEntry attempt_method();
MethodEntry mpt_method();
MethodEntry adamix_method();
MethodEntry fusion_method();
MethodEntry moa_method();

}  // namespace quiver::training
