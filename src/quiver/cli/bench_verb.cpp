// SPDX-License-Identifier: Apache-2.0
#include <ATen/Parallel.h>

#include <cstdio>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/cli/bench_cases.h"
#include "quiver/cli/verb.h"

namespace quiver::cli {
namespace {

void run(const BenchOptions& o) {
  std::vector<std::string> names;
  for (const auto& bench_case : bench_cases()) {
    names.push_back(bench_case.name);
    if (o.name != bench_case.name) continue;
    auto out = bench_case.run(o);
    out["case"] = o.name;
    out["threads"] = at::get_num_threads();
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
  app.add_option("case", o->name, "train, prefill, decode, arrow, mixed or load")->required();
  o->model.declare(app);
  app.add_option("--rank", o->rank, "of the adapters")->capture_default_str();
  app.add_option("--batch", o->batch, "train: rows")->capture_default_str();
  app.add_option("--length", o->length, "tokens of a row or prompt")->capture_default_str();
  app.add_option("--new", o->new_tokens, "decode: tokens to generate")->capture_default_str();
  app.add_option("--experts", o->experts, "arrow, mixed, load: adapters")->capture_default_str();
  app.add_option("--runs", o->runs, "measured runs; the median counts")->capture_default_str();
  app.add_option("--task", o->task, "train: rows of this task file, the loss on their targets");
  app.add_flag("--json", o->json, "one object");
  return [o] { run(*o); };
}

}  // namespace quiver::cli
