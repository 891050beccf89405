// SPDX-License-Identifier: Apache-2.0
#include "quiver/cli/train_full.h"

#include <cstdio>

#include "quiver/base/error.h"
#include "quiver/data/batching.h"
#include "quiver/training/expert_job.h"
#include "quiver/training/methods/full_training.h"
#include "quiver/workspace/model_folder.h"
#include "quiver/workspace/task_rows.h"

namespace quiver::cli {

using namespace workspace;

void train_full_model(const FullRun& run, const LoadedModel& loaded, const std::vector<data::Task>& tasks,
                      Progress& progress) {
  QUIVER_CHECK(!run.output.empty(), usage, "--method full", "give --output FOLDER for the model");
  const auto folder = folder_to_train(run.model);
  training::ExpertData rows{"full", {}, {}, {}};
  for (const auto& task : tasks) {
    const auto& tokenizer = *loaded.text.tokenizer;
    rows.tasks.push_back(task.name);
    add_rows(task, data::Split::train, run.limit, run.options.join, tokenizer, progress, rows.train);
    add_rows(task, data::Split::validation, run.validation_limit, run.options.join, tokenizer, progress,
             rows.validation);
  }
  QUIVER_CHECK(!rows.train.empty(), usage, "--task", "no training rows");
  std::vector<std::size_t> lengths;
  for (const auto& row : rows.train) lengths.push_back(row.ids.size());
  data::BatchOptions batching;
  batching.batch_rows = static_cast<std::size_t>(run.options.batch_rows);
  batching.length_window_batches = static_cast<std::size_t>(run.options.length_window);
  batching.shuffle = run.options.shuffle;
  batching.seed = run.options.seed;
  const auto per_epoch = static_cast<std::int64_t>((rows.train.size() + batching.batch_rows - 1) / batching.batch_rows);
  training::FullTraining training{run.options,
                                  "train every weight",
                                  loaded.model.fingerprint() + training::data_key(rows),
                                  fs::path(run.output) / "run",
                                  false,
                                  true};
  if (training.options.max_steps == 0) training.options.max_steps = per_epoch * run.options.epochs;
  if (training.options.validate_every == 0) training.options.validate_every = per_epoch;
  const auto rows_of_step = [&](std::int64_t step) {
    const auto batches =
        data::epoch_batches(rows.train.size(), lengths, batching, static_cast<std::uint64_t>(step / per_epoch));
    std::vector<data::TokenRow> out;
    for (const auto r : batches[static_cast<std::size_t>(step % per_epoch)]) out.push_back(rows.train[r]);
    return out;
  };
  auto model = model::TrainableModel::open(folder);
  const auto result = training::train_full(model, training, rows_of_step, rows.validation, progress);
  save_model_folder(model, folder, run.output);
  const nlohmann::json figures{{"output", run.output},
                               {"parameters", model.parameters.numel()},
                               {"steps", result.steps},
                               {"best_step", result.best_step},
                               {"tokens", result.tokens},
                               {"seconds", result.seconds},
                               {"train_loss", number_or_null(result.train_loss)},
                               {"first_validation_loss", number_or_null(result.first_validation)},
                               {"validation_loss", number_or_null(result.validation_loss)}};
  if (run.json) return print_json(figures);
  std::printf("%s: validation loss %.3f (%.3f before), %lld steps\n", run.output.c_str(), result.validation_loss,
              result.first_validation, static_cast<long long>(result.steps));
}

}  // namespace quiver::cli
