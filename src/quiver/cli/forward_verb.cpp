// SPDX-License-Identifier: Apache-2.0
#include <c10/core/GradMode.h>

#include "quiver/base/error.h"
#include "quiver/cli/common.h"
#include "quiver/cli/verb.h"
#include "quiver/tensor_io/safetensors.h"

namespace quiver::cli {
namespace {

using nlohmann::json;

struct Options {
  ModelOptions model;
  RouteOptions route;
  std::string ids, output;
};

std::vector<std::vector<std::int32_t>> read_ids(const std::string& path) {
  const auto lists = json::parse(read_file(path, std::uint64_t{1} << 30), nullptr, false);
  const auto whole = [](const json& id) {
    return id.is_number_integer() && id.get<std::int64_t>() == id.get<std::int32_t>();
  };
  const bool right =
      lists.is_array() && !lists.empty() && std::all_of(lists.begin(), lists.end(), [&](const json& list) {
        return list.is_array() && !list.empty() && std::all_of(list.begin(), list.end(), whole);
      });
  QUIVER_CHECK(right, format, path, "expected a JSON list of lists of token ids, none empty");
  return lists.get<std::vector<std::vector<std::int32_t>>>();
}

void run(const Options& o) {
  TerminalProgress progress;
  const auto model = load_model_only(o.model);
  const auto routed = load_routed(o.route, model, progress);
  const c10::AutoGradMode no_gradient(false);
  const auto rows = read_ids(o.ids);
  std::map<std::string, at::Tensor> out;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    progress.update("forward", i, rows.size(), "");
    const auto batch = model::pack({{rows[i], nullptr, true}});
    const auto source = routing::bind_once(*routed.router, batch, {{o.route.task, rows[i]}});
    out[fmt::format("logits.{}", i)] = model.logits(model.forward(batch, source.get()));
  }
  progress.finish();
  tensor_io::write_safetensors(o.output, out);
}

}  // namespace

std::function<void()> declare_forward(CLI::App& app) {
  auto o = std::make_shared<Options>();
  o->model.declare(app);
  o->route.declare(app);
  app.add_option("--ids", o->ids, "a JSON list of lists of token ids")->required();
  app.add_option("--output", o->output, "a safetensors file: logits.0, logits.1, ... [T, V] float32")->required();
  return [o] { run(*o); };
}

}  // namespace quiver::cli
