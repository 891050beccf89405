// SPDX-License-Identifier: Apache-2.0
#include <unistd.h>

#include <cstdio>
#include <iostream>

#include "quiver/base/error.h"
#include "quiver/cli/common.h"
#include "quiver/cli/generation.h"
#include "quiver/cli/verb.h"

namespace quiver::cli {
namespace {

struct Options {
  ModelOptions model;
  ExpertOptions experts;
  GenerationOptions generation;
  std::string route, system;
};

void run(const Options& o) {
  TerminalProgress progress;
  const auto loaded = load(o.model);
  QUIVER_CHECK(loaded.text.chat_template, unsupported, "chat", "the model has no chat template");
  const auto experts = load_experts(o.experts, loaded.model, progress);
  const auto router = make_router(o.route.empty() ? default_route(o.experts, experts) : o.route, experts);
  const bool terminal = isatty(STDIN_FILENO) == 1;
  std::vector<text::Message> messages;
  if (!o.system.empty()) messages.push_back({"system", o.system});
  if (terminal) std::fprintf(stderr, "An empty line or Ctrl-D ends the conversation.\n");
  for (std::string line;;) {
    if (terminal) std::fprintf(stderr, "> ");
    if (!std::getline(std::cin, line) || line.empty()) break;
    messages.push_back({"user", line});
    const auto answer =
        generate_streamed(loaded, *router, loaded.text.chat_template->render(messages, {}), "", o.generation, true);
    std::printf("\n");
    messages.push_back({"assistant", answer.text});
  }
}

}  // namespace

std::function<void()> declare_chat(CLI::App& app) {
  auto o = std::make_shared<Options>();
  o->generation.model.max_new_tokens = 512;
  o->model.declare(app);
  o->experts.declare(app);
  o->generation.declare(app);
  app.add_option("--route", o->route, "how experts are applied; default: arrow for a library, the adapter, or base");
  app.add_option("--system", o->system, "the system message; default: the template's own");
  return [o] { run(*o); };
}

}  // namespace quiver::cli
