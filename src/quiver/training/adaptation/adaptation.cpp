// SPDX-License-Identifier: Apache-2.0
#include "quiver/training/adaptation/adaptation.h"

#include <algorithm>
#include <chrono>
#include <cmath>

#include "quiver/adapter/task_prompts.h"
#include "quiver/base/error.h"
#include "quiver/base/random.h"
#include "quiver/base/strings.h"
#include "quiver/training/adaptation/adaptation_merge.h"
#include "quiver/training/adaptation/adaptation_tune.h"
#include "quiver/training/trainer.h"

namespace quiver::training {
namespace {

struct Regime {
  const AdaptInputs& inputs;
  const ExpertData& examples;
  const AdaptOptions& options;

  std::int64_t experts() const { return inputs.bank->size(); }
  adapter::Adapter fresh() const {
    return adapter::make_lora(inputs.model, options.train.lora, derive_seed(options.train.seed, 11));
  }
  double loss(const adapter::Adapter& adapter) const { return loss_under(inputs.model, adapter, examples.train); }
};

Adapted tune(const Regime& r, const adapter::Adapter& start, std::string note = "") {
  Adapted out{tuned(r.inputs, start, r.examples, r.options.train),
              start.parameters(),
              r.loss(start),
              0.0,
              std::move(note),
              0.0};
  out.loss = r.loss(out.adapter);
  return out;
}

Adapted from_scratch(const Regime& r) { return tune(r, r.fresh()); }

/// Goes on from an expert of the library, of any kind.
Adapted from_expert(const Regime& r, const std::string& name) {
  return tune(r, adapter::for_new_task(r.inputs.library->load(name)), name);
}

Adapted from_shared(const Regime& r) { return from_expert(r, r.options.start); }

/// The mean of the factors of experts of these numbers.
adapter::Adapter mean_of(const Regime& r, const std::vector<std::int64_t>& numbers) {
  std::vector<double> weights(static_cast<std::size_t>(r.experts()), 0.0);
  for (const auto e : numbers) weights.at(static_cast<std::size_t>(e)) = 1.0 / static_cast<double>(numbers.size());
  return merge_factors(*r.inputs.bank, site_weights(*r.inputs.bank, weights));
}

Adapted from_library_mean(const Regime& r) {
  std::vector<std::int64_t> all;
  for (std::int64_t e = 0; e < r.experts(); ++e) all.push_back(e);
  return tune(r, mean_of(r, all));
}

/// The query is an adapter tuned on the few examples alone.
Adapted from_retrieved_mean(const Regime& r) {
  auto options = r.options.retrieval;
  options.seed = r.options.train.seed;
  std::vector<adapter::Adapter> adapters;
  adapter::Adapter query;
  clustering::RetrievalInputs inputs;
  if (options.kind != clustering::Retriever::random) {
    query = tuned(r.inputs, r.fresh(), r.examples, r.options.train);
    inputs.query = &query;
    for (std::int64_t e = 0; e < r.experts(); ++e) adapters.push_back(r.inputs.bank->expert(e));
    for (const auto& adapter : adapters) inputs.experts.push_back(&adapter);
  }
  std::vector<std::int64_t> numbers;
  std::vector<std::string> names;
  for (const auto& [name, similarity] : clustering::retrieve(r.inputs.bank->names(), inputs, options)) {
    numbers.push_back(r.inputs.bank->number(name));
    names.push_back(name);
  }
  return tune(r, mean_of(r, numbers), join(names, " "));
}

Adapted from_nearest(const Regime& r) {
  std::int64_t best = 0;
  double least = INFINITY;
  for (std::int64_t e = 0; e < r.experts(); ++e) {
    const double loss = mean_loss(r.inputs.model, r.inputs.bank, e, r.examples.train);
    if (loss < least) best = e;
    least = std::min(least, loss);
  }
  return from_expert(r, r.inputs.bank->names()[static_cast<std::size_t>(best)]);
}

Adapted from_arrow(const Regime& r) {
  const auto weights = mean_arrow_weights(r.inputs, r.examples.train);
  return tune(r, truncated(merge_products(*r.inputs.bank, weights), r.options.train.lora.rank));
}

Adapted by_weights(const Regime& r, bool experts_too) {
  const auto bank = *r.inputs.bank;
  const auto even = std::vector<double>(static_cast<std::size_t>(r.experts()), 1.0 / static_cast<double>(r.experts()));
  const auto learnt = learn_weights(r.inputs, r.examples, r.options, experts_too);
  Adapted out{merge_products(*learnt.bank, learnt.weights), learnt.weights.numel(), 0.0, 0.0, "", 0.0};
  if (experts_too) out.trained += out.adapter.parameters();
  out.loss_before = r.loss(merge_products(bank, site_weights(bank, even)));
  out.loss = r.loss(out.adapter);
  return out;
}

Adapted selector(const Regime& r) { return by_weights(r, false); }
Adapted experts_and_selector(const Regime& r) { return by_weights(r, true); }

Adapted by_lorahub(const Regime& r) {
  const auto& bank = *r.inputs.bank;
  const auto merged = [&](const std::vector<double>& w) { return merge_factors(bank, site_weights(bank, w)); };
  std::uint64_t done = 0;
  const auto found = lorahub(
      static_cast<std::size_t>(r.experts()),
      [&](const std::vector<double>& w) {
        const double loss = r.loss(merged(w));
        r.inputs.progress.update("adapt " + r.examples.name, ++done,
                                 static_cast<std::uint64_t>(r.options.lorahub.evaluations),
                                 fmt::format("loss {:.3f}", loss));
        return loss;
      },
      r.options.lorahub);
  r.inputs.progress.finish();
  Adapted out{merged(found.weights), r.experts(), found.at_zero, 0.0, "", 0.0};
  out.loss = r.loss(out.adapter);
  for (std::size_t e = 0; e < found.weights.size(); ++e) {
    if (found.weights[e] != 0.0) out.note += fmt::format("{}={:.2f} ", bank.names()[e], found.weights[e]);
  }
  return out;
}

routing::SkillSet stored_skills(const Regime& r) { return routing::read_skills(*r.inputs.library, r.options.skills); }

/// Trains `set`, whose one task is the new one.
Adapted by_skills(const Regime& r, routing::SkillSet set, bool skills_too) {
  auto how = r.options.skill_training;
  how.train_skills = skills_too;
  std::vector<RoutedRow> rows;
  for (const auto& row : r.examples.train) rows.push_back({row, 0});
  Adapted out;
  out.trained = set.logits.numel() + (skills_too ? set.factors.numel() : 0);
  out.loss_before = r.loss(routing::fold(set, r.examples.name));
  train_skills({r.inputs.model, r.options.train, r.inputs.progress, "adapt " + r.examples.name}, set, how, rows, {});
  out.adapter = routing::fold(set, r.examples.name);
  out.loss = r.loss(out.adapter);
  return out;
}

Adapted poly(const Regime& r) {
  return by_skills(r, for_new_task(stored_skills(r), r.examples.name, r.options.train.seed), true);
}

Adapted poly_z(const Regime& r) {
  return by_skills(r, for_new_task(stored_skills(r), r.examples.name, r.options.train.seed), false);
}

Adapted poly_mu(const Regime& r) { return tune(r, routing::mean_skill(stored_skills(r))); }

Adapted poly_random(const Regime& r) {
  const auto like = stored_skills(r);
  return by_skills(
      r, routing::make_skills(r.inputs.model, like.lora, like.options, {r.examples.name}, r.options.train.seed), true);
}

/// What a regime goes on from.
enum class Draws {
  nothing,
  start,    ///< the expert that --start names
  skills,   ///< the router that --skills names
  experts,  ///< one of the bank's
  factors,  ///< low-rank factors of the bank's
};

using Names = std::vector<std::string>;

struct Entry {
  RegimeHelp help;
  Adapted (*run)(const Regime&);
  Names reads;  ///< of the described options
  Draws draws = Draws::nothing;
};

Names operator+(Names a, const Names& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

const std::vector<Entry>& entries() {
  static const Names steps{"steps", "batch", "warmup", "schedule"}, fresh{"rank", "alpha", "targets"};
  static const Names tuned = steps + Names{"learning_rate", "dropout"};
  static const Names selected = steps + Names{"skills", "selector_learning_rate"};
  static const std::vector<Entry> table{
      {{"private", "a fresh LoRA"}, from_scratch, tuned + fresh},
      {{"shared", "go on from the expert named by --start"}, from_shared, tuned + Names{"start"}, Draws::start},
      {{"library-mean", "go on from the mean of all experts' factors"}, from_library_mean, tuned, Draws::factors},
      {{"library-mean-retrieved", "go on from the mean of the experts that --retriever finds"},
       from_retrieved_mean,
       tuned + fresh + Names{"retriever", "retrieved"},
       Draws::factors},
      {{"nearest", "go on from the expert with the least loss on the examples"}, from_nearest, tuned, Draws::experts},
      {{"arrow-init", "go on from the merge of the experts by Arrow's mean weights on the examples"},
       from_arrow,
       tuned + Names{"rank"},
       Draws::factors},
      {{"selector", "weights per site over the experts, which stay as they are"},
       selector,
       steps + Names{"weight_learning_rate"},
       Draws::factors},
      {{"experts-and-selector", "the same, the experts trained too"},
       experts_and_selector,
       steps + Names{"weight_learning_rate", "learning_rate"},
       Draws::factors},
      {{"lorahub", "one weight per expert, found without gradients"}, by_lorahub, {"evaluations"}, Draws::factors},
      {{"poly", "a fresh selector over the skills named by --skills, both trained"},
       poly,
       selected + Names{"skill_learning_rate"},
       Draws::skills},
      {{"poly-z", "the selector alone"}, poly_z, selected, Draws::skills},
      {{"poly-mu", "go on from the mean of the skills as one LoRA"}, poly_mu, tuned + Names{"skills"}, Draws::skills},
      {{"poly-random", "like poly, from skills that are not loaded"},
       poly_random,
       selected + Names{"skill_learning_rate"},
       Draws::skills},
      {{"mhr", "poly where the skills have several splits"},
       poly,
       selected + Names{"skill_learning_rate"},
       Draws::skills},
      {{"mhr-z", "poly-z likewise"}, poly_z, selected, Draws::skills},
      {{"mhr-mu", "poly-mu likewise"}, poly_mu, tuned + Names{"skills"}, Draws::skills},
  };
  return table;
}

/// Throws Error{usage} with the nearest name.
const Entry& entry_of(const std::string& regime) {
  Names known;
  for (const auto& entry : entries()) {
    if (entry.help.name == regime) return entry;
    known.push_back(entry.help.name);
  }
  fail(ErrorCode::usage, "--regime", "no regime '{}'{}", regime, suggestion(regime, known));
}

}  // namespace

const std::vector<RegimeHelp>& regime_table() {
  static const std::vector<RegimeHelp> help = [] {
    std::vector<RegimeHelp> out;
    for (const auto& entry : entries()) out.push_back(entry.help);
    return out;
  }();
  return help;
}

void describe(AdaptOptions& o, OptionSet& set) {
  using clustering::Retriever;
  auto& t = o.train;
  set.group("learning")
      .integer("steps", t.max_steps, at_least(1), "of what is tuned")
      .integer("batch", t.batch_rows, at_least(1), "examples per step");
  describe_rate(t, set, "of LoRA factors, after warm-up");
  set.integer("rank", t.lora.rank, between(1, 4096), "of fresh and merged adapters")
      .number("alpha", t.lora.alpha, above(0), "scale = alpha / rank")
      .shown_default("2 * rank")
      .number("dropout", t.lora.dropout, from_to_below(0, 1), "of the input of A")
      .texts("targets", t.lora.targets, "sites of fresh adapters")
      .shown_default("all")
      .number("selector_learning_rate", o.skill_training.selector_learning_rate, above(0), "poly: of the logits")
      .number("skill_learning_rate", o.skill_training.skill_learning_rate, above(0), "poly: of the skills")
      .number("weight_learning_rate", o.weight_learning_rate, above(0), "selector: of the experts' weights")
      .integer("evaluations", o.lorahub.evaluations, at_least(1), "lorahub: losses computed");
  set.group("sources")
      .text("start", o.start, "shared: the expert to go on from")
      .text("skills", o.skills, "poly: the trained skills to go on from")
      .choice("retriever", o.retrieval.kind,
              {{"products", Retriever::products},
               {"svd", Retriever::svd},
               {"cosine", Retriever::cosine},
               {"random", Retriever::random}},
              "library-mean-retrieved: what experts are compared by")
      .integer("retrieved", o.retrieval.top_k, at_least(0), "library-mean-retrieved: experts; 0: all");
}

std::vector<std::string> options_of_regime(const std::string& regime) { return entry_of(regime).reads; }

void check_regimes(const std::vector<std::string>& regimes, const OptionSet& set) {
  Names reads;
  for (const auto& regime : regimes) reads = reads + options_of_regime(regime);
  refuse_unread(set, reads, "--regime " + join(regimes, ", "), [](const std::string& option) {
    Names out;
    for (const auto& entry : entries()) {
      if (std::find(entry.reads.begin(), entry.reads.end(), option) != entry.reads.end())
        out.push_back("--regime " + entry.help.name);
    }
    return out;
  });
}

void check_sources(const AdaptInputs& inputs, const std::string& regime, const AdaptOptions& options) {
  const auto draws = entry_of(regime).draws;
  if (draws == Draws::start) inputs.library->load(options.start);
  if (draws == Draws::skills) routing::read_skills(*inputs.library, options.skills);
  if (draws != Draws::experts && draws != Draws::factors) return;
  QUIVER_CHECK(inputs.bank->size() > 0, usage, "regime " + regime, "the library has no experts to start from");
  if (draws == Draws::factors) inputs.bank->require({"regime " + regime, {adapter::Trait::low_rank}});
}

Adapted adapt(const AdaptInputs& inputs, const std::string& regime, const ExpertData& examples,
              const AdaptOptions& given) {
  check(given.train);
  QUIVER_CHECK(given.train.max_steps > 0, usage, "adaptation", "{} steps, expected at least 1", given.train.max_steps);
  auto options = given;
  options.train.epochs = given.train.max_steps;  // the steps end it
  check_sources(inputs, regime, options);
  const auto began = std::chrono::steady_clock::now();
  auto out = entry_of(regime).run({inputs, examples, options});
  QUIVER_CHECK(std::isfinite(out.loss), mismatch, "regime " + regime,
               "the loss on the examples is {} after training; lower --learning-rate", out.loss);
  out.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
  return out;
}

}  // namespace quiver::training
