// SPDX-License-Identifier: Apache-2.0
// Which training examples a few-shot experiment sees. Two conventions are published, and their tables do not compare:
// k examples of each class (ATTEMPT, MPT, PEMT), and k in total, k / classes of each (DePT).
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace quiver::data {

enum class ShotsOf { each_class, all_classes };

/// "class" or "total"; throws Error{usage} that names the nearest.
ShotsOf shots_of_from_name(std::string_view name);

struct FewShotOptions {
  std::size_t shots = 0;  ///< k; 0: all examples
  ShotsOf of = ShotsOf::each_class;
  std::uint64_t seed = 42;  ///< of the order that the examples are met in; 42 is PEMT's
};

struct FewShotItems {
  std::vector<std::string> labels;  ///< of each item; empty texts where the task has no classes
  std::size_t classes = 0;          ///< of the task; 0: none, and the first k are taken
  std::vector<bool> taken;          ///< items that another split holds; never chosen
};

/// Indices of the chosen items in the order they were met, which is python_shuffle's: those of each class until it has
/// its share. As in PEMT the search ends 1000 items after the last class that was new, so that a class of few examples
/// may stay short. Throws Error{usage} where k in total is less than the number of classes.
std::vector<std::size_t> choose_few_shot(const FewShotItems& items, const FewShotOptions& options);

}  // namespace quiver::data
