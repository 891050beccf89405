// SPDX-License-Identifier: Apache-2.0
// task_rows of task.h.
#include <nlohmann/json.hpp>

#include "quiver/base/error.h"
#include "quiver/data/task.h"

namespace quiver::data {
namespace {

nlohmann::ordered_json row_of(const Example& example, const Task& task) {
  QUIVER_CHECK(example.messages.empty(), unsupported, "task " + task.name, "expected rendered chats, came messages");
  nlohmann::ordered_json row{{"task", task.name}, {"split", split_name(example.split)}, {"source", example.source}};
  row["target"] = example.target;
  if (!example.options.empty()) row["options"] = example.options;
  if (!example.references.empty()) row["references"] = example.references;
  if (!example.group.empty()) row["group"] = example.group;
  if (example.weight != 1) row["weight"] = example.weight;
  if (!task.metrics.empty()) row["metrics"] = task.metrics;
  return row;
}

}  // namespace

std::string task_rows(const Task& task) {
  std::string lines;
  for (const auto& example : task.examples) lines += row_of(example, task).dump() + "\n";
  return lines;
}

}  // namespace quiver::data
