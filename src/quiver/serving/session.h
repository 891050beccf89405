// SPDX-License-Identifier: Apache-2.0
// A request that is open under a router, closed when the handle goes.
#pragma once

#include <memory>
#include <vector>

#include "quiver/routing/router.h"

namespace quiver::serving {

/// A router and the requests that are open under it.
struct Route {
  std::shared_ptr<const routing::Router> router;  ///< null: the base model
  std::unique_ptr<routing::Sessions> sessions;    ///< null: the base model

  explicit Route(std::shared_ptr<const routing::Router> with)
      : router(std::move(with)), sessions(router ? router->sessions() : nullptr) {}
};

/// Moved, not copied. Keeps its route.
class Session {
 public:
  Session() = default;
  Session(Session&& other) noexcept { swap(other); }
  Session& operator=(Session&& other) noexcept {
    swap(other);
    return *this;
  }
  ~Session();

  static std::vector<Session> open(const std::shared_ptr<Route>& route, const std::vector<routing::Request>& requests);
  /// Another in the same state.
  Session branch() const;
  /// [m, D]; undefined: nothing.
  at::Tensor soft_prompt() const;
  const std::shared_ptr<Route>& route() const { return route_; }

  /// Experts for a pass whose row i is sessions[i]; those of one route stand side by side. For passes without gradients
  /// where there are several.
  static std::unique_ptr<model::ExpertSource> bind(const model::PackedBatch& batch,
                                                   const std::vector<const Session*>& sessions);

 private:
  Session(std::shared_ptr<Route> route, routing::Sessions::Id id) : route_(std::move(route)), id_(id) {}
  void swap(Session& other) noexcept {
    std::swap(route_, other.route_);
    std::swap(id_, other.id_);
  }

  std::shared_ptr<Route> route_;  ///< null: holds nothing
  routing::Sessions::Id id_ = 0;
};

}  // namespace quiver::serving
