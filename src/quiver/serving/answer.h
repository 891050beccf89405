// SPDX-License-Identifier: Apache-2.0
// What a request asks for, and what comes of it.
#pragma once

#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "quiver/routing/router.h"
#include "quiver/serving/beam_search.h"
#include "quiver/serving/generate_options.h"

namespace quiver::serving {

struct GenerateRequest {
  std::vector<std::int32_t> prompt;  ///< not empty
  std::string task;                  ///< for routers that go by it; "" where unknown
  /// Null: the base model. Kept until the request ends, so that others may be taken into use meanwhile.
  std::shared_ptr<const routing::Router> router;
  GenerateOptions options;
  std::uint64_t number = 0;  ///< among requests of one seed: each draws from a random stream of its own
};

enum class Finish {
  running,
  stop_token,  ///< the model ended it
  length,      ///< max_new_tokens
  context,     ///< the model's context is full: prompt, vectors before it, and answer
  cancelled,   ///< the caller ended it
  error,
};
/// stop_token, length, ...
std::string_view finish_name(Finish finish);

struct Answer {
  std::vector<std::int32_t> ids;  ///< without the stop token; those so far where it was cancelled
  Finish finish = Finish::running;
  std::vector<Beam> beams;   ///< of a search, best first; ids are those of the first
  std::exception_ptr error;  ///< with Finish::error

  /// ids, or the error thrown.
  const std::vector<std::int32_t>& checked() const;
};

}  // namespace quiver::serving
