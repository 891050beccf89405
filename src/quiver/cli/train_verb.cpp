// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <cstdio>

#include "quiver/adapter/task_prompts.h"
#include "quiver/adapter/peft.h"
#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/cli/common.h"
#include "quiver/cli/train_full.h"
#include "quiver/cli/train_skills.h"
#include "quiver/cli/train_targets.h"
#include "quiver/cli/verb.h"
#include "quiver/clustering/mbc.h"
#include "quiver/training/trainer.h"
#include "quiver/workspace/task_rows.h"

namespace quiver::cli {

using namespace workspace;

namespace {

struct Options {
  ModelOptions model;
  TaskOptions tasks;
  JoinChoice join;
  OptionSet texts;
  training::TrainOptions train;
  std::string library, output, name, clusters, init = "peft", init_from, schedule = "linear";
  std::int64_t limit = 0, validation_limit = 0;
  std::string method = "lora", nonlinearity = "gelu_new";
  std::vector<std::string> kinds{"lora"}, settings;
  std::string prompt_text;
  SkillChoice skills;
  bool together = false, replace = false, no_shuffle = false, allow_other_base = false, json = false;
};

void declare_lora(CLI::App& app, Options& o) {
  auto& lora = o.train.lora;
  app.add_option("--rank", lora.rank, "rank of A and B")->capture_default_str();
  app.add_option("--alpha", lora.alpha, "scale = alpha / rank; default: 2 * rank");
  app.add_flag("--rslora", lora.rank_stabilised, "scale = alpha / sqrt(rank)");
  app.add_option("--dropout", lora.dropout, "of the input of A")->capture_default_str();
  app.add_option("--targets", lora.targets, "sites by the end of their names, or one regular expression; default: all")
      ->delimiter(',');
  app.add_option("--init", o.init, "peft, mttl or pemt: how A and B start")->capture_default_str();
  app.add_flag("--share-a", lora.share_a,
               "one fixed A for all experts of a seed, B alone is trained (for --route seqr)");
  app.add_option("--init-from", o.init_from, "a PEFT folder to start from");
}

void declare_kinds(CLI::App& app, Options& o) {
  auto& kind = o.train.kind;
  app.add_option(
         "--kind", o.kinds,
         "lora, dora, vera, ia3, bitfit, norms, bottleneck, compacter, parallel, parallel-mlp, prompt, mpt, prefix; "
         "several, parted by commas, make one adapter")
      ->delimiter(',');
  app.add_option("--kind-targets", kind.targets,
                 "sites of ia3, bitfit, vera and bottlenecks; default: each kind's usual ones")
      ->delimiter(',');
  app.add_option("--bottleneck-width", kind.width, "inner width of bottlenecks")->capture_default_str();
  app.add_option("--bottleneck-scale", kind.scale, "factor of what a bottleneck adds")->capture_default_str();
  app.add_option("--nonlinearity", o.nonlinearity, "of bottlenecks: none, relu, gelu, gelu_new, silu or tanh")
      ->capture_default_str();
  app.add_option("--prompt-tokens", kind.prompt_tokens, "length of a prompt or prefix")->capture_default_str();
  app.add_option("--prompt-rank", kind.prompt_rank, "rank of what mpt multiplies its prompt by")->capture_default_str();
  app.add_option("--prefix-hidden", kind.prefix_hidden,
                 "train a prefix through a map with so many hidden units; 0: as it is")
      ->capture_default_str();
  app.add_option("--products", kind.products, "Kronecker products that a map of compacter is a sum of")
      ->capture_default_str();
}

void choose_kinds(Options& o) {
  o.train.kind.kinds.clear();
  for (const auto& name : o.kinds) {
    adapter::check_kind_name(name);
    o.train.kind.kinds.insert(name);
  }
  if (o.method == "pemt-source") {
    // PEMT's first stage: low-rank factors at the second feed-forward map, and a prompt.
    o.train.kind.kinds = {"lora", "prompt"};
  }
  o.train.kind.nonlinearity = adapter::nonlinearity_of_name(o.nonlinearity, "--nonlinearity");
  const bool experts = o.method == "lora" || o.method == "pemt-source" || o.method == "adamix" || o.method == "moa";
  QUIVER_CHECK(o.train.kind.plain_lora() || (experts && o.init_from.empty()), usage, "--kind",
               "goes with --method lora, adamix or moa, and not with --init-from");
}

void declare_optimisation(CLI::App& app, Options& o) {
  auto& t = o.train;
  app.add_option("--epochs", t.epochs, "passes over the rows")->capture_default_str();
  app.add_option("--max-steps", t.max_steps, "stop after so many steps; 0: after the epochs")->capture_default_str();
  app.add_option("--batch", t.batch_rows, "rows per step, of each expert")->capture_default_str();
  app.add_option("--learning-rate", t.learning_rate, "after warm-up")->capture_default_str();
  app.add_option("--warmup", t.warmup, "share of the steps in which the rate grows")->capture_default_str();
  app.add_option("--schedule", o.schedule, "constant, linear or cosine")->capture_default_str();
  app.add_option("--weight-decay", t.weight_decay, "of AdamW")->capture_default_str();
  app.add_option("--clip", t.clip, "largest gradient norm; 0: off")->capture_default_str();
  app.add_option("--seed", t.seed, "of weights, order and dropout")->capture_default_str();
  app.add_option("--validate-every", t.validate_every, "steps; 0: once an epoch")->capture_default_str();
  app.add_option("--patience", t.patience, "validations without a new best before stopping early; 0: never")
      ->capture_default_str();
  app.add_flag("--recompute", t.recompute,
               "keep less for the backward pass and compute it again: less memory, more time");
  app.add_option("--micro-tokens", t.micro_tokens, "a step is computed in portions of about so many tokens")
      ->capture_default_str();
  app.add_option("--checkpoint-seconds", t.checkpoint_seconds, "between checkpoints")->capture_default_str();
  app.add_flag("--no-shuffle", o.no_shuffle, "rows in the order of the files");
}

/// Names of experts with the tasks each learns from.
std::vector<std::pair<std::string, std::vector<const data::Task*>>> plan(const Options& o,
                                                                         const std::vector<data::Task>& tasks) {
  std::vector<std::pair<std::string, std::vector<const data::Task*>>> out;
  if (!o.clusters.empty()) {
    const auto source = library::Library::open(o.clusters);
    const auto clustering = clustering::read_clustering(source);
    QUIVER_CHECK(clustering, not_found, "--clusters " + o.clusters,
                 "its experts, as they are now, have not been clustered; run 'quiver cluster' first");
    const auto members = clustering->members();
    for (std::size_t c = 0; c < members.size(); ++c) {
      auto& entry = out.emplace_back(fmt::format("{}{}", o.name.empty() ? "cluster" : o.name, c),
                                     std::vector<const data::Task*>{});
      for (const auto& expert : members[c]) {
        for (const auto& name : source.info(expert).tasks) {
          const auto found =
              std::find_if(tasks.begin(), tasks.end(), [&](const auto& task) { return task.name == name; });
          QUIVER_CHECK(found != tasks.end(), usage, "--clusters",
                       "expert '{}' learned task '{}', which --task does not give", expert, name);
          entry.second.push_back(&*found);
        }
      }
    }
    return out;
  }
  if (!o.name.empty()) {
    out.emplace_back(o.name, std::vector<const data::Task*>{});
    for (const auto& task : tasks) out.back().second.push_back(&task);
    return out;
  }
  for (const auto& task : tasks) out.push_back({task.name, {&task}});
  return out;
}

/// Vectors before the prompts that are trained, which take their places in the model's context.
std::int64_t vectors_before(const Options& o) {
  const auto& kinds = o.train.kind.kinds;
  const bool trained = kinds.contains(adapter::Kind::prompt) || kinds.contains(adapter::Kind::mpt) ||
                       kinds.contains(adapter::Kind::prefix);
  const bool by_method = o.method == "pemt" || o.method == "attempt" || o.method == "mpt";
  return trained || by_method ? o.train.kind.prompt_tokens : 0;
}

void report(const Options& o, const training::TrainedExpert& e) {
  if (o.json) {
    return print_json({{"expert", e.name},
                       {"steps", e.steps},
                       {"tokens", e.tokens},
                       {"tokens_per_second", number_or_null(e.tokens_per_second)},
                       {"train_loss", number_or_null(e.train_loss)},
                       {"validation_loss", number_or_null(e.validation_loss)},
                       {"path", e.path.string()},
                       {"already_there", e.already_there}});
  }
  std::printf("%-32s %5lld steps  train %.3f  validation %.3f  %6.0f tokens/s%s\n", e.name.c_str(),
              static_cast<long long>(e.steps), e.train_loss, e.validation_loss, e.tokens_per_second,
              e.already_there ? "  (already there)" : "");
  std::fflush(stdout);
}

void run(Options& o) {
  TerminalProgress progress;
  o.train.schedule = training::schedule_of_name(o.schedule);
  const bool full = o.method == "full";
  std::vector<std::string> methods{"lora", "poly", "full", "pemt-source"};
  const auto own = target_methods();
  methods.insert(methods.end(), own.begin(), own.end());
  const bool target = std::find(own.begin(), own.end(), o.method) != own.end();
  QUIVER_CHECK(std::find(methods.begin(), methods.end(), o.method) != methods.end(), usage, "--method",
               "'{}', expected {}", o.method, join(methods, ", "));
  QUIVER_CHECK(o.settings.empty() || target, usage, "--set", "goes with --method {}", join(own, ", "));
  QUIVER_CHECK(full || !o.library.empty(), usage, "train", "give --library DIR, which gets the experts");
  o.train.lora.init = adapter::init_of_name(o.init);
  o.train.shuffle = !o.no_shuffle;
  choose_kinds(o);
  training::check(o.train);
  const auto loaded = load(o.model);
  if (o.method == "pemt-source" && o.train.lora.targets.empty())
    o.train.lora.targets = loaded.model.site_endings(model::Role::down);
  o.train.join = text_rules(o.join, loaded, {}, vectors_before(o)).join;
  const auto tasks = o.tasks.read(loaded.text, progress);

  if (full) {
    const FullRun run{o.model.model, o.output, o.train, o.limit, o.validation_limit, o.json};
    return train_full_model(run, loaded, tasks, progress);
  }
  const auto library =
      library::Library::open_or_create(o.library, o.model.model, loaded.model.fingerprint(), o.allow_other_base);
  if (target) {
    const TargetRun run{
        loaded,    library, tasks, o.train, o.settings, o.name, o.prompt_text, o.limit, o.validation_limit,
        o.replace, o.json};
    return train_targets(o.method, run, progress);
  }
  if (o.method == "poly") {
    const SkillRun skills{loaded, library, tasks, o.train, o.name, o.limit, o.validation_limit, o.replace, o.json};
    return train_skills(skills, o.skills);
  }
  std::vector<training::ExpertData> experts;
  for (const auto& [name, members] : plan(o, tasks)) {
    library::check_expert_name(name);
    auto& data = experts.emplace_back();
    data.name = name;
    for (const auto* task : members) {
      data.tasks.push_back(task->name);
      add_rows(*task, data::Split::train, o.limit, o.train.join, *loaded.text.tokenizer, progress, data.train);
      add_rows(*task, data::Split::validation, o.validation_limit, o.train.join, *loaded.text.tokenizer, progress,
               data.validation);
    }
  }
  std::optional<adapter::Adapter> start;
  if (!o.init_from.empty()) {
    start = adapter::for_new_task(adapter::read_peft(o.init_from));
    o.train.lora = start->options;
    o.train.kind.kinds = adapter::kinds_of(*start);
  }
  const training::TrainRequest request{loaded.model, library, o.train, progress, o.replace, start ? &*start : nullptr};
  if (o.together) {
    for (const auto& e : training::train_experts(request, std::move(experts))) report(o, e);
    return;
  }
  for (auto& data : experts) {
    std::vector<training::ExpertData> one;
    one.push_back(std::move(data));
    report(o, training::train_experts(request, std::move(one))[0]);
  }
}

}  // namespace

std::function<void()> declare_train(CLI::App& app) {
  auto o = std::make_shared<Options>();
  declare(app, o->model);
  declare(app, o->tasks);
  app.add_option("--library", o->library, "the library that gets the experts; made where there is none");
  app.add_option("--output", o->output, "--method full: the folder that gets the model");
  app.add_option("--name", o->name, "one expert of this name for all tasks; default: one per task, named after it");
  app.add_option("--clusters", o->clusters, "a clustered library: one expert per cluster of its experts' tasks");
  app.add_option("--limit", o->limit, "training rows of each task; 0: all")->capture_default_str();
  app.add_option("--validation-limit", o->validation_limit, "validation rows of each task; 0: all")
      ->capture_default_str();
  app.add_flag("--together", o->together, "train all experts at once, each row under its own");
  app.add_flag("--replace", o->replace, "overwrite experts of the same names");
  app.add_flag("--allow-other-base", o->allow_other_base, "add to a library over another base model");
  app.add_option(
         "--method", o->method,
         "lora: experts; poly: skills that all tasks share (Poly, and MHR with --splits); full: every weight of "
         "the model, in one run over all tasks; pemt-source, pemt: PEMT's two stages; attempt: a prompt over source "
         "prompts; mpt: one prompt for all tasks; adamix: copies of an adapter that become one; moa: experts together "
         "with a router among them; fusion: experts by an attention at each site")
      ->capture_default_str();
  app.add_option("--set", o->settings, "KEY=VALUE, repeatable; of " + target_settings());
  app.add_option("--prompt-text", o->prompt_text,
                 "--method pemt: a text whose tokens' embeddings the prompt starts as");
  o->skills.declare(app);
  declare_lora(app, *o);
  declare_kinds(app, *o);
  declare_optimisation(app, *o);
  declare(app, o->join, o->texts);
  app.add_flag("--json", o->json, "an object per expert");
  return [o, &app] {
    if (app.count("--alpha") == 0) o->train.lora.alpha = 2.0 * static_cast<double>(o->train.lora.rank);
    run(*o);
  };
}

}  // namespace quiver::cli
