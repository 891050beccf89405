// SPDX-License-Identifier: Apache-2.0
// Where a result goes: folders and files that a user names for it.
//
// What lies there already is never lost: a folder that holds anything is taken only where the user said so (--replace),
// and even then what is not of the result's kind stays. A file in the place of a folder, a folder in a library's rooms,
// and what the result is made from (or a folder that holds it) are never taken.
#pragma once

#include <string>
#include <vector>

#include "quiver/base/files.h"

namespace quiver {

/// Paths inside an output as patterns of fnmatch, `*` and `?` within a name: adapter_config.json, */expert.json.
using ResultFiles = std::vector<std::string>;

/// A PEFT adapter, with what is known of it as an expert.
ResultFiles adapter_files();
/// A Hugging Face model with its tokenizer.
ResultFiles model_files();

struct OutputFolder {
  fs::path path;
  bool replace = false;               ///< files of an earlier result may be replaced
  ResultFiles files = {};             ///< what a result of this kind consists of
  ResultFiles unfinished = {};        ///< what a run that goes on left there, which does not make the folder another's
  std::vector<fs::path> inputs = {};  ///< read for the result: never written to, nor a folder that holds one of them
  std::string option = "--output";    ///< named in errors
};

/// Throws Error{usage} where the result may not go there. Called before anything is computed.
void check_output(const OutputFolder& output);

/// Checks again, then writes: a folder that is free, or holds only what is of the result's kind, appears whole in one
/// step. In any other the files of the result take their places one by one, what an earlier result left goes, and all
/// else stays.
void write_output(const OutputFolder& output, const std::function<void(const fs::path& temporary)>& fill);

/// For a file that is a result. Throws Error{usage} where a folder is in its place, where it would lie in a library's
/// rooms, or where there is a file that is not empty and not `known` to be of the result's kind by its first 4096
/// bytes.
void check_output_file(const fs::path& path, const std::string& option,
                       const std::function<bool(const std::string& head)>& known);

}  // namespace quiver
