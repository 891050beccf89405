// SPDX-License-Identifier: Apache-2.0
// read_tasks of task.h: the tasks of files and folders.
#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/data/task.h"
#include "quiver/data/task_files.h"
#include "quiver/data/text_file.h"

namespace quiver::data {
namespace {

/// Whether a .json file of a searched folder is something else than a task: one object without the keys of one, as the
/// metadata beside data sets are.
bool is_other_json(const TaskFile& file, Format format) {
  if (!file.found || format != Format::automatic || lower_ascii(file.path.extension().string()) != ".json")
    return false;
  const auto value = nlohmann::json::parse(read_text_file(file.path), nullptr, false);
  if (!value.is_object()) return false;
  return !value.contains("Definition") && !value.contains("source") && !value.contains("messages") &&
         !value.contains("instruction");
}

/// The tasks whose splits are files, by folder and group; each called as its rows say, else after the group.
class Groups {
 public:
  explicit Groups(TaskSet& set) : set_(set) {}

  void add(const TaskFile& file, Task&& part) {
    const auto key = (folder_of(file.path) / file.group).string();
    const auto [found, is_new] = index_.emplace(key, groups_.size());
    if (is_new) {
      groups_.push_back({set_.tasks.size(), "", {}});
      set_.tasks.push_back({file.group, part.cluster, {}});
    }
    auto& group = groups_[found->second];
    auto& task = set_.tasks[group.task];
    if (part.name != file.path.stem().string()) name_task(file, part.name, group, task);
    if (task.metrics.empty()) task.metrics = part.metrics;
    QUIVER_CHECK(part.metrics.empty() || part.metrics == task.metrics, format, file.path.string(),
                 "key 'metrics': expected '{}' as in {}, came '{}'", join(task.metrics, "', '"), group.files.front(),
                 join(part.metrics, "', '"));
    std::move(part.examples.begin(), part.examples.end(), std::back_inserter(task.examples));
    group.files.push_back(file.path.filename().string());
  }

  void say() {
    for (const auto& group : groups_)
      set_.notes.push_back(
          fmt::format("task {}: its splits are {}", set_.tasks[group.task].name, join(group.files, ", ")));
  }

 private:
  struct Group {
    std::size_t task;
    std::string name;  ///< as rows say; empty where none does
    std::vector<std::string> files;
  };

  static void name_task(const TaskFile& file, const std::string& name, Group& group, Task& task) {
    QUIVER_CHECK(group.name.empty() || group.name == name, format, file.path.string(),
                 "expected rows of task '{}' as in {}, came '{}': files named after splits are one task", group.name,
                 group.files.front(), name);
    task.name = group.name = name;
  }

  TaskSet& set_;
  std::map<std::string, std::size_t> index_;
  std::vector<Group> groups_;
};

/// Two files of one name would be one task twice.
void check_names(const TaskSet& set, const std::vector<std::string>& first_file) {
  std::map<std::string, std::size_t> seen;
  for (std::size_t t = 0; t < set.tasks.size(); ++t) {
    const auto [found, is_new] = seen.emplace(set.tasks[t].name, t);
    QUIVER_CHECK(is_new, format, first_file[t], "expected tasks of different names, but {} is called '{}' too",
                 first_file[found->second], found->first);
  }
}

}  // namespace

TaskSet read_tasks(const std::vector<fs::path>& paths, const ReadOptions& options) {
  TaskSet set;
  Groups groups(set);
  std::vector<std::string> first_file, no_tasks;
  for (const auto& file : find_task_files(paths, options.format, set.notes)) {
    if (is_other_json(file, options.format)) {
      no_tasks.push_back(file.path.string());
      continue;
    }
    auto own = options;
    own.split = file.split.value_or(options.split);
    auto task = read_task(file.path, own);
    if (file.group.empty())
      set.tasks.push_back(std::move(task));
    else
      groups.add(file, std::move(task));
    if (first_file.size() < set.tasks.size()) first_file.push_back(file.path.string());
  }
  for (const auto& file : no_tasks)
    set.notes.push_back(fmt::format("{}: one object without the keys of a task; passed over", file));
  groups.say();
  QUIVER_CHECK(!set.tasks.empty(), not_found, "--task", "expected task files, came none that holds a task");
  check_names(set, first_file);
  return set;
}

}  // namespace quiver::data
