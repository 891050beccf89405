// SPDX-License-Identifier: Apache-2.0
#include "quiver/training/checkpoint.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "quiver/base/error.h"
#include "quiver/tensor_io/safetensors.h"

namespace quiver::training {
namespace {

using nlohmann::json;

fs::path checkpoint_folder(const fs::path& run) { return run / "checkpoint"; }

/// JSON has no NaN.
json number(double value) { return std::isnan(value) ? json() : json(value); }
double number_of(const json& value) {
  return value.is_null() ? std::numeric_limits<double>::quiet_NaN() : value.get<double>();
}

json to_json(const JobProgress& p) {
  return {{"step", p.step},
          {"tokens", p.tokens},
          {"seconds", p.seconds},
          {"loss_sum", p.loss_sum},
          {"loss_steps", p.loss_steps},
          {"last_train_loss", number(p.last_train_loss)},
          {"first_validation", number(p.first_validation)},
          {"best_validation", number(p.best_validation)},
          {"best_step", p.best_step},
          {"validations_since_best", p.validations_since_best},
          {"stopped_early", p.stopped_early}};
}

JobProgress progress_of(const json& o) {
  JobProgress p;
  p.step = o.at("step");
  p.tokens = o.at("tokens");
  p.seconds = o.at("seconds");
  p.loss_sum = o.at("loss_sum");
  p.loss_steps = o.at("loss_steps");
  p.last_train_loss = number_of(o.at("last_train_loss"));
  p.first_validation = number_of(o.at("first_validation"));
  p.best_validation = number_of(o.at("best_validation"));
  p.best_step = o.at("best_step");
  p.validations_since_best = o.at("validations_since_best");
  p.stopped_early = o.at("stopped_early");
  return p;
}

}  // namespace

void write_checkpoint(const fs::path& run, const std::string& run_key, const ExpertJob& job) {
  write_folder_atomically(checkpoint_folder(run), [&](const fs::path& temporary) {
    tensor_io::write_safetensors(temporary / "state.safetensors", {{"parameters", job.parameters},
                                                                   {"mean", job.optimizer.mean},
                                                                   {"variance", job.optimizer.variance},
                                                                   {"best", job.best()}});
    const json state{{"format", 1}, {"key", run_key}, {"progress", to_json(job.progress)}};
    write_file_atomically(temporary / "state.json", state.dump(2) + "\n");
  });
}

bool read_checkpoint(const fs::path& run, const std::string& run_key, ExpertJob& job) {
  remove_stale_temporaries(run);
  const auto folder = checkpoint_folder(run);
  if (!fs::exists(folder / "state.json")) return false;
  const auto where = folder.string();
  try {
    const auto state = json::parse(read_file(folder / "state.json", 1 << 24));
    if (state.at("key") != run_key) return false;
    const auto file = tensor_io::open_safetensors(folder / "state.safetensors");
    const auto restore = [&](const char* name, at::Tensor into) {
      const auto saved = file->load(name);
      QUIVER_CHECK(saved.sizes() == into.sizes(), format, where, "'{}' has {} values, expected {}", name, saved.numel(),
                   into.numel());
      into.copy_(saved);
    };
    restore("best", job.parameters);
    job.keep_as_best();
    restore("parameters", job.parameters);
    restore("mean", job.optimizer.mean);
    restore("variance", job.optimizer.variance);
    job.progress = progress_of(state.at("progress"));
    return true;
  } catch (const json::exception& error) {
    fail(ErrorCode::format, where, "a damaged checkpoint ({}); delete the folder to start this expert again",
         error.what());
  }
}

void remove_checkpoint(const fs::path& run) {
  std::error_code ignored;
  fs::remove_all(checkpoint_folder(run), ignored);
}

}  // namespace quiver::training
