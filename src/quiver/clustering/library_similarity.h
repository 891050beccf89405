// SPDX-License-Identifier: Apache-2.0
// The similarity of a library's experts by any embedding.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "quiver/clustering/similarity.h"
#include "quiver/library/library.h"

namespace quiver::clustering {

/// What is known of experts beside their factors. Each function gets names and answers in their order; it is asked only
/// for the embedding of its name.
struct Descriptions {
  /// Per site [N, in], zero rows where an expert does not touch the site. Without it that embedding is an error: the
  /// directions come from above this layer.
  std::function<std::vector<at::Tensor>(const std::vector<std::string>& names)> prototypes;
  /// A text per expert; without it, task_texts.
  std::function<std::vector<std::string>(const std::vector<std::string>& names)> texts;
};

/// The names of each expert's tasks (its own name where it has none), their '_', '-' and '.' as spaces.
std::vector<std::string> task_texts(const library::Library& library, const std::vector<std::string>& names);

/// Throws Error{unsupported} where an expert is more than low-rank factors, by which experts are compared.
void require_comparable(const std::string& name, const adapter::Adapter& adapter);

/// float64 [N, N] in the order of the names. `progress` may be null.
at::Tensor library_similarity(const library::Library& library, const std::vector<std::string>& names,
                              const EmbeddingOptions& options, const Descriptions& descriptions = {},
                              Progress* progress = nullptr);

}  // namespace quiver::clustering
