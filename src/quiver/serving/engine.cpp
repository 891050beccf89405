// SPDX-License-Identifier: Apache-2.0
#include "quiver/serving/engine.h"

#include <ATen/ops/index_select.h>
#include <ATen/ops/tensor.h>
#include <c10/core/GradMode.h>

#include <algorithm>
#include <set>

#include "quiver/base/error.h"

namespace quiver::serving {

Engine::Engine(model::Model model, EngineOptions options) : model_(std::move(model)), options_(options) {
  QUIVER_CHECK(options_.open_rows >= 1 && options_.pass_tokens >= 1, usage, "engine",
               "{} rows at once and {} tokens a pass, expected at least 1", options_.open_rows, options_.pass_tokens);
}

Engine::Id Engine::submit(GenerateRequest request) {
  check(request.options);
  QUIVER_CHECK(!request.prompt.empty(), usage, "prompt", "it is empty; give at least one token");
  const auto vocabulary = model_.config().vocabulary;
  for (const auto id : request.prompt)
    QUIVER_CHECK(id >= 0 && id < vocabulary, mismatch, "prompt", "token id {} is outside the vocabulary of {}", id,
                 vocabulary);
  jobs_.emplace(next_, Job(std::move(request)));
  waiting_.push_back(next_);
  return next_++;
}

std::vector<Engine::Event> Engine::step() {
  const c10::AutoGradMode no_gradient(false);
  events_.clear();
  admit();
  if (model_.config().encoder_decoder()) encode();
  run(next_pass(), &Engine::forward);
  return std::move(events_);
}

void Engine::cancel(Id id) {
  const auto found = jobs_.find(id);
  if (found == jobs_.end()) return;
  found->second.end(Finish::cancelled);
  keep_answer(id);
}

Answer Engine::take(Id id) {
  const auto found = answers_.find(id);
  QUIVER_CHECK(found != answers_.end(), usage, "engine", "request {} has not ended, or was never submitted", id);
  auto out = std::move(found->second);
  answers_.erase(found);
  return out;
}

std::shared_ptr<Route> Engine::route_of(const GenerateRequest& request) {
  auto& kept = routes_[request.router.get()];
  auto route = kept.lock();
  if (!route) {
    std::erase_if(routes_, [&](const auto& r) { return r.first != request.router.get() && r.second.expired(); });
    route = std::make_shared<Route>(request.router);
    routes_[request.router.get()] = route;
  }
  return route;
}

/// Opens as many of those that wait as there is room for, those of one route together.
void Engine::admit() {
  std::int64_t open_rows = 0;
  for (const auto& [id, job] : open_) open_rows += job->width();
  std::vector<std::pair<const routing::Router*, std::vector<Id>>> chosen;
  for (; !waiting_.empty(); waiting_.pop_front()) {
    const auto id = waiting_.front();
    const auto found = jobs_.find(id);
    if (found == jobs_.end()) continue;
    const auto& job = found->second;
    if (open_rows > 0 && open_rows + job.width() > options_.open_rows) break;
    open_rows += job.width();
    const auto* router = job.request().router.get();
    auto group = std::find_if(chosen.begin(), chosen.end(), [&](const auto& g) { return g.first == router; });
    if (group == chosen.end()) group = chosen.insert(chosen.end(), {router, {}});
    group->second.push_back(id);
  }
  for (const auto& [router, ids] : chosen) open(ids);
}

void Engine::open(const std::vector<Id>& ids) {
  std::vector<Session> sessions;
  try {
    std::vector<routing::Request> requests;
    for (const auto id : ids) requests.push_back({jobs_.at(id).request().task, jobs_.at(id).request().prompt});
    sessions = Session::open(route_of(jobs_.at(ids[0]).request()), requests);
  } catch (const std::exception&) {
    if (ids.size() == 1) return fail(ids[0]);
    for (const auto id : ids) open({id});
    return;
  }
  for (std::size_t i = 0; i < ids.size(); ++i) {
    auto& job = jobs_.at(ids[i]);
    try {
      job.open(std::move(sessions[i]), model_.config());
    } catch (const std::exception&) {
      fail(ids[i]);
      continue;
    }
    open_.emplace(ids[i], &job);
    if (job.request().options.max_new_tokens == 0) {
      job.end(Finish::length);
      settle(ids[i], std::nullopt);
    }
  }
}

/// Encoder-decoders: reads the prompts of open requests, as many as a pass may hold and at least one.
void Engine::encode() {
  Pass pass;
  std::int64_t tokens = 0;
  for (const auto& [id, job] : open_) {
    if (!job->is_unread()) continue;
    const auto own = static_cast<std::int64_t>(job->request().prompt.size());
    if (!pass.empty() && tokens + own > options_.pass_tokens) break;
    tokens += own;
    pass.push_back({id, job, 0, own});
  }
  run(pass, &Engine::read_prompts);
}

/// Rows that answer go first with their one token; prompts share what is left of the pass, in their order.
Engine::Pass Engine::next_pass() {
  Pass pass, reading;
  std::int64_t room = options_.pass_tokens;
  for (const auto& [id, job] : open_) {
    if (job->is_unread()) continue;
    for (std::size_t r = 0; r < job->rows().size(); ++r) {
      const auto& row = job->rows()[r];
      const auto left = static_cast<std::int64_t>(row.ids.size() - row.fed);
      (job->answers() ? pass : reading).push_back({id, job, r, left});
      if (job->answers()) --room;
    }
  }
  for (auto& row : reading) {
    row.tokens = std::min(row.tokens, pass.empty() ? std::max<std::int64_t>(room, 1) : room);
    if (row.tokens <= 0) break;
    room -= row.tokens;
    pass.push_back(row);
  }
  return pass;
}

/// Rows of one route side by side.
void Engine::run(Pass pass, void (Engine::*work)(const Pass&)) {
  if (pass.empty()) return;
  std::vector<const Route*> order;
  const auto place = [&](const PassRow& row) {
    const auto* route = row.job->rows()[row.row].session.route().get();
    const auto found = std::find(order.begin(), order.end(), route);
    if (found != order.end()) return found - order.begin();
    order.push_back(route);
    return static_cast<std::ptrdiff_t>(order.size()) - 1;
  };
  std::vector<std::pair<std::ptrdiff_t, PassRow>> placed;
  for (const auto& row : pass) placed.emplace_back(place(row), row);
  std::stable_sort(placed.begin(), placed.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  for (std::size_t i = 0; i < pass.size(); ++i) pass[i] = placed[i].second;
  run_alone(pass, work);
}

/// Where a pass fails, each of its requests is tried by itself, from caches that are as they were before.
void Engine::run_alone(const Pass& pass, void (Engine::*work)(const Pass&)) {
  std::vector<std::int64_t> lengths;
  for (const auto& row : pass) lengths.push_back(row.job->rows()[row.row].cache.length());
  try {
    (this->*work)(pass);
  } catch (const std::exception&) {
    std::map<Id, Pass> by_request;
    for (std::size_t i = 0; i < pass.size(); ++i) {
      const auto& row = pass[i];
      if (!jobs_.contains(row.id)) continue;
      row.job->rows()[row.row].cache.truncate(lengths[i]);
      by_request[row.id].push_back(row);
    }
    if (by_request.size() == 1) return fail(by_request.begin()->first);
    for (const auto& [id, own] : by_request) run_alone(own, work);
  }
}

void Engine::read_prompts(const Pass& pass) {
  std::vector<model::RowInput> rows;
  std::vector<const Session*> sessions;
  for (const auto& p : pass) {
    auto& row = p.job->rows()[0];
    rows.push_back({row.ids, &row.cache, true, row.session.soft_prompt()});
    sessions.push_back(&row.session);
  }
  const auto batch = model::pack(rows);
  const auto experts = Session::bind(batch, sessions);
  model_.forward(batch, experts.get());
  for (const auto& p : pass) p.job->set_read(model_.config().answer_start);
}

void Engine::forward(const Pass& pass) {
  std::vector<model::RowInput> rows;
  std::vector<const Session*> sessions;
  for (const auto& p : pass) {
    auto& row = p.job->rows()[p.row];
    const auto ids = std::span(std::as_const(row.ids)).subspan(row.fed, static_cast<std::size_t>(p.tokens));
    rows.push_back({ids, &row.cache, true});
    if (row.fed == 0 && !model_.config().encoder_decoder()) rows.back().soft = row.session.soft_prompt();
    sessions.push_back(&row.session);
  }
  const auto batch = model::pack(rows, model_.config().encoder_decoder() ? model::Part::answer : model::Part::prompt);
  const auto experts = Session::bind(batch, sessions);
  const auto hidden = model_.forward(batch, experts.get());
  std::vector<std::int64_t> last;
  std::vector<PassRow> ready;  // the first row of each request that has been read to its end
  for (std::size_t i = 0; i < pass.size(); ++i) {
    const auto& row = pass[i].job->rows()[pass[i].row];
    if (row.fed + static_cast<std::size_t>(pass[i].tokens) < row.ids.size()) continue;
    if (pass[i].row == 0) ready.push_back(pass[i]);
    last.push_back(batch.rows[i].begin + batch.rows[i].count - 1);
  }
  at::Tensor logits;
  if (!last.empty()) logits = model_.logits(at::index_select(hidden, 0, at::tensor(last, at::kLong))).contiguous();
  // From here on nothing of the pass fails as a whole.
  for (const auto& p : pass) p.job->rows()[p.row].fed += static_cast<std::size_t>(p.tokens);
  std::int64_t next = 0;
  for (const auto& p : ready) {
    const auto count = static_cast<std::int64_t>(p.job->rows().size());
    const auto own = logits.narrow(0, next, count);
    next += count;
    std::optional<std::int32_t> token;
    try {
      token = p.job->take(own, model_.config());
    } catch (const std::exception&) {
      fail(p.id);
      continue;
    }
    settle(p.id, token);
  }
}

/// Tells what a request wrote, and keeps the answer of one that ended.
void Engine::settle(Id id, std::optional<std::int32_t> token) {
  const auto& job = jobs_.at(id);
  const auto finish = job.answer().finish;
  if (token || job.ended()) events_.push_back({id, token, finish});
  if (!job.ended()) return;
  keep_answer(id);
}

void Engine::keep_answer(Id id) {
  answers_.emplace(id, jobs_.at(id).answer());
  open_.erase(id);
  jobs_.erase(id);
}

/// Ends a request with the exception that is being handled.
void Engine::fail(Id id) {
  jobs_.at(id).end(Finish::error, std::current_exception());
  settle(id, std::nullopt);
}

}  // namespace quiver::serving
