// SPDX-License-Identifier: Apache-2.0
// Figures of evaluation as JSON: for --json, --samples, and what is stored.
#pragma once

#include <nlohmann/json.hpp>

#include "quiver/evaluation/evaluate_tasks.h"

namespace quiver::evaluation {

/// Null where it is not finite.
nlohmann::json number_or_null(double value);
/// {"task", "route", "metric", "value", "count", "interval", "held_out"}; numbers that are not finite are null.
nlohmann::json to_json(const ResultRow& row);
/// An object per result, with what was found of the rows ("rows": {"cut": 3}) where anything was, and the routing
/// accuracy by layer beside its mean.
std::vector<nlohmann::json> to_json(const Evaluation& evaluation);
/// {"task", "route", "against", "metric": "difference of M", "value", "count", "interval", "wins", "losses",
/// "sign_test_p"}.
nlohmann::json to_json(const RouteDifference& difference);
/// A line of --samples.
nlohmann::json to_json(const Sample& sample);
/// Whether a file that begins so holds such lines.
bool are_samples(const std::string& head);

}  // namespace quiver::evaluation
