// SPDX-License-Identifier: Apache-2.0
// A router computes mixes: which experts of a bank apply to each token, and how strongly.
//
// Immutable once made and safe to share between threads; all that belongs to requests and batches lives in its
// sessions (sessions.h).
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "quiver/adapter/bank.h"
#include "quiver/base/progress.h"
#include "quiver/library/library.h"
#include "quiver/model/bind_experts.h"
#include "quiver/model/model.h"
#include "quiver/routing/sessions.h"
#include "quiver/text/tokenizer.h"

namespace quiver::routing {

class Router {
 public:
  virtual ~Router() = default;
  /// Fresh ones, with no request open.
  virtual std::unique_ptr<Sessions> sessions() const = 0;
  /// The experts that its mixes number, where they are its own and not those of the bank it was made with.
  virtual std::vector<std::string> own_experts() const { return {}; }
  /// Whether Request::task decides anything.
  virtual bool reads_task() const { return false; }
};

/// These requests, open for as long as the function is kept: experts for passes over them by their numbers in the list.
/// It serves one thread and must not outlive the router.
model::BindExperts bind_requests(const Router& router, const std::vector<Request>& requests);

/// Experts for one pass in which row i is requests[i].
std::unique_ptr<model::ExpertSource> bind_once(const Router& router, const model::PackedBatch& batch,
                                               const std::vector<Request>& requests);

/// For routers to which all requests are alike.
class StatelessRouter : public Router {
 public:
  virtual std::unique_ptr<model::ExpertSource> bind(const model::PackedBatch& batch) const = 0;
  std::unique_ptr<Sessions> sessions() const final;
};

/// For routers that choose experts once per request, the same at all sites and tokens.
class RequestRouter : public Router {
 public:
  RequestRouter(std::shared_ptr<const adapter::Bank> bank, ops::Combine combine)
      : bank_(std::move(bank)), combine_(combine) {}
  /// The pairs of each request; empty pairs: the base model.
  virtual std::vector<std::vector<ops::ExpertWeight>> choose(const std::vector<Request>& requests) const = 0;
  std::unique_ptr<Sessions> sessions() const final;

 protected:
  std::shared_ptr<const adapter::Bank> bank_;
  ops::Combine combine_;
};

/// Row i of the batch mixes pairs[i] at every site.
std::unique_ptr<model::ExpertSource> bind_rows(std::shared_ptr<const adapter::Bank> bank,
                                               const model::PackedBatch& batch,
                                               const std::vector<std::vector<ops::ExpertWeight>>& pairs,
                                               ops::Combine combine = ops::Combine::outputs);

/// The vectors that each row's prompt begins with under its pairs; empty where no expert has any. Throws
/// Error{unsupported} where an expert that has some is mixed with others or has another weight than 1.
std::vector<at::Tensor> soft_prompts(const adapter::Bank& bank,
                                     const std::vector<std::vector<ops::ExpertWeight>>& pairs);

/// What routers are made from. What is not needed by a route may be missing.
struct RouterInputs {
  std::shared_ptr<const adapter::Bank> bank;
  /// Tasks of each expert, by expert number: what the oracle goes by.
  std::vector<std::vector<std::string>> expert_tasks;
  /// Of each expert of a library, by expert number: what adapter::identity said of the bytes that the bank holds. Data
  /// derived from an expert is kept under it.
  std::vector<std::string> identities;
  /// Where derived data is read and kept; null: the bank's experts are not those of a library.
  std::shared_ptr<const library::Library> library;
  std::optional<model::Model> model;
  const text::Tokenizer* tokenizer = nullptr;  ///< for routers that read the text of a prompt
  Progress* progress = nullptr;
};

}  // namespace quiver::routing
