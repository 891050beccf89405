// SPDX-License-Identifier: Apache-2.0
// What a training run came to.
#pragma once

#include <cstdint>
#include <limits>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace quiver::training {

struct Figures {
  std::int64_t steps = 0;      ///< optimiser steps done
  std::int64_t best_step = 0;  ///< whose weights are kept: those of the least validation loss, else the last
  std::int64_t tokens = 0;     ///< of the rows that were trained on, prompts included
  double seconds = 0.0;        ///< spent in training steps
  double train_loss = std::numeric_limits<double>::quiet_NaN();        ///< mean over the steps of the last interval
                                                                       ///< between validations
  double first_validation = std::numeric_limits<double>::quiet_NaN();  ///< before training
  double validation_loss = std::numeric_limits<double>::quiet_NaN();   ///< of what is kept; NaN without validation
  bool stopped_early = false;
  std::string note = {};  ///< what the user should know of the weights that are kept; empty: nothing

  double tokens_per_second() const { return seconds > 0 ? static_cast<double>(tokens) / seconds : 0.0; }
};

/// For expert.json, router.json and --json; NaN as null, the note only where there is one.
nlohmann::json to_json(const Figures& figures);
/// The reverse; what is missing or null is NaN or 0.
Figures figures_of(const nlohmann::json& object);

}  // namespace quiver::training
