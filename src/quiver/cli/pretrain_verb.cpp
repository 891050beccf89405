// SPDX-License-Identifier: Apache-2.0
#include <cstdio>

#include "quiver/cli/common.h"
#include "quiver/cli/declare_options.h"
#include "quiver/cli/verb.h"
#include "quiver/training/methods/pretraining.h"

namespace quiver::cli {
namespace {

struct Options {
  training::PretrainOptions pretrain;
  OptionSet set;
  int threads = 0;
  bool json = false;
};

void report(const Options& o, const training::Pretrained& result) {
  const auto& f = result.figures;
  if (o.json) {
    auto figures = training::to_json(f);
    figures["output"] = o.pretrain.output;
    figures["parameters"] = result.parameters;
    figures["already_there"] = result.already_there;
    return print_json(figures);
  }
  std::printf("%s: validation loss %.3f (%.3f before), %lld steps%s\n", o.pretrain.output.c_str(), f.validation_loss,
              f.first_validation, static_cast<long long>(f.steps), result.already_there ? "  (already there)" : "");
}

}  // namespace

std::function<void()> declare_pretrain(CLI::App& app) {
  auto o = std::make_shared<Options>();
  auto& p = o->pretrain;
  app.add_option("--shape", p.shape, "a config.json of T5's kind: the shape of the model")->required();
  app.add_option("--tokenizer", p.tokenizer, "a folder with its tokenizer")->required();
  app.add_option("--text", p.texts, "plain text, paragraphs parted by blank lines (repeatable)")->required();
  app.add_option("--output", p.output, "a folder for the model; a run that was interrupted goes on there")->required();
  describe(p, o->set);
  declare(app, o->set);
  app.add_option("--threads", o->threads, "compute threads; 0: one per core")->capture_default_str();
  app.add_flag("--json", o->json, "one object with the figures");
  return [o] {
    TerminalProgress progress;
    workspace::set_threads(o->threads);
    const auto result = training::pretrain(o->pretrain, progress);
    if (!result.figures.note.empty()) progress.say(result.figures.note);
    report(*o, result);
  };
}

}  // namespace quiver::cli
