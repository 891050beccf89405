// SPDX-License-Identifier: Apache-2.0
// Super-NaturalInstructions v2: one JSON object per task, with Definition, Positive Examples and Instances.
//
// The prompt is the one MTTL uses:
//   Task definition: <definition>.\nNow complete the following example -\nInput: <input>.\nOutput:
// (a full stop is added only where the text does not end in punctuation), with worked examples before "Now complete"
// on request. The target is an instance's first output; all of them are its references.
#pragma once

#include <string>
#include <string_view>

#include "quiver/data/records.h"
#include "quiver/data/task.h"

namespace quiver::data {

/// Whether a document is of this format.
bool is_natural_instructions(const nlohmann::json& document);

/// The examples of a document, all of the training split; `file` opens the messages of errors.
std::vector<Example> read_natural_instructions(const nlohmann::json& document, const std::string& file,
                                               int positive_examples);

}  // namespace quiver::data
