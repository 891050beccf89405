// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <cstdio>
#include <iostream>
#include <optional>

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
  std::optional<std::string> system;  ///< an empty one says that there is none, whatever the template says
};

void run(const Options& o) {
  TerminalProgress progress;
  const auto loaded = load(o.model);
  QUIVER_CHECK(loaded.text.chat_template, unsupported, "chat", "the model has no chat template");
  const auto routed = load_routed(o.route, loaded, progress);
  const bool terminal = isatty(STDIN_FILENO) == 1;
  std::vector<text::Message> messages;
  if (o.system) messages.push_back({"system", *o.system});
  if (terminal) std::fprintf(stderr, "An empty line or Ctrl-D ends the conversation.\n");
  for (std::string line;;) {
    if (terminal) std::fprintf(stderr, "> ");
    if (!std::getline(std::cin, line) || line.empty()) break;
    messages.push_back({"user", line});
    const auto prompt = serving::chat_prompt(loaded.text, messages);
    messages.push_back({"assistant", answered(loaded, routed, prompt, o.route.task, o.generation, true).text});
  }
}

}  // namespace

std::function<void()> declare_chat(CLI::App& app) {
  auto o = std::make_shared<Options>();
  o->generation.text.generate.max_new_tokens = 512;
  declare(app, o->model);
  declare(app, o->route);
  o->generation.declare(app);
  app.add_option("--system", o->system, "the system message, which may be empty; default: the template's own");
  return [o] { run(*o); };
}

}  // namespace quiver::cli
