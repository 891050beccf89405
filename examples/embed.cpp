// SPDX-License-Identifier: Apache-2.0
// Quiver from C++: trains an expert into a library, opens the library over its model, answers a prompt by the library's
// default route, streaming, and scores that route beside the base model.
//
//   usage: embed MODEL LIBRARY TASK.jsonl PROMPT
#include <cstdio>
#include <exception>

#include "quiver/serving/text_generation.h"
#include "quiver/workspace/evaluate_routes.h"
#include "quiver/workspace/train.h"

using namespace quiver;

namespace {

void train_expert(const std::string& model, const std::string& library, const std::string& task, Progress& progress) {
  workspace::TrainJob job;
  job.model.model = model;
  job.tasks.paths = {task};
  job.set.assign_all({{"library", library}, {"rank", "4"}, {"epochs", "1"}}, "embed");
  workspace::train(job, progress, [](const training::Learned& learned) {
    std::printf("trained %s: loss %.3f\n", learned.name.c_str(), learned.figures.train_loss);
  });
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 5) return std::fprintf(stderr, "usage: embed MODEL LIBRARY TASK.jsonl PROMPT\n"), 2;
  SilentProgress progress;
  train_expert(argv[1], argv[2], argv[3], progress);

  workspace::ModelOptions model;
  model.model = argv[1];
  workspace::RouteOptions from;
  from.experts.library = argv[2];
  const auto loaded = workspace::load(model);
  const auto routed = workspace::load_routed(from, loaded, progress);

  const auto rules = workspace::rules_for_prompts({}, loaded, routed, progress);
  const auto& tokenizer = *loaded.text.tokenizer;
  serving::TextOptions options;
  options.generate.max_new_tokens = 16;
  serving::answer_text(loaded.model, loaded.text, routed.router.get(),
                       {workspace::prompt_ids(argv[4], rules, tokenizer), tokenizer.eos_ids()}, "", options,
                       [](std::string_view piece) { std::fwrite(piece.data(), 1, piece.size(), stdout); });

  workspace::EvaluationPlan plan;
  plan.routes = {"base", routed.route};
  const auto tasks = workspace::TaskOptions{{argv[3]}}.read(loaded.text, progress);
  const auto scored = workspace::RoutedEvaluation(loaded, from.experts, routed.experts, plan, progress).run(tasks, {});
  for (const auto& row : scored.results)
    std::printf("\n%s under %s: %s %.3f", row.task.c_str(), row.route.c_str(), row.metric.c_str(), row.value);
  std::printf("\n");
} catch (const std::exception& error) {
  return std::fprintf(stderr, "embed: %s\n", error.what()), 1;
}
