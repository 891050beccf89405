// SPDX-License-Identifier: Apache-2.0
// Delimited text with a header as records: comma-separated with RFC 4180 quoting, or tab-separated without quoting.
#pragma once

#include <string>
#include <string_view>

#include "quiver/data/records.h"

namespace quiver::data {

/// Visits one record per row; its fields are texts, but for `weight`, which is a number. `separator` is ',' or '\t'.
void visit_delimited(std::string_view text, const std::string& file, char separator, const RecordVisitor& visit);

}  // namespace quiver::data
