// SPDX-License-Identifier: Apache-2.0
#include <cstdio>

#include "quiver/base/error.h"
#include "quiver/cli/common.h"
#include "quiver/cli/generation.h"
#include "quiver/cli/verb.h"

namespace quiver::cli {
namespace {

struct Options {
  ModelOptions model;
  RouteOptions route;
  GenerationOptions generation;
  std::string prompt, prompt_file;
  bool chat = false, json = false;
};

void run(const Options& o) {
  TerminalProgress progress;
  const auto loaded = load(o.model);
  const auto routed = load_routed(o.route, loaded, progress);
  auto prompt = o.prompt_file.empty() ? o.prompt : read_file(o.prompt_file, 1 << 28);
  if (o.chat) {
    QUIVER_CHECK(loaded.text.chat_template, unsupported, "--chat", "the model has no chat template");
    const std::vector<text::Message> messages{{"user", prompt}};
    prompt = loaded.text.chat_template->render(messages, {});
  }
  const auto answer = generate_streamed(loaded, *routed.router, prompt, o.route.task, o.generation, !o.json);
  if (o.json) {
    print_json({{"text", answer.text}, {"ids", answer.ids}});
  } else {
    std::printf("\n");
  }
}

}  // namespace

std::function<void()> declare_generate(CLI::App& app) {
  auto o = std::make_shared<Options>();
  o->model.declare(app);
  o->route.declare(app);
  o->generation.declare(app);
  auto* prompt = app.add_option("--prompt", o->prompt, "the text to go on from");
  auto* file = app.add_option("--prompt-file", o->prompt_file, "a file that holds it");
  prompt->excludes(file);
  app.add_flag("--chat", o->chat, "the prompt is a user's message in the model's chat template");
  app.add_flag("--json", o->json, "one object {text, ids} of what was generated");
  return [o, &app] {
    QUIVER_CHECK(app.count("--prompt") + app.count("--prompt-file") == 1, usage, "generate",
                 "give --prompt or --prompt-file");
    run(*o);
  };
}

}  // namespace quiver::cli
