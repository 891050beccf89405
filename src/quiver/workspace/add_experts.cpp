// SPDX-License-Identifier: Apache-2.0
#include "quiver/workspace/add_experts.h"

#include <algorithm>

#include "quiver/adapter/bank.h"
#include "quiver/base/error.h"
#include "quiver/library/listing.h"

namespace quiver::workspace {
namespace {

using library::FoundExpert;
using library::Library;

/// With a name, the adapter that lies in the folder itself, or the only one.
std::vector<FoundExpert> experts_to_add(const AddOptions& o) {
  auto found = library::find_experts(o.source, o.format);
  if (o.name.empty()) return found;
  library::check_expert_name(o.name);
  if (fs::equivalent(found[0].folder, o.source) && found[0].mttl_name.empty() && !found[0].pemt_source) found.resize(1);
  QUIVER_CHECK(found.size() == 1, usage, "--name", "{} experts cannot all be '{}'", found.size(), o.name);
  found[0].name = o.name;
  return found;
}

/// Adds experts one by one; the library is there, or made with the first expert that can be added.
class Adder {
 public:
  explicit Adder(const AddOptions& options) : options_(options), model_(load_model_only(options.model)) {
    if (fs::exists(fs::path(options.library) / "library.json")) library();
  }

  AddedExpert add(const FoundExpert& found) {
    auto expert = library::read_found_expert(found, options_.alpha);
    if (expert.deleted) return {.name = found.name, .skipped = "its library marks it as deleted"};
    adapter::Bank(model_).add(found.name, expert.adapter);  // every site must be one of the base model's
    const auto made_for = std::pair(expert.info.base_fingerprint, expert.info.identity);
    expert.info.base_fingerprint = model_.fingerprint();
    if (!options_.tasks.empty()) expert.info.tasks = options_.tasks;
    library().save(expert.info, expert.adapter, options_.replace);
    const auto added = library().info(found.name);
    if (made_for == std::pair(added.base_fingerprint, added.identity))
      library::take_carried(expert.carried, library(), added);
    return {.name = found.name,
            .summary = library::summary(library(), added),
            .notes = expert.notes,
            .sites = expert.adapter.sites.size()};
  }

 private:
  const Library& library() {
    if (!library_)
      library_ = Library::open_or_create(options_.library, options_.model.model, model_.fingerprint(),
                                         options_.allow_other_base);
    return *library_;
  }

  const AddOptions& options_;
  model::Model model_;
  std::optional<Library> library_;
};

}  // namespace

void add_experts(const AddOptions& o, const std::function<void(const AddedExpert&)>& report) {
  const auto found = experts_to_add(o);
  QUIVER_CHECK(o.tasks.empty() || found.size() == 1, usage, "--tasks",
               "{} experts are added, and their tasks are said one by one: quiver library set NAME --tasks ...",
               found.size());
  const auto reads_alpha = [](const FoundExpert& e) { return !e.mttl_name.empty() || e.pemt_source; };
  QUIVER_CHECK(!o.alpha || std::any_of(found.begin(), found.end(), reads_alpha), usage, "--alpha",
               "the experts of {} are PEFT adapters, whose lora_alpha stands in adapter_config.json",
               o.source.string());
  Adder adder(o);
  std::size_t failed = 0;
  for (const auto& expert : found) {
    try {
      report(adder.add(expert));
    } catch (const Error& error) {
      if (found.size() == 1) throw;
      ++failed;
      report({.name = expert.name, .error = error.what()});
    }
  }
  QUIVER_CHECK(failed == 0, mismatch, o.source.string(), "{} of {} experts could not be added", failed, found.size());
}

}  // namespace quiver::workspace
