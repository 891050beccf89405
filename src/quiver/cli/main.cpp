// SPDX-License-Identifier: Apache-2.0
// The program: finds the verb, parses its options, runs it, and turns errors into one line and an exit status
// (0 success, 1 failure, 2 wrong usage).
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/base/version.h"
#include "quiver/bench/resources.h"
#include "quiver/cli/verb.h"

namespace quiver::cli {
namespace {

constexpr int kFailure = 1, kUsage = 2;

std::vector<std::string> verb_names() {
  std::vector<std::string> names;
  for (const auto& verb : verbs()) names.push_back(verb.name);
  return names;
}

void print_overview() {
  std::printf("quiver: train, cluster, route and evaluate many small experts over one language model\n\n");
  std::printf("usage: quiver VERB [options]      quiver VERB --help      quiver --version\n\n");
  for (const auto& verb : verbs()) std::printf("  %-10s %s\n", verb.name, verb.summary);
}

/// The key of a --config file that is no option; empty where the error is another.
std::string unknown_key(const CLI::ParseError& error) {
  constexpr const char* kBefore = "INI was not able to parse ";
  const std::string message = error.what();
  return message.starts_with(kBefore) ? message.substr(std::strlen(kBefore)) : "";
}

/// CLI11 names what it did not expect; this adds the option that was probably meant.
std::string describe(const CLI::App& app, const CLI::ParseError& error, int argc, char** argv) {
  std::vector<std::string> known;
  for (const auto* option : app.get_options()) {
    for (const auto& name : option->get_lnames()) known.push_back("--" + name);
  }
  if (const auto key = unknown_key(error); !key.empty())
    return fmt::format("--config: no option '{}'{}", key, suggestion("--" + key, known));
  std::string message = error.what();
  std::replace(message.begin(), message.end(), '\n', ' ');
  if (error.get_exit_code() != static_cast<int>(CLI::ExitCodes::ExtrasError)) return message;
  for (int i = 2; i < argc; ++i) {
    const std::string word = std::string(argv[i]).substr(0, std::string(argv[i]).find('='));
    const bool is_known = std::find(known.begin(), known.end(), word) != known.end();
    if (word.starts_with("--") && !is_known) return fmt::format("unknown option {}{}", word, suggestion(word, known));
  }
  return message;
}

/// An empty value is mostly a shell's variable that is not set; it would count as if the option were not given.
void refuse_empty(const CLI::App& app) {
  for (const auto* option : app.get_options()) {
    const auto& values = option->results();
    const bool empty = std::find(values.begin(), values.end(), "") != values.end();
    QUIVER_CHECK(!empty || option->check_lname("system"), usage, option->get_name(),
                 "'' is empty; give a value, or leave the option out");
  }
}

int run(int argc, char** argv) {
  const std::string name = argc > 1 ? argv[1] : "--help";
  if (name == "--help" || name == "-h" || name == "help") {
    print_overview();
    return 0;
  }
  if (name == "--version") {
    std::printf("quiver %s\n", version());
    return 0;
  }
  for (const auto& verb : verbs()) {
    if (name != verb.name) continue;
    CLI::App app(verb.summary, "quiver " + name);
    app.footer(std::string("Examples:\n") + verb.examples);
    app.set_config("--config", "", "a TOML file of options, by their long names");
    app.allow_config_extras(CLI::config_extras_mode::error);
    const auto action = verb.declare(app);
    try {
      app.parse(argc - 1, argv + 1);
    } catch (const CLI::CallForHelp& help) {
      return app.exit(help);
    } catch (const CLI::ParseError& error) {
      std::fprintf(stderr, "quiver: [%s] %s\n", name.c_str(), describe(app, error, argc, argv).c_str());
      return kUsage;
    }
    refuse_empty(app);
    const double seconds = bench::seconds_of(action);
    if (verb.loads_model) std::fprintf(stderr, "%.1f s, peak memory %.0f MiB\n", seconds, bench::peak_memory_mib());
    return 0;
  }
  std::fprintf(stderr, "quiver: no verb '%s'%s\n", name.c_str(), suggestion(name, verb_names()).c_str());
  return kUsage;
}

/// The first line, without the stack of calls that LibTorch appends.
std::string first_line(const char* text) { return std::string(text, std::strcspn(text, "\n")); }

}  // namespace

const std::vector<Verb>& verbs() {
  static const std::vector<Verb> table{
      {"info", "versions, machine and, with --model, what the model is",
       "  quiver info\n  quiver info --model smollm2 --json", declare_info, false},
      {"tokenize", "text to token ids and back",
       "  quiver tokenize --model smollm2 --text 'Hello world'\n  quiver tokenize --model smollm2 --file lines.txt "
       "--json",
       declare_tokenize, false},
      {"generate", "text from the base model, an expert or a routed library",
       "  quiver generate --model smollm2 --prompt 'The capital of France is'\n"
       "  quiver generate --library LIB --route arrow --prompt 'Classify: great film'",
       declare_generate, true},
      {"chat", "a conversation in the terminal",
       "  quiver chat --model smollm2\n  quiver chat --library LIB --route arrow", declare_chat, true},
      {"forward", "logits of given token ids, for comparing with other implementations",
       "  quiver forward --model smollm2 --ids ids.json --output logits.safetensors --dtype float32\n"
       "  quiver forward --library LIB --route arrow --ids ids.json --output logits.safetensors",
       declare_forward, true},
      {"task", "a task file from a benchmark's public files (GLUE, SuperGLUE, SQuAD, MRQA, ...), few-shot on request",
       "  quiver task --benchmark cb --files SUPERGLUE --output cb.jsonl\n  quiver task --benchmark rte --files GLUE "
       "--output rte.jsonl --shots 16 --shots-per total --json",
       declare_task, false},
      {"train", "experts from task files, one each, one for all, or one per cluster",
       "  quiver train --library LIB --task tasks/\n  quiver train --library LIB --task a.jsonl --task b.jsonl --name "
       "both --rank 8",
       declare_train, true},
      {"pretrain", "a small encoder-decoder from plain text, by span corruption",
       "  quiver pretrain --shape config.json --tokenizer TOKENIZER_DIR --text books.txt --output MODEL\n"
       "  quiver pretrain --shape config.json --tokenizer TOKENIZER_DIR --text books.txt --output MODEL --max-steps "
       "5000",
       declare_pretrain, true},
      {"library", "list, show, add, export, remove, restore, verify, diff",
       "  quiver library list --library LIB\n  quiver library add ADAPTER_DIR --library LIB --model smollm2",
       declare_library, false},
      {"prepare", "what a route needs: prototypes; with --task means, gates, signatures, trained routers",
       "  quiver prepare --library LIB --model smollm2 --route arrow\n  quiver prepare --library LIB --route auto "
       "--task tasks/",
       declare_prepare, true},
      {"cluster", "group experts by what they learned (MBC)",
       "  quiver cluster --library LIB --clusters 3\n  quiver cluster --library LIB --clusters 10 --embedding mttl "
       "--sparsity 0.5",
       declare_cluster, false},
      {"merge", "several experts into one adapter, or into the base model",
       "  quiver merge --library LIB --method ties --set density=0.2 --output MERGED\n"
       "  quiver merge --library LIB --method linear --experts a,b --weights 0.7,0.3 --output MERGED",
       declare_merge, false},
      {"adapt", "a new task from a few examples, by what the library knows",
       "  quiver adapt --library LIB --task new.jsonl --regime private --regime library-mean --shots 16\n"
       "  quiver adapt --library LIB --task new.jsonl --regime lorahub --shots-per-class 4 --seeds 5 --json",
       declare_adapt, true},
      {"evaluate", "tasks under routes: table, JSON, samples, HTML report",
       "  quiver evaluate --library LIB --task tasks/ --route base --route arrow --route oracle\n"
       "  quiver evaluate --library LIB --task tasks/ --route arrow --matrix --report report.html",
       declare_evaluate, true},
      {"inspect", "where the tokens of a text are routed",
       "  quiver inspect --library LIB --route arrow --text 'What a great film'\n"
       "  quiver inspect --library LIB --route arrow --text 'What a great film' --html trace.html",
       declare_inspect, true},
      {"run", "a recipe: a published experiment grid, resumable, ending in its table",
       "  quiver run recipes/quick.toml --data TASKS --output OUT\n"
       "  quiver run recipes/arrow_grid.toml --data TASKS --output OUT --dry-run",
       declare_run, false},
      {"bench", "speed of training, prefill, decoding, routing, mixed batches and loading",
       "  quiver bench prefill --model smollm2 --length 512\n  quiver bench arrow --model smollm2 --experts 8 --rank "
       "16 --json",
       declare_bench, true},
  };
  return table;
}

}  // namespace quiver::cli

int main(int argc, char** argv) {
  try {
    return quiver::cli::run(argc, argv);
  } catch (const quiver::Error& error) {
    std::fprintf(stderr, "quiver: %s\n", error.what());
    return error.code() == quiver::ErrorCode::usage ? quiver::cli::kUsage : quiver::cli::kFailure;
  } catch (const std::bad_alloc&) {
    std::fprintf(stderr, "quiver: out of memory\n");
    return quiver::cli::kFailure;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "quiver: %s\n", quiver::cli::first_line(error.what()).c_str());
    return quiver::cli::kFailure;
  }
}
