// SPDX-License-Identifier: Apache-2.0
#include "quiver/serving/engine.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/randn.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "quiver/base/error.h"
#include "quiver/routing/constant_router.h"
#include "quiver/routing/test_bank.h"
#include "quiver/serving/generate.h"

namespace quiver::serving {
namespace {

using Ids = std::vector<std::int32_t>;

/// Hands on what another router does, and counts the requests that are open.
class Counting : public routing::Router {
 public:
  explicit Counting(std::shared_ptr<const routing::Router> inner) : inner_(std::move(inner)) {}
  std::unique_ptr<routing::Sessions> sessions() const override { return std::make_unique<Counted>(*this); }
  mutable std::int64_t open = 0, most = 0;

 private:
  class Counted : public routing::Sessions {
   public:
    explicit Counted(const Counting& router) : router_(router), inner_(router.inner_->sessions()) {}
    std::vector<Id> open(const std::vector<routing::Request>& requests) override {
      auto ids = inner_->open(requests);
      count(static_cast<std::int64_t>(ids.size()));
      return ids;
    }
    at::Tensor soft_prompt(Id id) const override { return inner_->soft_prompt(id); }
    std::unique_ptr<model::ExpertSource> bind(const model::PackedBatch& batch, const std::vector<Id>& ids) override {
      return inner_->bind(batch, ids);
    }
    Id branch(Id id) override {
      count(1);
      return inner_->branch(id);
    }
    void close(Id id) override {
      count(-1);
      inner_->close(id);
    }

   private:
    void count(std::int64_t more) {
      router_.open += more;
      router_.most = std::max(router_.most, router_.open);
    }
    const Counting& router_;
    std::unique_ptr<Sessions> inner_;
  };
  std::shared_ptr<const routing::Router> inner_;
};

class EngineOf : public routing::WithBank {
 protected:
  /// Under one expert of the bank.
  std::shared_ptr<const routing::Router> expert(std::int64_t number) const {
    return std::make_shared<routing::ConstantRouter>(bank_, std::vector<ops::ExpertWeight>{{number, 1.0f}});
  }
  Answer alone(const GenerateRequest& request) const {
    Engine engine(model_);
    const auto id = engine.submit(request);
    while (!engine.idle()) engine.step();
    return engine.take(id);
  }
  GenerateRequest request(Ids prompt, std::int64_t tokens, double temperature = 0.0) const {
    GenerateRequest out{std::move(prompt), "", nullptr, {}, 0};
    out.options.max_new_tokens = tokens;
    out.options.sampling.temperature = temperature;
    return out;
  }
  static std::string message(const Answer& answer) {
    try {
      answer.checked();
    } catch (const std::exception& error) {
      return error.what();
    }
    return "";
  }

