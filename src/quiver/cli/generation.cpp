// SPDX-License-Identifier: Apache-2.0
#include "quiver/cli/generation.h"

#include <cstdio>

#include "quiver/base/error.h"
#include "quiver/cli/declare_options.h"

namespace quiver::cli {

void GenerationOptions::declare(CLI::App& app) {
  describe(text.generate, set);
  cli::declare(app, set);
  app.add_option("--stop", text.stop, "end before this text (repeatable)");
}

serving::TextAnswer answered(const LoadedModel& loaded, const workspace::RoutedExperts& routed,
                             const serving::TextPrompt& prompt, const std::string& task,
                             const GenerationOptions& options, bool print) {
  if (options.text.generate.beams > 0 && options.set.given("seed"))
    fail(ErrorCode::usage, "--seed", "a search by beams does not read it: it draws nothing");
  const auto show = [](std::string_view piece) {
    std::fwrite(piece.data(), 1, piece.size(), stdout);
    std::fflush(stdout);
  };
  auto answer = serving::answer_text(loaded.model, loaded.text, routed.router.get(), prompt, task, options.text,
                                     print ? serving::OnText(show) : nullptr);
  if (print) std::printf("\n");
  return answer;
}

}  // namespace quiver::cli
