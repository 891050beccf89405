// SPDX-License-Identifier: Apache-2.0
// The report's clustering: a scatter of the experts, their similarities ordered by cluster, and who is in which.
#pragma once

#include <string>

#include "quiver/evaluation/report/report.h"

namespace quiver::evaluation {

/// The section; empty where there are no names. Throws Error{mismatch} where sizes do not agree.
std::string render_clustering(const Clustering& clustering);

}  // namespace quiver::evaluation
