// SPDX-License-Identifier: Apache-2.0
// The folder of a run: its lock, its checkpoint, and its figures step by step.
//
//   .lock                       held while the run lives
//   metrics.jsonl               a line a step and a line a validation
//   checkpoint/state.json       the run's key (options and data) and its progress, as the loop gives it
//   checkpoint/state.safetensors  its tensors
//
// A checkpoint is replaced in one step. A killed run that starts again with the same key goes on where the checkpoint
// stands and ends with the same weights; it goes when the caller has saved what the run came to, or its numbers are not
// finite. Not thread-safe.
#pragma once

#include <ATen/core/Tensor.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "quiver/base/files.h"
#include "quiver/base/progress.h"

namespace quiver::training {

class RunFolder {
 public:
  /// Waits while another process trains in the folder, and says so. key: hash over all that decides the result.
  /// start_anew: a checkpoint of another key is dropped, not refused.
  RunFolder(fs::path folder, std::string key, bool start_anew, Progress& progress);

  struct Checkpoint {
    nlohmann::json progress;
    std::map<std::string, at::Tensor> tensors;
  };
  /// The checkpoint of this key, where there is one. Throws Error{mismatch} on one of another key, Error{format} on a
  /// damaged one.
  std::optional<Checkpoint> read();
  void write(const Checkpoint& checkpoint);

  /// Opens the metrics after `step` steps and drops lines beyond: what a killed run had done after its checkpoint.
  void begin_metrics(std::int64_t step);
  void write_metrics(const nlohmann::json& line);

  /// What the run came to is saved, or there is nothing to go on from.
  void drop_checkpoint();

  const fs::path& folder() const { return folder_; }

 private:
  fs::path folder_;
  std::string key_;
  bool start_anew_;
  FileLock lock_;
  std::ofstream metrics_;
};

}  // namespace quiver::training
