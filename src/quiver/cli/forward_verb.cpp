// SPDX-License-Identifier: Apache-2.0
#include "quiver/base/error.h"
#include "quiver/base/output_folder.h"
#include "quiver/cli/common.h"
#include "quiver/cli/verb.h"
#include "quiver/serving/logits.h"
#include "quiver/tensor_io/safetensors.h"

namespace quiver::cli {
namespace {

using nlohmann::json;

struct Options {
  ModelOptions model;
  RouteOptions route;
  std::string ids, decoder_ids, output;
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
  check_output_file(o.output, "--output",
                    [](const std::string& head) { return head.find("\"logits.0\"") != std::string::npos; });
  const auto model = load_model_only(o.model);
  const bool two_stacks = model.config().encoder_decoder();
  QUIVER_CHECK(two_stacks != o.decoder_ids.empty(), usage, "--decoder-ids", "{}",
               two_stacks ? "missing: an encoder-decoder needs the ids that its decoder reads, start token included"
                          : "given, but the model has no decoder beside an encoder");
  const auto routed = load_routed(o.route, model, progress);
  const auto rows = read_ids(o.ids);
  const auto answers = two_stacks ? read_ids(o.decoder_ids) : std::vector<std::vector<std::int32_t>>(rows.size());
  QUIVER_CHECK(rows.size() == answers.size(), mismatch, "--decoder-ids", "{} rows, expected {} as in --ids",
               answers.size(), rows.size());
  std::map<std::string, at::Tensor> out;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    progress.update("forward", i, rows.size(), "");
    out[fmt::format("logits.{}", i)] =
        serving::request_logits(model, *routed.router, {o.route.task, rows[i]}, two_stacks ? &answers[i] : nullptr);
  }
  progress.finish();
  tensor_io::write_safetensors(o.output, out);
}

}  // namespace

std::function<void()> declare_forward(CLI::App& app) {
  auto o = std::make_shared<Options>();
  declare(app, o->model);
  declare(app, o->route);
  app.add_option("--ids", o->ids, "a JSON list of lists of token ids")->required();
  app.add_option("--decoder-ids", o->decoder_ids,
                 "the same for the decoder of an encoder-decoder, start token included");
  app.add_option("--output", o->output, "a safetensors file: logits.0, logits.1, ... [T, V] float32")->required();
  return [o] { run(*o); };
}

}  // namespace quiver::cli
