// SPDX-License-Identifier: Apache-2.0
#include "quiver/evaluation/results_json.h"

#include <cmath>

namespace quiver::evaluation {

using nlohmann::json;

json number_or_null(double value) { return std::isfinite(value) ? json(value) : json(); }

json to_json(const ResultRow& row) {
  return {{"task", row.task},        {"route", row.route},
          {"metric", row.metric},    {"value", number_or_null(row.value)},
          {"count", row.count},      {"interval", {number_or_null(row.low), number_or_null(row.high)}},
          {"held_out", row.held_out}};
}

std::vector<json> to_json(const Evaluation& evaluation) {
  std::vector<json> out;
  const auto rows = evaluation.findings.json();
  for (const auto& row : evaluation.results) {
    auto& line = out.emplace_back(to_json(row));
    if (row.metric == "routing_accuracy") line["by_layer"] = evaluation.routing_accuracy_by_layer;
    if (!rows.empty()) line["rows"] = rows;
  }
  return out;
}

json to_json(const RouteDifference& d) {
  const auto& of = d.difference;
  json out{{"task", d.task},
           {"route", d.route},
           {"against", d.against},
           {"metric", "difference of " + d.metric},
           {"value", number_or_null(of.difference.mean)},
           {"count", d.count},
           {"interval", {number_or_null(of.difference.low), number_or_null(of.difference.high)}}};
  if (d.by_rows) out.update({{"wins", of.wins}, {"losses", of.losses}, {"sign_test_p", of.sign_test_p}});
  return out;
}

json to_json(const Sample& s) {
  return {{"task", s.task},     {"route", s.route},           {"source", s.source},
          {"target", s.target}, {"prediction", s.prediction}, {"scores", s.scores}};
}

bool are_samples(const std::string& head) { return head.starts_with("{\"prediction\":"); }

}  // namespace quiver::evaluation
