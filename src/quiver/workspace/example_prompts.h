// SPDX-License-Identifier: Apache-2.0
// Prompts that stand for an expert whose tasks nobody has: a handful of what people will ask it.
#pragma once

#include <string>
#include <vector>

#include "quiver/data/task.h"
#include "quiver/workspace/experts.h"

namespace quiver::workspace {

/// Reads each NAME=FILE and gives the expert NAME a task of the file's prompts in the place of those it has.
///
/// FILE.jsonl, .ndjson, .json: JSON lines or a JSON list (data/records.h) of texts and of objects with `prompt` or
/// `source`, whose other keys are passed over; any other: a prompt per line. Lines without anything but white space are
/// passed over. Throws Error{usage} where a NAME is no expert of the set or stands twice, Error{format} naming file and
/// row, or a file without prompts.
std::vector<data::Task> read_example_prompts(const std::vector<std::string>& given, ExpertSet& experts);

}  // namespace quiver::workspace
