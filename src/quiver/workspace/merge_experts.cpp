// SPDX-License-Identifier: Apache-2.0
#include "quiver/workspace/merge_experts.h"

#include <set>

#include "quiver/adapter/peft.h"
#include "quiver/base/error.h"
#include "quiver/base/output_folder.h"
#include "quiver/library/listing.h"
#include "quiver/merging/fold_base.h"
#include "quiver/merging/merge.h"
#include "quiver/model/load.h"
#include "quiver/workspace/experts.h"

namespace quiver::workspace {
namespace {

using library::Library;
using library::LoadedExpert;

void check(const MergeJob& job) {
  QUIVER_CHECK(!job.library.empty() && !job.method.empty(), usage, "merge", "give --library DIR and --method NAME");
  QUIVER_CHECK(!job.output.empty() || !job.name.empty(), usage, "merge",
               "give --output DIR, or --name to save an expert");
  QUIVER_CHECK(!job.into_base || (!job.model.empty() && !job.output.empty()), usage, "--into-base",
               "give --model DIR, a Hugging Face folder, and --output DIR");
  QUIVER_CHECK(job.into_base || job.model.empty(), usage, "--model", "only --into-base reads a model");
  QUIVER_CHECK(job.into_base || !job.allow_other_base, usage, "--allow-other-base", "only --into-base has a model");
  refuse_twice(job.experts, "--experts");
}

void check_name(const MergeJob& job, const Library& library) {
  if (job.name.empty()) return;
  library::check_expert_name(job.name);
  library.check_writable();
  QUIVER_CHECK(job.replace || !library.contains(job.name), usage, "expert " + job.name,
               "already in {}; --replace overwrites it", library.folder().string());
}

/// Throws Error{mismatch} where its fingerprint is not the library's.
fs::path base_folder(const MergeJob& job, const Library& library) {
  if (!job.into_base) return {};
  const auto path = model::resolve_model(job.model);
  QUIVER_CHECK(fs::is_directory(path), usage, "--into-base",
               "{} is not a Hugging Face folder; a GGUF file's quantised weights cannot take an expert", path.string());
  if (!job.allow_other_base)
    library::check_base(library, model::load_model(path, model::default_dtype()).fingerprint(), false);
  return path;
}

OutputFolder output_of(const MergeJob& job, const fs::path& base) {
  OutputFolder out{.path = job.output, .replace = job.replace, .inputs = {job.library}};
  out.files = job.into_base ? model_files() : adapter_files();
  if (job.into_base) out.inputs.push_back(base);
  return out;
}

/// label: of the result, for errors.
void write_result(const MergeJob& job, const Library& library, const fs::path& base, const adapter::Adapter& merged,
                  const std::string& label) {
  if (job.output.empty()) return;
  write_output(output_of(job, base), [&](const fs::path& folder) {
    if (job.into_base) return merging::fold_into_base(base, merged, folder, label);
    adapter::write_peft(folder, merged, library.base_model());
  });
}

void save_expert(const MergeJob& job, const Library& library, const std::vector<LoadedExpert>& loaded,
                 const std::vector<std::string>& experts, const adapter::Adapter& merged) {
  if (job.name.empty()) return;
  std::set<std::string> tasks;
  for (const auto& expert : loaded) tasks.insert(expert.info.tasks.begin(), expert.info.tasks.end());
  std::vector<std::string> settings;
  for (const auto& [key, value] : job.settings) settings.push_back(key + "=" + value);
  library::ExpertInfo info;
  info.name = job.name;
  info.tasks.assign(tasks.begin(), tasks.end());
  info.base_fingerprint = library.fingerprint();
  info.training = {
      {"merge", {{"method", job.method}, {"experts", experts}, {"weights", job.weights}, {"set", settings}}},
      {"options", {{"rank", merged.options.rank}, {"alpha", merged.options.alpha}}}};
  library.save(info, merged, job.replace);
}

}  // namespace

MergedExperts merge_experts(const MergeJob& job, Progress& progress) {
  check(job);
  const auto options = merging::merge_options(job.method, job.settings);
  const auto library = Library::open(job.library);
  check_name(job, library);
  const auto base = base_folder(job, library);
  if (!job.output.empty()) check_output(output_of(job, base));
  const auto loaded = job.experts.empty() ? library.load_present(library.names()) : library.load_experts(job.experts);
  if (const auto line = library::strays_line(library); !line.empty() && job.experts.empty()) progress.say(line);
  MergedExperts out;
  for (const auto& expert : loaded) out.experts.push_back(expert.info.name);
  merging::MergeInput input{{}, job.weights, &progress, out.experts};
  for (const auto& expert : loaded) input.experts.push_back(&expert.adapter);
  const auto merged = merging::merge(job.method, input, options);
  write_result(job, library, base, merged, out.experts.size() == 1 ? out.experts[0] : job.method);
  save_expert(job, library, loaded, out.experts, merged);
  out.output = job.output.empty() ? library.expert_folder(job.name) : fs::path(job.output);
  out.parameters = merged.parameters();
  return out;
}

}  // namespace quiver::workspace
