// SPDX-License-Identifier: Apache-2.0
#include "quiver/cli/common.h"

#include <ATen/Parallel.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>

#include "quiver/adapter/peft.h"
#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/model/load.h"
#include "quiver/routing/router_table.h"
#include "quiver/routing/signature.h"

namespace quiver::cli {

void ModelOptions::declare(CLI::App& app) {
  app.add_option("--model", model, "a Hugging Face folder, a .gguf file, a hub id in the cache, or smollm2")
      ->capture_default_str();
  app.add_option("--dtype", dtype, "float32, bfloat16, or auto: bfloat16 where the processor multiplies it")
      ->capture_default_str();
  app.add_option("--device", device, "cpu")->capture_default_str();
  app.add_option("--threads", threads, "compute threads; 0: one per core")->capture_default_str();
}

void set_threads(int threads) {
  QUIVER_CHECK(threads >= 0 && threads <= 1024, usage, "--threads", "{}, expected 0 (all cores) to 1024", threads);
  if (threads > 0) at::set_num_threads(threads);
}

namespace {

void set_up(const ModelOptions& o) {
  QUIVER_CHECK(o.device == "cpu", unsupported, "--device", "'{}', this build computes on the cpu", o.device);
  set_threads(o.threads);
}

}  // namespace

LoadedModel load(const ModelOptions& o) {
  set_up(o);
  const auto path = model::resolve_model(o.model);
  return {model::load_model(path, model::dtype_of_name(o.dtype)), text::load_tokenizer(path)};
}

model::LanguageModel load_model_only(const ModelOptions& o) {
  set_up(o);
  return model::load_model(model::resolve_model(o.model), model::dtype_of_name(o.dtype));
}

void ExpertOptions::declare(CLI::App& app) {
  app.add_option("--library", library, "the folder of a library");
  app.add_option("--adapter", adapters, "a PEFT folder (repeatable)");
  app.add_option("--experts", experts, "only these experts of the library")->delimiter(',');
  app.add_flag("--allow-other-base", allow_other_base, "use experts that were trained on another base model");
}

ExpertSet load_experts(const ExpertOptions& o, const model::LanguageModel& model, Progress& progress) {
  ExpertSet set;
  set.bank = std::make_shared<adapter::Bank>(model);
  if (!o.library.empty()) {
    set.library = std::make_shared<const library::Library>(library::Library::open(o.library));
    library::check_base(*set.library, model.fingerprint(), o.allow_other_base);
    const auto names = o.experts.empty() ? set.library->names() : o.experts;
    constexpr std::size_t kTogether = 64;
    for (std::size_t begin = 0; begin < names.size(); begin += kTogether) {
      progress.update("load experts", begin, names.size(), names[begin]);
      const std::vector<std::string> some(
          names.begin() + static_cast<std::ptrdiff_t>(begin),
          names.begin() + static_cast<std::ptrdiff_t>(std::min(begin + kTogether, names.size())));
      const auto adapters = set.library->load(some);
      for (std::size_t i = 0; i < some.size(); ++i) set.bank->add(some[i], adapters[i]);
      for (const auto& name : some) set.inputs.expert_tasks.push_back(set.library->info(name).tasks);
    }
    progress.finish();
  }
  for (const auto& folder : o.adapters) {
    const auto name =
        fs::path(folder).filename().empty() ? fs::path(folder).parent_path().filename() : fs::path(folder).filename();
    set.bank->add(name.string(), adapter::read_peft(folder));
    set.inputs.expert_tasks.emplace_back();
  }
  set.inputs.bank = set.bank;
  if (o.adapters.empty()) set.inputs.library = set.library;
  set.inputs.model = &model;
  set.inputs.progress = &progress;
  return set;
}

ExpertSet load_experts(const ExpertOptions& o, const LoadedModel& loaded, Progress& progress) {
  auto set = load_experts(o, loaded.model, progress);
  set.inputs.tokenizer = loaded.text.tokenizer.get();
  return set;
}

std::unique_ptr<routing::Router> make_router(const std::string& route, const ExpertSet& experts) {
  return routing::make_router(routing::parse_route(route), experts.inputs);
}

void RouteOptions::declare(CLI::App& app) {
  experts.declare(app);
  app.add_option("--route", route,
                 "how experts are applied; default: auto (arrow where experts have no signatures) for a library, the "
                 "adapter, or base");
  app.add_option("--task-name", task, "the task of the text, for --route oracle");
}

std::string natural_route(const ExpertOptions& o, const ExpertSet& experts) {
  const bool whole = experts.inputs.library && experts.bank->size() > 0;
  if (whole && routing::experts_without_signature(*experts.library, *experts.bank).empty()) return "auto";
  if (!o.library.empty() && experts.bank->size() > 0) return "arrow";
  if (experts.bank->size() == 1) return "expert:" + experts.names()[0];
  return experts.bank->size() > 1 ? "arrow" : "base";
}

namespace {

RoutedExperts routed(const RouteOptions& o, ExpertSet experts) {
  RoutedExperts out{std::move(experts), o.route, nullptr};
  if (out.route.empty()) out.route = natural_route(o.experts, out.experts);
  out.router = make_router(out.route, out.experts);
  return out;
}

}  // namespace

RoutedExperts load_routed(const RouteOptions& o, const model::LanguageModel& model, Progress& progress) {
  return routed(o, load_experts(o.experts, model, progress));
}

RoutedExperts load_routed(const RouteOptions& o, const LoadedModel& loaded, Progress& progress) {
  return routed(o, load_experts(o.experts, loaded, progress));
}

void TaskOptions::declare(CLI::App& app) {
  app.add_option("--task", paths, "a task file, or a folder of them (repeatable)")->required();
  app.add_option("--format", format, "auto, rows, messages, alpaca, natural-instructions, csv or tsv")
      ->capture_default_str();
}

std::vector<data::Task> TaskOptions::read(const text::LoadedTokenizer& text) const {
  data::ReadOptions options;
  options.format = data::format_from_name(format);
  auto tasks = data::read_tasks({paths.begin(), paths.end()}, options);
  for (auto& task : tasks) {
    for (auto& example : task.examples) {
      if (example.messages.empty()) continue;
      QUIVER_CHECK(text.chat_template, unsupported, "task " + task.name,
                   "its rows are chats, and the model has no chat template");
      std::vector<text::Message> messages;
      for (const auto& m : example.messages) messages.push_back({m.role, m.content});
      example.source = text.chat_template->render(messages, {});
      example.messages.clear();
    }
  }
  return tasks;
}

void JoinChoice::declare(CLI::App& app) {
  app.add_option("--separator", separator,
                 "between source and target: newline, mttl-space, none, or auto: none for encoder-decoders, newline "
                 "else")
      ->capture_default_str();
  app.add_option("--tokenise", tokenise, "source and target apart or joint")->capture_default_str();
  app.add_option("--truncate", truncate, "the end of a long source that is cut: left or right")->capture_default_str();
  app.add_option("--rules", rules, "mttl: MTTL's rules for all of these");
  app.add_option("--max-tokens", max_tokens, "longest row, in tokens")->capture_default_str();
  app.add_flag("--no-eos", no_eos, "do not end targets with the end-of-sequence token");
  app.add_flag("--whole-sequence", whole_sequence, "learn the source too, not the target alone");
  app.add_flag("--bos", bos, "begin rows with the model's begin-of-sequence token");
}

data::JoinOptions JoinChoice::options(const LoadedModel& loaded) const {
  using Join = data::JoinOptions;
  const auto choice = [](const char* option, const std::string& given, const std::vector<std::string>& names) {
    for (std::size_t i = 0; i < names.size(); ++i) {
      if (given == names[i]) return i;
    }
    fail(ErrorCode::usage, option, "'{}', expected {}", given, join(names, ", "));
  };
  Join out;
  const auto& tokenizer = *loaded.text.tokenizer;
  const bool two_stacks = loaded.model.config().encoder_decoder();
  const auto between = separator != "auto" ? separator : two_stacks ? "none" : "newline";
  out.separator = static_cast<Join::Separator>(choice("--separator", between, {"newline", "mttl-space", "none"}));
  out.tokenise = static_cast<Join::Tokenise>(choice("--tokenise", tokenise, {"apart", "joint"}));
  out.truncate = static_cast<Join::Truncate>(choice("--truncate", truncate, {"left", "right"}));
  if (!rules.empty()) {
    choice("--rules", rules, {"mttl"});
    out.separator = Join::Separator::mttl_space;
    out.tokenise = Join::Tokenise::joint;
    out.mask = Join::Mask::target_alone;
    out.truncate_jointly = true;
  }
  out.max_tokens = max_tokens;
  out.append_eos = !no_eos;
  out.whole_sequence_loss = whole_sequence;
  if (two_stacks) {
    QUIVER_CHECK(!tokenizer.eos_ids().empty(), unsupported, "model",
                 "the tokenizer names no end-of-sequence token, with which an encoder-decoder's sources end");
    out.source_end_token = tokenizer.eos_ids()[0];
  }
  if (bos) {
    QUIVER_CHECK(tokenizer.bos_id(), unsupported, "--bos", "the tokenizer names no begin-of-sequence token");
    out.begin_token = *tokenizer.bos_id();
  }
  return out;
}

void print_json(const nlohmann::json& object) {
  std::printf("%s\n", object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace).c_str());
  std::fflush(stdout);
}

nlohmann::json number_or_null(double value) { return std::isfinite(value) ? nlohmann::json(value) : nlohmann::json(); }

bool colour_wanted() { return std::getenv("NO_COLOR") == nullptr && isatty(STDOUT_FILENO) == 1; }

}  // namespace quiver::cli
