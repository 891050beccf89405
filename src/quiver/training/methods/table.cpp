// SPDX-License-Identifier: Apache-2.0
#include "quiver/training/methods/table.h"

#include <algorithm>

#include "quiver/adapter/describe_options.h"
#include "quiver/base/error.h"
#include "quiver/base/strings.h"

namespace quiver::training {
namespace {

bool has(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

const std::vector<MethodEntry>& method_table() {
  static const std::vector<MethodEntry> table{lora_method(), poly_method(),    full_method(), pemt_source_method(),
                                              pemt_method(), attempt_method(), mpt_method(),  adamix_method(),
                                              moa_method(),  fusion_method()};
  return table;
}

const MethodEntry& method_of_name(const std::string& name) {
  std::vector<std::string> names;
  for (const auto& entry : method_table()) {
    if (entry.name == name) return entry;
    names.push_back(entry.name);
  }
  fail(ErrorCode::usage, "--method", "'{}'{}, expected {}", name, suggestion(name, names), join(names, ", "));
}

std::vector<std::string> options_read(MethodOptions options) {
  choose_kinds(options);
  return method_of_name(options.method).reads(options);
}

void refuse_unread_options(const MethodOptions& options, const OptionSet& given) {
  const auto& method = method_of_name(options.method);
  const auto reads = method.reads(options);
  auto who = "--method " + method.name;
  if (has(reads, "kind")) who += " --kind " + join(options.kinds, ",");
  if (has(reads, "init_from") && !options.init_from.empty()) who += " --init-from " + options.init_from;
  refuse_unread(given, reads, who, [&](const std::string& option) {
    std::vector<std::string> out;
    for (const auto& entry : method_table()) {
      if (entry.name != method.name && has(entry.reads({}), option)) out.push_back("--method " + entry.name);
    }
    for (const auto& kind : adapter::kind_help()) {
      if (has(kind.options, option)) out.push_back("--kind " + kind.name);
    }
    return out;
  });
}

}  // namespace quiver::training
