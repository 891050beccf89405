// SPDX-License-Identifier: Apache-2.0
// Requests under a router: opened with their prompts, bound to the passes that they are part of, branched where several
// answers go on from one state (beams), and closed when they end.
//
// Serves one thread and must not outlive its router.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "quiver/base/error.h"
#include "quiver/model/experts.h"
#include "quiver/model/packed_batch.h"

namespace quiver::routing {

/// A text on its way through the model: a row of a task, or a prompt and its answer.
struct Request {
  std::string task;                  ///< "" where unknown: only the oracle asks
  std::vector<std::int32_t> prompt;  ///< what routers that choose once per request go by
};

class Sessions {
 public:
  using Id = std::int64_t;

  virtual ~Sessions() = default;
  /// What is chosen once per request is chosen here, for several at once where the router reads prompts. Where one is
  /// refused, none is opened.
  virtual std::vector<Id> open(const std::vector<Request>& requests) = 0;
  /// [m, D]: read before the request's prompt; undefined: nothing.
  virtual at::Tensor soft_prompt(Id id) const = 0;
  /// Experts for a pass whose row i belongs to ids[i]; null: the base model. Rows that extend their caches have ids of
  /// their own; rows that only read one may share its id. What is returned may be used until the pass's backward pass
  /// is over, whether the ids are closed before or not.
  virtual std::unique_ptr<model::ExpertSource> bind(const model::PackedBatch& batch, const std::vector<Id>& ids) = 0;
  /// Another request in the state that `id` is in, which goes on by itself.
  virtual Id branch(Id id) = 0;
  virtual void close(Id id) = 0;
};

/// Sessions of a router whose requests each have a State; all but what it means. An id that is not open is an
/// Error{usage}.
template <typename State>
class StateSessions : public Sessions {
 public:
  std::vector<Id> open(const std::vector<Request>& requests) final {
    std::vector<Id> ids;
    for (auto& state : start(requests)) ids.push_back(keep(std::move(state)));
    return ids;
  }
  at::Tensor soft_prompt(Id id) const final { return prompt_of(*at(id)); }
  std::unique_ptr<model::ExpertSource> bind(const model::PackedBatch& batch, const std::vector<Id>& ids) final {
    QUIVER_CHECK(ids.size() == batch.rows.size(), mismatch, "router", "{} requests for a batch of {} rows", ids.size(),
                 batch.rows.size());
    States states;
    for (const auto id : ids) states.push_back(at(id));
    return bind_states(batch, states);
  }
  Id branch(Id id) final { return keep(branched(*at(id))); }
  void close(Id id) final {
    at(id);
    states_.erase(id);
  }

 protected:
  using States = std::vector<std::shared_ptr<State>>;
  virtual std::vector<State> start(const std::vector<Request>& requests) = 0;
  virtual std::unique_ptr<model::ExpertSource> bind_states(const model::PackedBatch& batch, const States& states) = 0;
  virtual at::Tensor prompt_of(const State&) const { return {}; }
  virtual State branched(const State& state) const { return state; }

 private:
  Id keep(State state) {
    states_.emplace(next_, std::make_shared<State>(std::move(state)));
    return next_++;
  }
  const std::shared_ptr<State>& at(Id id) const {
    const auto found = states_.find(id);
    QUIVER_CHECK(found != states_.end(), usage, "router", "request {} is not open", id);
    return found->second;
  }

  std::map<Id, std::shared_ptr<State>> states_;
  Id next_ = 0;
};

}  // namespace quiver::routing
