// SPDX-License-Identifier: Apache-2.0
#include "quiver/data/benchmarks/few_shot.h"

#include <map>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/data/benchmarks/mersenne.h"

namespace quiver::data {
namespace {

constexpr std::size_t kSearch = 1000;

std::size_t share_of_class(const FewShotItems& items, const FewShotOptions& options) {
  if (options.of == ShotsOf::each_class || items.classes == 0) return options.shots;
  QUIVER_CHECK(options.shots >= items.classes, usage, "few-shot",
               "expected at least one shot for each of {} classes, came {}", items.classes, options.shots);
  return options.shots / items.classes;
}

}  // namespace

ShotsOf shots_of_from_name(std::string_view name) {
  if (name == "class") return ShotsOf::each_class;
  if (name == "total") return ShotsOf::all_classes;
  fail(ErrorCode::usage, "few-shot", "unknown name '{}'{}", name, suggestion(name, {"class", "total"}));
}

std::vector<std::size_t> choose_few_shot(const FewShotItems& items, const FewShotOptions& options) {
  const auto share = share_of_class(items, options);
  std::map<std::string, std::size_t> chosen_of;
  std::vector<std::size_t> chosen;
  std::size_t since_new_class = 0;
  for (const auto i : python_shuffle(items.labels.size(), options.seed)) {
    if (items.taken[i]) continue;
    if (items.classes == 0) {
      if (chosen.size() == share) break;
      chosen.push_back(i);
      continue;
    }
    const auto [found, is_new] = chosen_of.emplace(items.labels[i], 0);
    since_new_class = is_new ? 0 : since_new_class + 1;
    if (since_new_class == kSearch) break;
    if (found->second < share) {
      ++found->second;
      chosen.push_back(i);
    }
  }
  return chosen;
}

}  // namespace quiver::data
