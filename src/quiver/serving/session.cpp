// SPDX-License-Identifier: Apache-2.0
#include "quiver/serving/session.h"

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

at::Tensor Session::soft_prompt() const {
  return route_->sessions ? route_->sessions->soft_prompt(id_) : at::Tensor();
}

std::unique_ptr<model::ExpertSource> Session::bind(const model::PackedBatch& batch,
                                                   const std::vector<const Session*>& sessions) {
  const auto& open = sessions.at(0)->route_->sessions;
  if (!open) return nullptr;
  std::vector<routing::Sessions::Id> ids;
  for (const auto* session : sessions) ids.push_back(session->id_);
  return open->bind(batch, ids);
}

}  // namespace quiver::serving
