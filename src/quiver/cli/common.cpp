// SPDX-License-Identifier: Apache-2.0
#include "quiver/cli/common.h"

#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>

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
  app.add_option("--task-name", options.task, "the task of the text, for --route oracle");
}

void declare(CLI::App& app, TaskOptions& options) {
  app.add_option("--task", options.paths, "a task file, or a folder of them (repeatable)")->required();
  app.add_option("--format", options.format, "auto, rows, messages, alpaca, natural-instructions, csv or tsv")
      ->capture_default_str();
}

void declare(CLI::App& app, JoinChoice& options) {
  app.add_option("--separator", options.separator,
                 "between source and target: newline, mttl-space, none, or auto: none for encoder-decoders, newline "
                 "else")
      ->capture_default_str();
  app.add_option("--tokenise", options.tokenise, "source and target apart or joint")->capture_default_str();
  app.add_option("--truncate", options.truncate, "the end of a long source that is cut: left or right")
      ->capture_default_str();
  app.add_option("--rules", options.rules, "mttl: MTTL's rules for all of these");
  app.add_option("--max-tokens", options.max_tokens, "longest row, in tokens")->capture_default_str();
  app.add_flag("--no-eos", options.no_eos, "do not end targets with the end-of-sequence token");
  app.add_flag("--whole-sequence", options.whole_sequence, "learn the source too, not the target alone");
  app.add_flag("--bos", options.bos, "begin rows with the model's begin-of-sequence token");
}

void print_json(const nlohmann::json& object) {
  std::printf("%s\n", object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
  std::fflush(stdout);
}

nlohmann::json number_or_null(double value) { return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json(); }

bool colour_wanted() { return std::getenv("NO_COLOR") == nullptr && isatty(STDOUT_FILENO) == 1; }

}  // namespace quiver::cli
