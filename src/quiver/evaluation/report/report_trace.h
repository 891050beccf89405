// SPDX-License-Identifier: Apache-2.0
// The report's traces: a text's tokens by layers, coloured by the strongest expert, and a summary of each token.
#pragma once

#include <string>

#include "quiver/evaluation/report/report.h"

namespace quiver::evaluation {

/// The section of one trace; empty where it has no tokens. Throws Error{mismatch} where sizes do not agree.
std::string render_trace(const Trace& trace);

}  // namespace quiver::evaluation
