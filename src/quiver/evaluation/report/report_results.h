// SPDX-License-Identifier: Apache-2.0
// The report's results: headline means, the table of tasks by routes, and the dot plots.
#pragma once

#include <string>
#include <vector>

#include "quiver/evaluation/report/report.h"

namespace quiver::evaluation {

/// The best route over the trained and over the held-out tasks, in large figures; empty where there are no means.
std::string render_headlines(const std::vector<ResultRow>& results);
/// The section; empty where there are no results.
std::string render_results(const std::vector<ResultRow>& results);

}  // namespace quiver::evaluation