  std::shared_ptr<adapter::Bank> bank_ = bank({3, 2});
  std::int64_t context_ = model_.config().max_positions;
};

/// Greedy, sampled, by beams, under routes of their own, submitted at any time: each as if it were alone.
TEST_F(EngineOf, RequestsComeAndGoAndDoNotTouchEachOther) {
  std::vector<GenerateRequest> requests;
  for (int i = 0; i < 9; ++i) {
    Ids prompt;
    for (int t = 0; t <= 2 * i; ++t) prompt.push_back((7 * i + 3 * t) % 90);
    requests.push_back(request(prompt, 3 + i, i % 3 == 1 ? 1.0 : 0.0));
    if (i % 3 == 2) requests.back().options.beams = 2;
    requests.back().number = static_cast<std::uint64_t>(i);
    if (i % 2) requests.back().router = expert(i % 4 == 1 ? 0 : 1);
  }
  std::vector<Answer> expected;
  for (const auto& r : requests) expected.push_back(alone(r));
  EXPECT_NE(expected[1].ids, alone(request(requests[1].prompt, 4)).ids) << "or sampling could not be told";
  for (const EngineOptions& options : {EngineOptions{}, EngineOptions{.open_rows = 3, .pass_tokens = 4}}) {
    Engine engine(model_, options);
    std::vector<Engine::Id> ids;
    std::size_t next = 0;
    for (int step = 0; next < requests.size() || !engine.idle(); ++step) {
      if (next < requests.size() && step % 2 == 0) ids.push_back(engine.submit(requests[next++]));
      engine.step();
    }
    for (std::size_t i = 0; i < ids.size(); ++i) EXPECT_EQ(engine.take(ids[i]).checked(), expected[i].checked()) << i;
  }
}

TEST_F(EngineOf, EventsTellTheTokensInTheirOrderAndTheEnd) {
  Engine engine(model_);
  const auto wanted = alone(request({5, 9, 20}, 6)).checked();
  auto stopping = request({5, 9, 20}, 6);
  stopping.options.stop_tokens = {wanted[3]};
  const auto id = engine.submit(stopping), other = engine.submit(request({7}, 2));
  Ids got, others;
  std::vector<Finish> ends;
  while (!engine.idle()) {
    for (const auto& event : engine.step()) {
      if (event.token) (event.id == id ? got : others).push_back(*event.token);
      if (event.finish != Finish::running) ends.push_back(event.finish);
    }
  }
  const auto before = std::find(wanted.begin(), wanted.end(), wanted[3]);
  EXPECT_EQ(got, Ids(wanted.begin(), before));
  EXPECT_EQ(others.size(), 2u);
  EXPECT_EQ(std::count(ends.begin(), ends.end(), Finish::length), 1);
  EXPECT_EQ(engine.take(id).finish, Finish::stop_token);
  EXPECT_EQ(engine.take(other).ids, others);
  EXPECT_THROW(engine.take(other), Error);
}

/// An error is its request's alone, wherever it comes from: the prompt, the router, the numbers of an expert.
TEST_F(EngineOf, AnErrorIsOneRequestsAlone) {
  auto broken = adapter::make_lora(model_, {.rank = 2}, 1);
  for (auto& [site, f] : broken.sites) f.b = at::full_like(f.b, std::numeric_limits<float>::max());
  bank_->add("broken", broken);
  routing::RouterInputs inputs;
  inputs.bank = bank_;
  inputs.expert_tasks = {{"known"}, {}, {"broken"}};
  const auto oracle = std::make_shared<routing::OracleRouter>(inputs);
  const auto under = [&](const std::string& task) {
    auto out = request({5, 9, 20}, 4);
    out.router = oracle;
    out.task = task;
    return out;
  };
  const auto expected = alone(under("known")).checked();
  Engine engine(model_);
  std::vector<Engine::Id> ids;
  for (const auto* task : {"known", "unheard of", "broken", "known"}) ids.push_back(engine.submit(under(task)));
  ids.push_back(engine.submit(request(Ids(static_cast<std::size_t>(context_) + 1, 3), 2)));
  auto search = under("broken");
  search.options.beams = 2;
  ids.push_back(engine.submit(search));
  while (!engine.idle()) engine.step();
  std::vector<Answer> answers;
  for (const auto id : ids) answers.push_back(engine.take(id));
  EXPECT_EQ(answers[0].checked(), expected);
  EXPECT_EQ(answers[3].checked(), expected);
  EXPECT_NE(message(answers[1]).find("unheard of"), std::string::npos) << message(answers[1]);
  EXPECT_NE(message(answers[2]).find("not finite"), std::string::npos) << message(answers[2]);
  EXPECT_NE(message(answers[5]).find("not finite"), std::string::npos) << message(answers[5]);
  const auto context = std::to_string(context_), tokens = std::to_string(context_ + 1);
  EXPECT_NE(message(answers[4]).find(context), std::string::npos) << message(answers[4]);
  EXPECT_NE(message(answers[4]).find(tokens), std::string::npos) << message(answers[4]);
  for (const auto& answer : answers) EXPECT_EQ(message(answer).find('\n'), std::string::npos);
}

/// The base model, for passes of one row; of several, each fails at its last norm, when caches have grown.
class LateFailure : public routing::StatelessRouter {
 public:
  explicit LateFailure(std::int64_t norms) : norms_(norms) {}
  std::unique_ptr<model::ExpertSource> bind(const model::PackedBatch& batch) const override {
    return std::make_unique<Source>(norms_, batch.rows.size() > 1);
  }

 private:
  class Source : public model::ExpertSource {
   public:
    Source(std::int64_t norms, bool fails) : norms_(norms), fails_(fails) {}
    std::vector<ops::SiteUse> at(const std::vector<model::SiteColumns>&, const at::Tensor&) override { return {}; }
    at::Tensor norm(std::int64_t number, const at::Tensor& weight) override {
      if (fails_ && number == norms_ - 1) throw std::runtime_error("no memory for several rows");
      return weight;
    }

