// SPDX-License-Identifier: Apache-2.0
// A model that was trained as a whole, as a Hugging Face folder.
#pragma once

#include "quiver/base/files.h"
#include "quiver/model/trainable_model.h"

namespace quiver::workspace {

/// The folder of --model NAME for training every weight. Throws Error{unsupported} where it is a file.
fs::path folder_to_train(const std::string& model);

/// Weights, configuration, and the tokenizer's files of `tokenizer` into `output`, which is created.
void save_model_folder(const model::TrainableModel& model, const fs::path& tokenizer, const fs::path& output);

}  // namespace quiver::workspace
