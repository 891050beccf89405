// SPDX-License-Identifier: Apache-2.0
// Which files of files and folders are tasks, and which of them belong together.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "quiver/data/task.h"

namespace quiver::data {

/// A file that may be read as a task.
struct TaskFile {
  fs::path path;
  bool found = false;               ///< in a folder that was searched; false: it was named itself
  std::string group = {};           ///< the task that it is a part of, by a name that holds a split; else empty
  std::optional<Split> split = {};  ///< of the file's rows, where it has a group
};

/// The folder that a file lies in, whole and without `.` and `..`, so that it has a name.
fs::path folder_of(const fs::path& file);

/// All task files of `paths`, those of a folder in the order of their paths, and a note on every other file in it.
/// Throws Error{not_found} where a folder has none.
std::vector<TaskFile> find_task_files(const std::vector<fs::path>& paths, Format format,
                                      std::vector<std::string>& notes);

}  // namespace quiver::data
