// SPDX-License-Identifier: Apache-2.0
// Options that many verbs share, and what they load.
#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "quiver/base/progress.h"
#include "quiver/data/join.h"
#include "quiver/data/task.h"
#include "quiver/library/library.h"
#include "quiver/model/model.h"
#include "quiver/routing/router.h"
#include "quiver/text/load_tokenizer.h"

namespace quiver::cli {

struct ModelOptions {
  std::string model = "smollm2";
  std::string dtype = "auto";
  std::string device = "cpu";
  int threads = 0;
  void declare(CLI::App& app);
};

struct LoadedModel {
  model::LanguageModel model;
  text::LoadedTokenizer text;
};

/// 0: one per core. Throws Error{usage} beyond 1024.
void set_threads(int threads);

/// Threads first, then the model and its tokenizer.
LoadedModel load(const ModelOptions& options);
/// The model alone, for verbs that meet no text.
model::LanguageModel load_model_only(const ModelOptions& options);

/// Where experts come from.
struct ExpertOptions {
  std::string library;
  std::vector<std::string> adapters;
  std::vector<std::string> experts;
  bool allow_other_base = false;
  void declare(CLI::App& app);
};

/// A bank of the experts asked for, and all that routers need.
struct ExpertSet {
  std::shared_ptr<adapter::Bank> bank;
  std::shared_ptr<const library::Library> library;  ///< null: --adapter alone
  routing::RouterInputs inputs;
  const std::vector<std::string>& names() const { return bank->names(); }
};
ExpertSet load_experts(const ExpertOptions& options, const model::LanguageModel& model, Progress& progress);
/// The same for routers that also read text.
ExpertSet load_experts(const ExpertOptions& options, const LoadedModel& loaded, Progress& progress);
/// For a library auto where its experts have signatures, else arrow; the adapter where one is given; base otherwise.
std::string natural_route(const ExpertOptions& options, const ExpertSet& experts);
std::unique_ptr<routing::Router> make_router(const std::string& route, const ExpertSet& experts);

/// Experts and the one route over them, for verbs that apply a single route.
struct RouteOptions {
  ExpertOptions experts;
  std::string route;  ///< empty: the natural one
  std::string task;   ///< of the text at hand, for oracle
  void declare(CLI::App& app);
};

struct RoutedExperts {
  ExpertSet experts;
  std::string route;
  std::unique_ptr<routing::Router> router;
};
RoutedExperts load_routed(const RouteOptions& options, const model::LanguageModel& model, Progress& progress);
RoutedExperts load_routed(const RouteOptions& options, const LoadedModel& loaded, Progress& progress);

/// Task files.
struct TaskOptions {
  std::vector<std::string> paths;
  std::string format = "auto";
  void declare(CLI::App& app);
  /// Chats are rendered by the model's template, so that every example has a source.
  std::vector<data::Task> read(const text::LoadedTokenizer& text) const;
};

/// How source and target are joined: shared by train and evaluate.
struct JoinChoice {
  std::string separator = "auto", tokenise = "apart", truncate = "left", rules;
  int max_tokens = 1024;
  bool no_eos = false, whole_sequence = false, bos = false;
  void declare(CLI::App& app);
  /// An encoder-decoder's sources end with the end-of-sequence token.
  data::JoinOptions options(const LoadedModel& loaded) const;
};

/// One JSON object per line on standard output.
void print_json(const nlohmann::json& object);
/// NaN as null.
nlohmann::json number_or_null(double value);
bool colour_wanted();

}  // namespace quiver::cli
