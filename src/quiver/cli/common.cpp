// SPDX-License-Identifier: Apache-2.0
#include "quiver/cli/common.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "quiver/base/error.h"

namespace quiver::cli {

void declare(CLI::App& app, ModelOptions& options) {
  app.add_option("--model", options.model, "a Hugging Face folder, a .gguf file, a hub id in the cache, or smollm2")
      ->capture_default_str();
  app.add_option("--dtype", options.dtype, "float32, bfloat16, or auto: bfloat16 where the processor multiplies it")
      ->capture_default_str();
  app.add_option("--device", options.device, "cpu")->capture_default_str();
  app.add_option("--threads", options.threads, "compute threads; 0: one per core")->capture_default_str();
}

void declare(CLI::App& app, ExpertOptions& options) {
  app.add_option("--library", options.library, "the folder of a library");
  app.add_option("--adapter", options.adapters, "a PEFT folder, or NAME=DIR to name the expert (repeatable)");
  app.add_option("--experts", options.experts, "only these experts of the library")->delimiter(',');
  app.add_flag("--allow-other-base", options.allow_other_base, "use experts that were trained on another base model");
}

void declare(CLI::App& app, RouteOptions& options) {
  declare(app, options.experts);
  app.add_option("--route", options.route,
                 "how experts are applied; default: auto (arrow where experts have no signatures) for a library, the "
                 "adapter, or base");
  app.add_option("--task-name", options.task, "the task of the text, for oracle and for routes over skills");
}

void declare(CLI::App& app, TaskOptions& options) {
  app.add_option("--task", options.paths, "a task file, or a folder of them (repeatable)")->required();
  app.add_option("--format", options.format, "auto, rows, messages, alpaca, natural-instructions, csv or tsv")
      ->capture_default_str();
  app.add_option("--turns", options.turns, "of a chat that are learned: all of the assistant's, or the last")
      ->capture_default_str();
}

void declare(CLI::App& app, JoinChoice& options, OptionSet& set) {
  workspace::describe(options, set);
  declare(app, set);
}

void refuse_unread(const CLI::App& app, const std::vector<std::string>& read, const std::string& who) {
  for (const auto* option : app.get_options()) {
    if (option->count() == 0 || option->get_lnames().empty()) continue;
    const auto& name = option->get_lnames()[0];
    if (name == "config" || std::find(read.begin(), read.end(), name) != read.end()) continue;
    fail(ErrorCode::usage, "--" + name, "{} does not read it", who);
  }
}

std::string json_line(const nlohmann::json& object) {
  return object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

void print_json(const nlohmann::json& object) {
  std::printf("%s", json_line(object).c_str());
  std::fflush(stdout);
}

bool colour_wanted() { return std::getenv("NO_COLOR") == nullptr && isatty(STDOUT_FILENO) == 1; }

}  // namespace quiver::cli
