// SPDX-License-Identifier: Apache-2.0
#include "quiver/evaluation/evaluate.h"

#include "quiver/base/error.h"
#include "quiver/evaluation/candidates.h"
#include "quiver/evaluation/test_evaluation.h"

namespace quiver::evaluation {
namespace {

/// Hands on what `inner` binds, and takes down what it was asked for.
class WatchedRouter : public routing::Router {
 public:
  explicit WatchedRouter(const routing::Router& inner) : inner_(inner) {}
  std::unique_ptr<routing::Sessions> sessions() const override { return std::make_unique<Watched>(*this); }
  mutable std::int64_t tokens = 0, most_tokens = 0, passes = 0;
  mutable std::vector<Ids> read;

 private:
  class Watched : public routing::Sessions {
   public:
    explicit Watched(const WatchedRouter& router) : router_(router), inner_(router.inner_.sessions()) {}
    std::vector<Id> open(const std::vector<routing::Request>& requests) override {
      for (const auto& request : requests) {
        EXPECT_EQ(request.task, "tiny");
        router_.read.emplace_back(request.prompt.begin(), request.prompt.end());
      }
      return inner_->open(requests);
    }
    at::Tensor soft_prompt(Id id) const override { return inner_->soft_prompt(id); }
    std::unique_ptr<model::ExpertSource> bind(const model::PackedBatch& batch, const std::vector<Id>& ids) override {
      router_.tokens += batch.tokens();
      router_.most_tokens = std::max(router_.most_tokens, batch.tokens());
      ++router_.passes;
      return inner_->bind(batch, ids);
    }
    Id branch(Id id) override { return inner_->branch(id); }
    void close(Id id) override { inner_->close(id); }

   private:
    const WatchedRouter& router_;
    std::unique_ptr<Sessions> inner_;
  };

