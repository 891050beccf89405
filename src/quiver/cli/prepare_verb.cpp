// SPDX-License-Identifier: Apache-2.0
#include <cstdio>

#include "quiver/base/error.h"
#include "quiver/cli/common.h"
#include "quiver/cli/verb.h"

namespace quiver::cli {
namespace {

struct Options {
  ModelOptions model;
  ExpertOptions experts;
  std::vector<std::string> routes{"arrow"};
  bool json = false;
};

void run(const Options& o) {
  TerminalProgress progress;
  QUIVER_CHECK(!o.experts.library.empty(), usage, "prepare", "give --library DIR");
  const auto model = load_model_only(o.model);
  const auto experts = load_experts(o.experts, model, progress);
  for (const auto& route : o.routes) {
    make_router(route, experts);  // computes and stores what the route derives from the experts
    if (o.json) print_json({{"route", route}, {"experts", experts.bank->size()}});
    if (!o.json)
      std::printf("%s: ready over %lld experts\n", route.c_str(), static_cast<long long>(experts.bank->size()));
  }
}

}  // namespace

std::function<void()> declare_prepare(CLI::App& app) {
  auto o = std::make_shared<Options>();
  o->model.declare(app);
  o->experts.declare(app);
  app.add_option("--route", o->routes, "the routes to make ready (repeatable)");
  app.add_flag("--json", o->json, "an object per route");
  return [o] { run(*o); };
}

}  // namespace quiver::cli
