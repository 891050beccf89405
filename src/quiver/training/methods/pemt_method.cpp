// SPDX-License-Identifier: Apache-2.0
// --method pemt: a task over source experts of the library.
#include "quiver/base/error.h"
#include "quiver/routing/prompts/saved_pemt.h"
#include "quiver/training/methods/library_method.h"
#include "quiver/training/methods/pemt_training.h"
#include "quiver/training/methods/table.h"

namespace quiver::training {
namespace {

std::vector<std::string> reads(const MethodOptions&) {
  auto out = common_options();
  const auto more = library_options();
  out.insert(out.end(), more.begin(), more.end());
  out.insert(out.end(), {"bottleneck_width", "prompt_tokens", "prompt_text"});
  return out;
}

void settle(MethodOptions&, const OptionSet& given) {
  QUIVER_CHECK(!given.given("prompt_text") || !given.given("prompt_tokens"), usage, "--prompt-text",
               "its tokens are the prompt's, as many as there are; give it or --prompt-tokens");
}

/// Of the text that a prompt starts as; none: random tokens.
std::vector<std::int32_t> prompt_ids(const MethodOptions& o, const text::Tokenizer& tokenizer) {
  return o.prompt_text.empty() ? std::vector<std::int32_t>() : tokenizer.encode(o.prompt_text, {true, true});
}

enum class Sources { lora, bottleneck };

class PemtMethod : public LibraryMethod {
 public:
  PemtMethod() : LibraryMethod("pemt", reads) {}

  void describe(OptionSet& set) override {
    using Gate = routing::PemtOptions::Gate;
    set.texts("sources", sources_, "experts of the library")
        .choice("gate", how_.options.gate, {{"prompt-mean", Gate::prompt_mean}, {"correlation", Gate::correlation}},
                "what the gates read")
        .choice("attention", how_.options.live, {{"live", true}, {"once", false}},
                "the prompt attends to the sources' prompts in every pass, or once at the start")
        .number("temperature", how_.options.temperature, at_least(1e-6), "of the gates")
        .number("sparsity_weight", how_.sparsity_weight, at_least(0), "factor of the gates' sparsity in the loss")
        .flag("sparsity_mask", how_.options.mask_prompt, "the sparsity leaves the prompt out")
        .flag("layer_norms", how_.layer_norms, "train the weights of all norms")
        .choice("experts", experts_, {{"lora", Sources::lora}, {"bottleneck", Sources::bottleneck}},
                "what the sources are made of")
        .flag("fold", fold_, "also keep an expert that the gates' means make");
  }
  std::vector<std::string> sources() const override { return sources_; }
  /// The prompt of the task; it attends to those of the sources.
  std::int64_t vectors_before(const MethodOptions& o, const text::Tokenizer& tokenizer, std::int64_t) const override {
    const auto ids = prompt_ids(o, tokenizer);
    return ids.empty() ? o.train.kind.prompt_tokens : static_cast<std::int64_t>(ids.size());
  }

 protected:
  bool makes_router() const override { return true; }
  std::vector<std::string> expert_names(const MethodInputs&, const Assignment& assignment) const override {
    return fold_ ? std::vector<std::string>{assignment.name} : std::vector<std::string>();
  }

  Taught learn(const MethodInputs& inputs, const Assignment& assignment, const RoutedTraining& training) override {
    const auto& o = inputs.options;
    how_.width = o.train.kind.width;
    how_.prompt_tokens = o.train.kind.prompt_tokens;
    how_.prompt_ids = prompt_ids(o, inputs.tokenizer);
    const auto bank = sources_of(inputs, sources_);
    check_sources(bank);
    auto pemt = start_pemt(inputs.model, bank, how_, o.train.seed);
    const auto train = labelled_rows(assignment.tasks, data::Split::train);
    const auto validation = labelled_rows(assignment.tasks, data::Split::validation);
    Taught out;
    out.figures = train_pemt(training, pemt, how_, train, validation);
    out.router = routing::save_pemt(assignment.name, inputs.model, pemt);
    out.more = {{"sources", pemt.sources()},
                {"gates", gates_of(inputs.model, pemt, validation.empty() ? train : validation)}};
    if (fold_) out.experts.push_back({assignment.name, task_names(assignment), routing::folded(inputs.model, pemt)});
    return out;
  }

 private:
  /// Throws Error{usage} where a source is not of the kind that `experts` says.
  void check_sources(const adapter::Bank& bank) const {
    const bool bottlenecks = experts_ == Sources::bottleneck;
    for (std::int64_t k = 0; k < bank.size(); ++k) {
      bool factors = false;
      for (std::int64_t s = 0; s < static_cast<std::int64_t>(bank.model_sites().size()); ++s)
        factors = factors || bank.site(s).experts[static_cast<std::size_t>(k)].a.defined();
      QUIVER_CHECK(factors != bottlenecks, usage, "--set experts", "expert '{}' is {}; say experts={}",
                   bank.names()[static_cast<std::size_t>(k)], bottlenecks ? "LoRA" : "not LoRA",
                   bottlenecks ? "lora" : "bottleneck");
    }
  }

  /// {site: {source: weight}}, means over rows.
  static nlohmann::json gates_of(const model::Model& model, const routing::Pemt& pemt,
                                 const std::vector<RoutedRow>& rows) {
    auto out = nlohmann::json::object();
    for (const auto& [site, weights] : mean_gates(model, pemt, rows)) {
      auto& at_site = out[model.sites()[static_cast<std::size_t>(site)].name];
      for (std::int64_t k = 0; k < pemt.sources(); ++k)
        at_site[pemt.bank->names()[static_cast<std::size_t>(k)]] = weights[k].item<double>();
    }
    return out;
  }

  PemtTraining how_;
  std::vector<std::string> sources_;
  Sources experts_ = Sources::lora;
  bool fold_ = false;
};

}  // namespace

MethodEntry pemt_method() {
  return {.name = "pemt",
          .summary = "PEMT's second stage: a task over source experts",
          .reads = reads,
          .settle = settle,
          .make = [] { return std::unique_ptr<Method>(std::make_unique<PemtMethod>()); }};
}

}  // namespace quiver::training