  const routing::Router& inner_;
};

TEST_F(TinyEvaluation, CandidatesScoreAsInAPassOverTheWholeRow) {
  const routing::ConstantRouter expert(bank_, {{0, 1.0f}}), base(bank_, {});
  std::vector<PromptCandidates> prompts;
  for (const int count : {1, 5, 2}) {
    PromptCandidates p{tokenizer_.encode(words(count) + "\n"), {}};
    // Of one token, of several, and one that goes on where another ends.
    for (const std::string text : {"a", "al", "alal", "word", "longer words 12"}) {
      p.candidates.push_back(tokenizer_.encode(text));
    }
    prompts.push_back(p);
  }
  prompts[1].candidates.resize(2);
  ASSERT_EQ(prompts[0].candidates[1].size(), 1u);
  for (const auto* router : {&expert, &base}) {
    const auto scores = score_candidates(
        model_, prompts, routing::bind_requests(*router, std::vector<routing::Request>(prompts.size(), {"tiny", {}})));
    ASSERT_EQ(scores.size(), prompts.size());
    for (std::size_t p = 0; p < prompts.size(); ++p) {
      ASSERT_EQ(scores[p].size(), prompts[p].candidates.size());
      for (std::size_t c = 0; c < scores[p].size(); ++c) {
        EXPECT_NEAR(scores[p][c], log_likelihood(prompts[p].prompt, prompts[p].candidates[c], *router), kNear)
            << "prompt " << p << " candidate " << c;
      }
    }
  }
  const auto first = prompts[0].candidates[4];
  EXPECT_GT(std::abs(log_likelihood(prompts[0].prompt, first, expert) - log_likelihood(prompts[0].prompt, first, base)),
            0.05)
      << "or the test could not tell whether the expert was there";
}

TEST_F(TinyEvaluation, OptionsAreRankedPerTokenAndBySum) {
  for (int i = 0; i < 12; ++i) {
    data::Example example;
    example.source = words(1 + i % 5);
    example.options = {words(1), words(2), words(3), words(1) + "al"};
    example.target = example.options[static_cast<std::size_t>(i) % 4];
    if (i == 3) example.references = {example.options[0], example.options[1]};
    example.split = data::Split::test;
    task_.examples.push_back(example);
  }
  const routing::ConstantRouter expert(bank_, {{0, 1.0f}});
  const WatchedRouter watched(expert);
  const auto got = evaluated(watched);

  double right_mean = 0.0, right_sum = 0.0;
  int differ = 0;
  std::int64_t needed = 0;
  ASSERT_EQ(got.samples.size(), 12u);
  for (std::size_t i = 0; i < 12; ++i) {
    const auto& example = task_.examples[i];
    const auto prompt = prompt_of(example);
    std::vector<double> sums, means;
    for (const auto& option : example.options) {
      const auto ids = tokenizer_.encode(option);
      sums.push_back(log_likelihood(prompt, ids, expert));
      means.push_back(sums.back() / static_cast<double>(ids.size()));
      needed += static_cast<std::int64_t>(ids.size()) - 1;
    }
    needed += static_cast<std::int64_t>(prompt.size() + tokenizer_.encode(example.target).size());
    const auto best = [&](std::vector<double> values) {
      const auto at = std::max_element(values.begin(), values.end()) - values.begin();
      std::sort(values.rbegin(), values.rend());
      EXPECT_GT(values[0] - values[1], 2 * kNear) << "row " << i << " is too close to call";
      return example.options[static_cast<std::size_t>(at)];
    };
    const auto is_right = [&](const std::string& option) {
      if (example.references.empty()) return option == example.target;
      return option == example.references[0] || option == example.references[1];
    };
    const auto by_mean = best(means), by_sum = best(sums);
    differ += by_mean != by_sum;
    right_mean += is_right(by_mean);
    right_sum += is_right(by_sum);
    EXPECT_EQ(got.samples[i].source, example.source);
    EXPECT_EQ(got.samples[i].prediction, by_mean) << "row " << i;
    EXPECT_EQ(got.samples[i].scores.at("accuracy"), is_right(by_mean)) << "row " << i;
    EXPECT_EQ(got.samples[i].scores.at("accuracy_sum"), is_right(by_sum)) << "row " << i;
  }
  EXPECT_GT(differ, 0) << "or the test could not tell the two rules apart";
  EXPECT_NEAR(result(got, "accuracy").value, right_mean / 12, 1e-12);
  EXPECT_NEAR(result(got, "accuracy_sum").value, right_sum / 12, 1e-12);
  EXPECT_EQ(headline(got).metric, "accuracy");
  EXPECT_EQ(got.results[0].route, "own");
  expect_perplexity(got, expert);
  // Each prompt is computed once, and of each option and target (with its end) all tokens but the last.
  EXPECT_EQ(watched.tokens, needed);
  EXPECT_EQ(watched.passes, 2);

  EvaluateOptions one_by_one;
  one_by_one.batch_tokens = 1;
  const auto again = evaluated(expert, one_by_one);
  for (std::size_t i = 0; i < 12; ++i) {
    EXPECT_EQ(again.samples[i].prediction, got.samples[i].prediction);
    EXPECT_NEAR(again.samples[i].scores.at("target_log_likelihood"), got.samples[i].scores.at("target_log_likelihood"),
                kNear);
  }
}

TEST_F(TinyEvaluation, AnswersAreGeneratedToTheEndOfTheirFirstLine) {
  constexpr std::int64_t kMaxTokens = 6;
  const routing::ConstantRouter expert(bank_, {{0, 1.0f}});
  std::vector<std::string> answers;
  int ended = 0;
  for (int i = 0; i < 12; ++i) {
    data::Example example;
    example.source = words(1 + i % 4);
    const auto line = greedy_line(prompt_of(example), kMaxTokens, expert);
    answers.push_back(line.text);
    ended += line.ended;
    example.target = i % 3 == 0 ? answers.back() : "no such answer";
    if (example.target.empty()) example.target = "none";
    if (i % 3 == 1) example.references = {"other", answers.back()};
    example.split = data::Split::test;
    task_.examples.push_back(example);
  }
  EvaluateOptions options;
  options.max_new_tokens = kMaxTokens;
  const auto got = evaluated(WatchedRouter(expert), options);
  double right = 0.0;
  for (std::size_t i = 0; i < 12; ++i) {
    const auto& e = task_.examples[i];
    const bool match = i % 3 == 1 || e.target == answers[i];
    EXPECT_EQ(got.samples[i].prediction, answers[i]) << "row " << i;
    EXPECT_EQ(got.samples[i].scores.at("exact_match"), match) << "row " << i;
    right += match;
  }
  EXPECT_GT(ended, 0) << "or the test could not tell whether an answer ends";
  EXPECT_LT(ended, 12);
  EXPECT_NEAR(result(got, "exact_match").value, right / 12, 1e-12);
  EXPECT_EQ(headline(got).metric, "exact_match");
  expect_perplexity(got, expert);
}

TEST_F(TinyEvaluation, FewLabelsOfTheTrainingRowsAreRankedOnRequest) {
  for (const auto split : {data::Split::train, data::Split::test}) {
    for (const std::string label : {"yes", "no", "al", "no"}) {
      data::Example example;
      example.source = words(2);
      example.target = label;
      example.split = split;
      task_.examples.push_back(example);
    }
  }
  const routing::ConstantRouter base(bank_, {});
  EvaluateOptions options;
  options.label_limit = 3;
  options.limit = 2;
  const auto ranked = evaluated(base, options);
  ASSERT_EQ(ranked.samples.size(), 2u);
  for (std::size_t i = 0; i < 2; ++i) {
    const auto prompt = prompt_of(task_.examples[4 + i]);
    std::string best;
    double highest = -INFINITY;
    for (const std::string label : {"yes", "no", "al"}) {
      const auto ids = tokenizer_.encode(label);
      const double mean = log_likelihood(prompt, ids, base) / static_cast<double>(ids.size());
      if (mean > highest) highest = mean, best = label;
    }
    EXPECT_EQ(ranked.samples[i].prediction, best);
    EXPECT_EQ(ranked.samples[i].source, task_.examples[4 + i].source) << "rows of the split, in their order";
  }
  options.label_limit = 2;
  options.max_new_tokens = 2;
  EXPECT_EQ(headline(evaluated(base, options)).metric, "exact_match") << "three labels are too many for two";
}

TEST_F(TinyEvaluation, LabelsAreRankedWhereNoRowListsOptions) {
  const routing::ConstantRouter base(bank_, {});
  EvaluateOptions options;
  options.label_limit = 3;
  options.max_new_tokens = 2;
  task_.examples = {row("ab", "yes"), row("ab", "no"), row("cd", "yes"), row("ef", "no", {"yes", "no"})};
  task_.examples[0].split = task_.examples[1].split = data::Split::train;
  const auto forward = evaluated(base, options);
  std::swap(task_.examples[2], task_.examples[3]);
  const auto backward = evaluated(base, options);
  for (const auto* got : {&forward, &backward}) {
    EXPECT_EQ(headline(*got).metric, "exact_match");
    EXPECT_EQ(got->findings.count(data::RowFinding::without_options), 1u);
  }
  EXPECT_EQ(forward.samples[0].prediction, backward.samples[1].prediction);
  task_.examples[2] = row("ef", "maybe");
  const auto ranked = evaluated(base, options);
  EXPECT_EQ(headline(ranked).metric, "accuracy");
  EXPECT_EQ(ranked.findings.count(data::RowFinding::outside_options), 1u);
  EXPECT_NE(ranked.findings.lines()[0].find("'maybe' is none of 'no', 'yes'"), std::string::npos);
}

TEST_F(TinyEvaluation, WholeRowsAreRoutedByTheirSourcesInPortions) {
  const routing::ConstantRouter expert(bank_, {{0, 1.0f}});
  const WatchedRouter watched(expert);
  EvaluateOptions options;
  options.join.whole_sequence_loss = true;
  options.join.begin_token = kEnd;
  options.batch_tokens = 40;
  options.max_new_tokens = 1;
  std::size_t longest = 0;
  for (int i = 0; i < 8; ++i) {
    task_.examples.push_back(row(words(6 + i % 3), "ab", {"ab", "cd"}));
    longest = std::max(longest, prompt_of(task_.examples.back()).size() + 4);
  }
  evaluated(watched, options);
  constexpr std::int64_t kOptions = 8;  // tokens of them in one portion, at most
  EXPECT_LE(watched.most_tokens, options.batch_tokens + static_cast<std::int64_t>(longest) + kOptions);
  for (const auto& example : task_.examples) {
    auto prompt = prompt_of(example);
    prompt.insert(prompt.begin(), kEnd);
    EXPECT_EQ(std::count(watched.read.begin(), watched.read.end(), prompt), 2) << example.source;
  }

  // Rows that begin alike are each routed by what they read.
  for (auto& example : task_.examples) example.options.clear();
  const WatchedRouter again(expert);
  evaluated(again, options);
  for (const auto& example : task_.examples) {
    auto prompt = prompt_of(example);
    prompt.insert(prompt.begin(), kEnd);
    EXPECT_EQ(std::count(again.read.begin(), again.read.end(), prompt), 2) << "scored and answered: " << example.source;
  }
}

TEST_F(TinyEvaluation, AWholeRowWithoutAnAnswerIsRead) {
  const routing::ConstantRouter base(bank_, {});
  EvaluateOptions options;
  options.join.whole_sequence_loss = true;
  options.join.append_eos = false;
  options.max_new_tokens = 1;
  task_.examples = {row("abc def", ""), row("ab", "cd")};
  const auto got = evaluated(base, options);
  ASSERT_EQ(got.samples.size(), 2u);
  EXPECT_EQ(got.samples[0].scores.at("target_tokens"), static_cast<double>(prompt_of(task_.examples[0]).size() - 1));
}

TEST_F(TinyEvaluation, ATaskAsksForMetricsByName) {
  for (const std::string label : {"yes", "no", "no", "yes"}) {
    data::Example example;
    example.source = words(2);
    example.target = label;
    example.options = {"yes", "no"};
    example.group = task_.examples.size() < 2 ? "1" : "2";
    example.split = data::Split::test;
    task_.examples.push_back(example);
  }
  task_.metrics = {"matthews", "group_em"};
  const routing::ConstantRouter base(bank_, {});
  const auto got = evaluated(base, {});
  std::vector<Answered> rows;
  for (std::size_t i = 0; i < 4; ++i) {
    const auto& example = task_.examples[i];
    rows.push_back({got.samples[i].prediction, example.target, {}, example.group});
  }
  EXPECT_EQ(headline(got).metric, "matthews");
  for (const auto& metric : task_.metrics) {
    EXPECT_EQ(result(got, metric).value, interval_of(measure(metric, rows, "test"), {}).mean) << metric;
    EXPECT_EQ(result(got, metric).count, 4u);
  }
  task_.metrics = {"mathews"};
  EXPECT_THROW(evaluated(base, {}), Error);
}

TEST_F(TinyEvaluation, AnswersAreScoredAsTrainingJoinsThem) {
  using Join = data::JoinOptions;
  const std::vector<Join> rules{
      {.separator = Join::Separator::none, .tokenise = Join::Tokenise::joint},
      {.separator = Join::Separator::none, .tokenise = Join::Tokenise::joint, .mask = Join::Mask::source_alone},
      {.separator = Join::Separator::mttl_space, .tokenise = Join::Tokenise::joint, .truncate_jointly = true},
      {.max_tokens = 9, .whole_sequence_loss = true},
  };
  for (int i = 0; i < 4; ++i) {
    data::Example example;
    example.source = words(3) + "a";
    example.options = {"lo" + words(1), "zeb", "lo"};  // "al" and "az" are tokens
    example.target = example.options[static_cast<std::size_t>(i) % 3];
    example.split = data::Split::test;
    task_.examples.push_back(example);
  }
  const auto encode = [&](std::string_view text) { return tokenizer_.encode(text); };
  const routing::ConstantRouter expert(bank_, {{0, 1.0f}});
  const auto scored = [&](const std::string& source, const std::string& answer, const Join& joined) {
    const auto row = data::join_texts(source, answer, encode, kEnd, joined);
    const auto border = row.ids.begin() + row.target_begin;
    return std::pair(log_likelihood({row.ids.begin(), border}, {border, row.ids.end()}, expert),
                     static_cast<double>(row.ids.end() - border));
  };
  for (std::size_t r = 0; r < rules.size(); ++r) {
    EvaluateOptions options;
    options.join = rules[r];
    const auto& target_rules = rules[r];
    auto option_rules = target_rules;
    option_rules.whole_sequence_loss = false;
    option_rules.append_eos = false;
    const auto got = evaluated(expert, options);
    for (std::size_t i = 0; i < task_.examples.size(); ++i) {
      const auto& e = task_.examples[i];
      const auto [likelihood, tokens] = scored(e.source, e.target, target_rules);
      EXPECT_NEAR(got.samples[i].scores.at("target_log_likelihood"), likelihood, kNear)
          << "rules " << r << " row " << i;
      EXPECT_EQ(got.samples[i].scores.at("target_tokens"), tokens);
      std::vector<double> means;
      for (const auto& option : e.options) {
        const auto [sum, count] = scored(e.source, option, option_rules);
        means.push_back(sum / count);
      }
      const auto best = std::max_element(means.begin(), means.end()) - means.begin();
      EXPECT_EQ(got.samples[i].prediction, e.options[static_cast<std::size_t>(best)]) << "rules " << r << " row " << i;
    }
  }
  const auto row = data::join_texts("ca", "lo", encode, kEnd, rules[0]);
  EXPECT_EQ(row.ids, (Ids{tokenizer_.encode("c")[0], tokenizer_.encode("al")[0], tokenizer_.encode("o")[0], kEnd}))
      << "or no token spans a border here";
  EXPECT_GT(data::join_texts(task_.examples[0].source, "lo", encode, kEnd, rules[3]).dropped_tokens, 0);
}

TEST_F(TinyEvaluation, ATargetEndsAsTheRulesAndTheTokenizerSay) {
  const routing::ConstantRouter base(bank_, {});
  data::Example example;
  example.source = "ab";
  example.target = "cd";
  example.options = {"cd", "e"};
  example.split = data::Split::test;
  task_.examples = {example};
  tokenizer_ = tiny_tokenizer({});
  try {
    evaluated(base);
    ADD_FAILURE() << "expected an Error: there is no token to end the target with";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::unsupported);
    EXPECT_NE(std::string(error.what()).find("--no-eos"), std::string::npos) << error.what();
  }
  EvaluateOptions options;
  options.join.append_eos = false;
  for (const Ids& ends : {Ids{}, Ids{kEnd}}) {
    tokenizer_ = tiny_tokenizer(ends);
    const auto scores = evaluated(base, options).samples[0].scores;
    EXPECT_EQ(scores.at("target_tokens"), 2);
    EXPECT_NEAR(scores.at("target_log_likelihood"), log_likelihood(prompt_of(example), tokenizer_.encode("cd"), base),
                kNear);
  }
}

}  // namespace
}  // namespace quiver::evaluation
