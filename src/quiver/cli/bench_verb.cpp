// SPDX-License-Identifier: Apache-2.0
#include <ATen/Parallel.h>

#include <cstdio>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/bench/cases.h"
#include "quiver/bench/profile.h"
#include "quiver/bench/support.h"
#include "quiver/cli/common.h"
#include "quiver/cli/verb.h"

namespace quiver::cli {
namespace {

using namespace bench;

void run(const BenchOptions& o) {
  std::vector<std::string> names;
  for (const auto& bench_case : bench_cases()) {
    names.push_back(bench_case.name);
    if (o.name != bench_case.name) continue;
    std::optional<OperationProfile> profile;
    if (o.profile) profile.emplace();
    auto out = bench_case.run(o);
    if (profile) std::fprintf(stderr, "%s", profile->table().c_str());
    out["case"] = o.name;
    out["threads"] = at::get_num_threads();
    out["peak_memory_mib"] = peak_memory_mib();
    if (o.json) return print_json(out);
    for (const auto& [key, value] : out.items())
      std::printf("%-20s %s\n", key.c_str(),
                  value.is_string() ? value.get<std::string>().c_str() : value.dump().c_str());
    return;
  }
  fail(ErrorCode::usage, "bench", "no case '{}'{}", o.name, suggestion(o.name, names));
}

}  // namespace

std::function<void()> declare_bench(CLI::App& app) {
  auto o = std::make_shared<BenchOptions>();
  app.add_option("case", o->name,
                 "train, together, prefill, decode, decode-arrow, arrow, mixed, load, library or machine")
      ->required();
  declare(app, o->model);
  app.add_option("--rank", o->rank, "of the adapters")->capture_default_str();
  app.add_option("--batch", o->batch, "train, together: rows of an expert")->capture_default_str();
  app.add_option("--length", o->length, "tokens of a row or prompt")->capture_default_str();
  app.add_option("--new", o->new_tokens, "decode, decode-arrow: tokens to generate")->capture_default_str();
  app.add_option("--experts", o->experts, "together, arrow, decode-arrow, mixed, load, library: adapters")
      ->capture_default_str();
  app.add_option("--runs", o->runs, "measured runs; the median counts")->capture_default_str();
  app.add_option("--task", o->task, "train: rows of this task file, the loss on their targets");
  app.add_option("--folder", o->folder,
                 "library: a folder for the random experts, which are kept and found again; default: a temporary one");
  app.add_flag("--profile", o->profile,
               "where the time goes, by operation, on standard error (all runs, loading included)");
  app.add_flag("--json", o->json, "one object");
  return [o] { run(*o); };
}

}  // namespace quiver::cli
