// SPDX-License-Identifier: Apache-2.0
#include <ATen/Parallel.h>
#include <torch/version.h>

#include <cstdio>

#include "quiver/base/strings.h"
#include "quiver/base/version.h"
#include "quiver/cli/common.h"
#include "quiver/cli/verb.h"
#include "quiver/kernels/isa.h"
#include "quiver/model/load.h"

namespace quiver::cli {
namespace {

struct Options {
  ModelOptions model;
  bool json = false;
  bool with_model = false;
};

void run(const Options& o) {
  nlohmann::json out{{"version", version()},
                     {"torch", TORCH_VERSION},
                     {"instruction_sets", kernels::instruction_sets()},
                     {"kernels", kernels::name(kernels::active_isa())},
                     {"threads", o.model.threads ? o.model.threads : at::get_num_threads()},
                     {"devices", {"cpu"}},
                     {"default_dtype", model::dtype_name(model::default_dtype())}};
  if (o.with_model) {
    const auto model = load_model_only(o.model);
    nlohmann::json sites = nlohmann::json::array();
    for (const auto& site : model.sites()) sites.push_back({{"name", site.name}, {"in", site.in}, {"out", site.out}});
    const auto& c = model.config();
    out["architecture"] = c.architecture;
    out["parameters"] = model.parameters();
    out["layers"] = c.layers;
    out["hidden"] = c.hidden;
    out["vocabulary"] = c.vocabulary;
    out["context"] = c.max_positions;
    out["sites"] = sites;
    out["fingerprint"] = model.fingerprint();
  }
  if (o.json) return print_json(out);
  for (const auto& [key, value] : out.items()) {
    const auto text = key == "sites"      ? std::to_string(value.size())
                      : value.is_string() ? value.get<std::string>()
                                          : value.dump();
    std::printf("%-18s %s\n", key.c_str(), text.c_str());
  }
}

}  // namespace

std::function<void()> declare_info(CLI::App& app) {
  auto o = std::make_shared<Options>();
  declare(app, o->model);
  app.add_flag("--json", o->json, "one JSON object");
  return [o, &app] {
    o->with_model = app.count("--model") > 0;
    run(*o);
  };
}

}  // namespace quiver::cli
