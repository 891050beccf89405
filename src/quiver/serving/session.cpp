// SPDX-License-Identifier: Apache-2.0
#include "quiver/serving/session.h"

#include "quiver/routing/joined_source.h"

namespace quiver::serving {

Session::~Session() {
  if (route_ && route_->sessions) route_->sessions->close(id_);
}

std::vector<Session> Session::open(const std::shared_ptr<Route>& route, const std::vector<routing::Request>& requests) {
  auto ids = route->sessions ? route->sessions->open(requests) : std::vector<routing::Sessions::Id>(requests.size());
  std::vector<Session> out;
  out.reserve(ids.size());
  for (const auto id : ids) out.push_back(Session(route, id));
  return out;
}

Session Session::branch() const { return {route_, route_->sessions ? route_->sessions->branch(id_) : 0}; }

at::Tensor Session::soft_prompt() const { return route_->sessions ? route_->sessions->soft_prompt(id_) : at::Tensor(); }

std::unique_ptr<model::ExpertSource> Session::bind(const model::PackedBatch& batch,
                                                   const std::vector<const Session*>& sessions) {
  const auto bound = [&](const model::PackedBatch& rows, std::size_t first, std::size_t count) {
    const auto& open = sessions[first]->route_->sessions;
    std::vector<routing::Sessions::Id> ids;
    for (std::size_t i = first; i < first + count; ++i) ids.push_back(sessions[i]->id_);
    return open ? open->bind(rows, ids) : nullptr;
  };
  auto joined = std::make_unique<routing::JoinedSource>();
  for (std::size_t first = 0, end = 0; first < sessions.size(); first = end) {
    while (end < sessions.size() && sessions[end]->route_ == sessions[first]->route_) ++end;
    if (end - first == sessions.size()) return bound(batch, 0, end);
    auto rows = std::make_unique<model::PackedBatch>(routing::rows_of(batch, first, end - first));
    auto source = bound(*rows, first, end - first);
    joined->add(std::move(rows), std::move(source));
  }
  return joined;
}

}  // namespace quiver::serving
