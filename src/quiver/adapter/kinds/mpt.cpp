// SPDX-License-Identifier: Apache-2.0
// Multitask prompt tuning (Wang et al., 2023): a soft prompt P * (U V), elementwise; U [K, m, r] and V [K, r, D] of K
// tasks, the means of each over the tasks where no task is named.
#include <ATen/TensorOperators.h>
#include <ATen/ops/mm.h>

#include "quiver/adapter/kinds/starts.h"
#include "quiver/adapter/task_prompts.h"
#include "quiver/base/error.h"

namespace quiver::adapter {
namespace {

constexpr double kDeviation = 0.02;  // of the factors of a task, as in PEFT

void describe(KindOptions& options, OptionSet& set) {
  set.integer("prompt_rank", options.of<TaskPromptOptions>().rank, at_least(1),
              "rank of what mpt multiplies its prompt by");
}

/// Factors near 1, so that the tasks start from the shared prompt, a little apart.
void make(const NewAdapter& in, Adapter& out) {
  const auto [rank, tasks] = in.options.of<TaskPromptOptions>();
  out.soft_prompt = random_embeddings(in, 200000);
  Random random(derive_seed(in.seed, 600000));
  const auto& p = out.soft_prompt;
  auto& shared = out.stored[""];
  shared[kTaskColumns] = normal({tasks, p.size(0), rank}, random, kDeviation) + 1.0 / static_cast<double>(rank);
  shared[kTaskRows] = normal({tasks, rank, p.size(1)}, random, kDeviation) + 1.0;
}

void work_out(const WorkedOut& in, Adapter& out) {
  if (in.given.stored_at("", kTaskColumns).defined() || in.given.stored_at("", kTaskRows).defined())
    out.soft_prompt = task_prompt(for_new_task(in.given), 0, in.name);
}

Adapter read(Tensors left, const nlohmann::json&, const std::string& where) {
  Adapter out;
  out.soft_prompt = take_one(left, kPromptKey, 2, where);
  for (const auto* key : {kTaskColumns, kTaskRows}) {
    out.stored[""][key] = take_one(left, key, 3, where);
    QUIVER_CHECK(out.stored[""][key].defined() && out.soft_prompt.defined(), format, where, "no {} or no {}",
                 kPromptKey, key);
  }
  check_known(left, where);
  return out;
}

AdapterFiles write(const Adapter& adapter, const std::string& base_model) {
  AdapterFiles out{config_of("MULTITASK_PROMPT_TUNING", adapter, base_model), {{kPromptKey, adapter.soft_prompt}}};
  const auto columns = adapter.stored_at("", kTaskColumns);
  out.config["num_virtual_tokens"] = adapter.soft_prompt.size(0);
  out.config["token_dim"] = adapter.soft_prompt.size(1);
  out.config["num_transformer_submodules"] = 1;
  out.config["prompt_tuning_init"] = "RANDOM";
  out.config["num_tasks"] = columns.size(0);
  out.config["num_ranks"] = columns.size(2);
  out.tensors[kTaskColumns] = columns;
  out.tensors[kTaskRows] = adapter.stored_at("", kTaskRows);
  return out;
}

}  // namespace

Adapter for_new_task(Adapter adapter) {
  const auto whole = adapter.stored.find("");
  if (whole == adapter.stored.end()) return adapter;
  for (const auto* key : {kTaskColumns, kTaskRows}) {
    const auto found = whole->second.find(key);
    if (found != whole->second.end()) found->second = found->second.mean(0, true);
  }
  return adapter;
}

at::Tensor task_prompt(const Adapter& adapter, std::int64_t task, const std::string& name) {
  const auto& p = adapter.soft_prompt;
  const auto u = adapter.stored_at("", kTaskColumns), v = adapter.stored_at("", kTaskRows);
  const bool fits = p.defined() && u.defined() && v.defined() && p.dim() == 2 && u.dim() == 3 && v.dim() == 3 &&
                    u.size(0) == v.size(0) && u.size(1) == p.size(0) && u.size(2) == v.size(1) &&
                    v.size(2) == p.size(1);
  QUIVER_CHECK(fits, mismatch, "expert " + name,
               "a prompt of several tasks is [m, D] with columns [K, m, r] and rows [K, r, D]");
  return p * at::mm(u[task], v[task]);
}

Kind mpt_kind() {
  return {.name = "mpt",
          .summary = "a prompt times a product of low rank, for tasks that share the prompt",
          .traits = {Trait::vectors},
          .place = "prompt",
          .contains = "prompt",
          .options = {"prompt_tokens"},
          .holds = [](const Adapter& a) { return a.stored_at("", kTaskColumns).defined(); },
          .make = make,
          .stored = {{.key = kTaskColumns, .label = "task", .dims = 3, .of_site = false},
                     {.key = kTaskRows, .label = "task", .dims = 3, .of_site = false}},
          .describe = describe,
          .work_out = work_out,
          .peft = PeftFiles{"MULTITASK_PROMPT_TUNING", read, [](const Adapter&) { return true; }, write}};
}

}  // namespace quiver::adapter
