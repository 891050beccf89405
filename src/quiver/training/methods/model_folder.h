// SPDX-License-Identifier: Apache-2.0
// A model that was trained as a whole, as a Hugging Face folder, with the state of its run in OUTPUT/run/.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>

#include "quiver/base/output_folder.h"
#include "quiver/model/trainable_model.h"
#include "quiver/training/figures.h"

namespace quiver::training {

/// Where a model trained from `inputs` goes: a run that was interrupted there goes on; a folder that holds anything
/// else is refused without `replace`, the inputs' own always.
OutputFolder model_output(const fs::path& output, bool replace, std::vector<fs::path> inputs);

/// check_output, once what a killed run left half written there is gone.
void check_model_output(const OutputFolder& output);

/// Weights, configuration, and the tokenizer's files of `tokenizer`; then OUTPUT/run/result.json with the run's key.
void save_model(const OutputFolder& output, const model::TrainableModel& model, const fs::path& tokenizer,
                const std::string& key, const Figures& figures);

/// The figures of the model in `output` where it is what the run of this key came to.
std::optional<Figures> saved_model(const fs::path& output, const std::string& key);

}  // namespace quiver::training
