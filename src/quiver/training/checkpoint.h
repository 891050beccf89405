// SPDX-License-Identifier: Apache-2.0
// A checkpoint of an expert under training: RUN/checkpoint/{state.json, state.safetensors}, replaced in one step.
//
// state.json holds the run's key (options and data) and JobProgress; state.safetensors the vectors parameters, mean,
// variance and best. A killed run that starts again with the same key goes on where the checkpoint stands and ends with
// the same weights.
#pragma once

#include <string>

#include "quiver/base/files.h"
#include "quiver/training/expert_job.h"

namespace quiver::training {

void write_checkpoint(const fs::path& run_folder, const std::string& run_key, const ExpertJob& job);

/// True where a checkpoint of this key was there and `job` now stands where it stood.
bool read_checkpoint(const fs::path& run_folder, const std::string& run_key, ExpertJob& job);

void remove_checkpoint(const fs::path& run_folder);

}  // namespace quiver::training
