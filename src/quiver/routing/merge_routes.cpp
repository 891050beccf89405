// SPDX-License-Identifier: Apache-2.0
// Routes that merge the experts first and then apply the one adapter.
#include "quiver/base/error.h"
#include "quiver/merging/merge.h"
#include "quiver/routing/constant_router.h"
#include "quiver/routing/route_entry.h"

namespace quiver::routing {
namespace {

merging::MergeOptions options_of(const RouteSpec& spec) {
  QUIVER_CHECK(!spec.argument.empty(), usage, spec.where(), "expected merge:METHOD,key=value,...");
  return merging::merge_options(spec.argument, spec.options);
}

std::unique_ptr<Router> make_merge(const RouteSpec& spec, const RouterInputs& inputs) {
  const auto options = options_of(spec);
  check_any(spec, inputs);
  std::vector<adapter::Adapter> adapters;
  for (std::int64_t e = 0; e < inputs.bank->size(); ++e) adapters.push_back(inputs.bank->expert(e));
  merging::MergeInput input{{}, {}, inputs.progress, inputs.bank->names()};
  for (const auto& adapter : adapters) input.experts.push_back(&adapter);
  auto bank = std::make_shared<adapter::Bank>(inputs.bank->empty_copy());
  bank->add("merged", merging::merge(spec.argument, input, options));
  return std::make_unique<ConstantRouter>(std::move(bank), std::vector<ops::ExpertWeight>{{0, 1.0f}});
}

}  // namespace

std::vector<RouteEntry> merge_routes() {
  RouteEntry entry{"merge",
                   "METHOD,key=value,...",
                   "all experts merged into one adapter ('merge --list' shows the methods)",
                   nullptr,
                   nullptr,
                   nullptr};
  entry.describe = [](const auto& show) { show(OptionSet()); };
  entry.check = [](const RouteSpec& spec) { options_of(spec); };
  entry.make = make_merge;
  return {std::move(entry)};
}

}  // namespace quiver::routing