   private:
    std::int64_t norms_;
    bool fails_;
  };
  std::int64_t norms_;
};

TEST_F(EngineOf, APassThatFailsLateLeavesNothingInCaches) {
  const auto router = std::make_shared<LateFailure>(static_cast<std::int64_t>(model_.norms().size()));
  const auto plain = request({5, 9, 20, 31}, 6), other = request({7, 40}, 6);
  Engine engine(model_);
  std::vector<Engine::Id> ids;
  for (auto own : {plain, other}) {
    own.router = router;
    ids.push_back(engine.submit(own));
  }
  while (!engine.idle()) engine.step();
  EXPECT_EQ(engine.take(ids[0]).checked(), alone(plain).checked());
  EXPECT_EQ(engine.take(ids[1]).checked(), alone(other).checked());
}

TEST_F(EngineOf, WhatCannotBeAnsweredIsNotTaken) {
  Engine engine(model_);
  EXPECT_THROW(engine.submit(request({}, 4)), Error);
  EXPECT_THROW(engine.submit(request({1, static_cast<std::int32_t>(model_.config().vocabulary)}, 4)), Error);
  EXPECT_THROW(engine.submit(request({-1}, 4)), Error);
  EXPECT_THROW(engine.submit(request({1}, -5)), Error);
  EXPECT_THROW(engine.submit(request({1}, 4, std::nan(""))), Error);
  const auto refused = [&](const std::function<void(GenerateOptions&)>& change) {
    auto own = request({1}, 4);
    own.options.beams = 2;
    change(own.options);
    EXPECT_THROW(engine.submit(own), Error);
  };
  refused([](auto& o) { o.sampling.temperature = 1.0; });
  refused([](auto& o) { o.sampling.top_k = 1; });
  refused([](auto& o) { o.sampling.top_p = 0.5; });
  refused([](auto& o) { o.sampling.min_p = 0.5; });
  refused([](auto& o) { o.sampling.repetition_penalty = 0.0; });
  refused([](auto& o) { o.beams = -1; });
  refused([](auto& o) { o.max_new_tokens = 0; });
  refused([](auto& o) { o.length_penalty = std::nan(""); });
  refused([](auto& o) {
    o.beams = 0;
    o.length_penalty = 2.0;
  });
  EXPECT_TRUE(engine.idle());
  const auto answers = generate(model_, {{"", {}}, {"", {5}}}, {.max_new_tokens = 2});
  EXPECT_THROW(answers[0].checked(), Error);
  EXPECT_EQ(answers[1].checked().size(), 2u);
}

/// The context holds vectors, prompt and answer; the last token is written and never read.
TEST_F(EngineOf, AnAnswerEndsWhereTheContextDoes) {
  adapter::Adapter with_prompt;
  with_prompt.soft_prompt = at::randn({6, model_.config().hidden});
  const auto number = bank_->add("prompt", with_prompt);
  const Ids prompt{5, 9, 20, 11};
  for (const std::int64_t beams : {0, 1, 3}) {
    for (const std::int64_t vectors : {0, 6}) {
      auto long_one = request(prompt, 10 * context_);
      long_one.options.beams = beams;
      if (vectors > 0) long_one.router = expert(number);
      const auto answer = alone(long_one);
      EXPECT_EQ(static_cast<std::int64_t>(answer.checked().size()), context_ - 4 - vectors + 1) << beams;
      EXPECT_EQ(answer.finish, Finish::context);
    }
  }
  // A prompt that fills it has one token of answer; one more is refused.
  const Ids full(static_cast<std::size_t>(context_), 5);
  EXPECT_EQ(alone(request(full, 9)).checked().size(), 1u);
  auto beyond = request(full, 9);
  beyond.router = expert(number);
  EXPECT_NE(message(alone(beyond)).find("6 vectors"), std::string::npos);
  EXPECT_EQ(alone(request(prompt, 0)).checked().size(), 0u);
  EXPECT_EQ(alone(request(prompt, 3)).finish, Finish::length);
}

/// Every request that was opened is closed, and its router given back, however it ended.
TEST_F(EngineOf, NothingStaysOpen) {
  auto counting = std::make_shared<const Counting>(expert(0));
  {
    Engine engine(model_, {.open_rows = 6, .pass_tokens = 16});
    std::vector<Engine::Id> ids;
    for (int i = 0; i < 6; ++i) {
      auto own = request({5, 9, i}, 3 + i);
      own.router = counting;
      if (i % 2) own.options.beams = 3;
      ids.push_back(engine.submit(own));
    }
    engine.step();
    engine.step();
    engine.cancel(ids[0]);
    engine.cancel(ids[1]);
    engine.cancel(ids[5]);  // it waits
    EXPECT_EQ(engine.take(ids[0]).finish, Finish::cancelled);
    EXPECT_EQ(engine.take(ids[5]).ids.size(), 0u);
    while (!engine.idle()) engine.step();
    EXPECT_EQ(counting->open, 0);
    EXPECT_GT(counting->most, 3);
    EXPECT_LE(counting->most, 8);  // a beam's branches are open before their parents are closed
    EXPECT_EQ(counting.use_count(), 1);
    engine.cancel(ids[2]);  // has ended
    EXPECT_EQ(engine.take(ids[2]).checked().size(), 5u);
    auto last = request({5}, 50);
    last.router = counting;
    engine.submit(last);
    engine.step();
    EXPECT_EQ(counting->open, 1);
  }
  EXPECT_EQ(counting->open, 0);
}

TEST_F(EngineOf, AStreamIsOfItsSeedAndNumber) {
  auto one = request({5, 9}, 12, 2.0);
  const auto first = alone(one).checked();
  EXPECT_EQ(alone(one).checked(), first);
  one.number = 1;
  const auto second = alone(one).checked();
  EXPECT_NE(second, first);
  one.options.seed = 7;
  EXPECT_NE(alone(one).checked(), second);
  GenerateOptions options;
  options.max_new_tokens = 12;
  options.sampling.temperature = 2.0;
  const auto both = generate(model_, {{"", {5, 9}}, {"", {5, 9}}}, options);
  EXPECT_EQ(both[0].checked(), first);
  EXPECT_EQ(both[1].checked(), second);
}

}  // namespace
}  // namespace quiver::serving
