// SPDX-License-Identifier: Apache-2.0
#include <cstdio>

#include "quiver/adapter/bank.h"
#include "quiver/base/error.h"
#include "quiver/cli/library_actions.h"
#include "quiver/library/collection.h"

namespace quiver::cli {
namespace {

using library::FoundExpert;
using nlohmann::json;

/// With --name, the adapter that lies in the folder itself, or the only one.
std::vector<FoundExpert> experts_to_add(const LibraryOptions& o) {
  const fs::path source = one_argument(o, "folder of adapters");
  auto found = library::find_experts(source, library::collection_format_of_name(o.format));
  if (o.name.empty()) return found;
  if (fs::equivalent(found[0].folder, source) && found[0].mttl_name.empty() && !found[0].pemt_source) found.resize(1);
  QUIVER_CHECK(found.size() == 1, usage, "--name", "{} experts cannot all be '{}'", found.size(), o.name);
  found[0].name = o.name;
  return found;
}

void report(const LibraryOptions& o, const json& object, const std::string& line) {
  if (o.json) return print_json(object);
  std::printf("%s\n", line.c_str());
}

void add_one(const LibraryOptions& o, const model::Model& model, const library::Library& library,
             const FoundExpert& found) {
  auto expert = library::read_found_expert(found, o.alpha);
  if (expert.deleted) {
    constexpr const char* kReason = "its library marks it as deleted";
    return report(o, {{"name", found.name}, {"skipped", kReason}}, fmt::format("skipped {}: {}", found.name, kReason));
  }
  const auto made_for = std::pair(expert.info.base_fingerprint, expert.info.identity);
  expert.info.base_fingerprint = model.fingerprint();
  if (!o.tasks.empty()) expert.info.tasks = o.tasks;
  adapter::Bank(model).add(found.name, expert.adapter);  // every site must be one of the base model's
  library.save(expert.info, expert.adapter, o.replace);
  const auto added = library.info(found.name);
  if (made_for == std::pair(added.base_fingerprint, added.identity))
    library::take_carried(expert.carried, library, added);
  auto object = summary(library, added);
  object["notes"] = expert.notes;
  report(o, object, fmt::format("added {}: {} sites", found.name, expert.adapter.sites.size()));
  for (const auto& note : expert.notes) std::fprintf(stderr, "%s: %s\n", found.name.c_str(), note.c_str());
}

}  // namespace

void add_experts(const LibraryOptions& o) {
  const auto found = experts_to_add(o);
  QUIVER_CHECK(o.tasks.empty() || found.size() == 1, usage, "--tasks",
               "{} experts are added, and their tasks are said one by one: quiver library set NAME --tasks ...",
               found.size());
  const auto model = load_model_only(o.model);
  const auto library =
      library::Library::open_or_create(o.library, o.model.model, model.fingerprint(), o.allow_other_base);
  std::size_t failed = 0;
  for (const auto& expert : found) {
    try {
      add_one(o, model, library, expert);
    } catch (const Error& error) {
      if (found.size() == 1) throw;
      ++failed;
      if (o.json) print_json({{"name", expert.name}, {"error", error.what()}});
      std::fprintf(stderr, "not added: %s: %s\n", expert.name.c_str(), error.what());
    }
  }
  QUIVER_CHECK(failed == 0, mismatch, o.arguments[0], "{} of {} experts could not be added", failed, found.size());
}

}  // namespace quiver::cli
