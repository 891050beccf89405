// SPDX-License-Identifier: Apache-2.0
// Delimited text as rows or, with a header, as records: comma-separated with RFC 4180 quoting, or tab-separated without
// quoting. `separator` is ',' or '\t'.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "quiver/data/records.h"

namespace quiver::data {

/// Of one row: its fields, and `file:line`.
using FieldsVisitor = std::function<void(const std::vector<std::string>& fields, const std::string& where)>;

/// Visits every row that is not blank, the first one too.
void visit_fields(std::string_view text, const std::string& file, char separator, const FieldsVisitor& visit);

/// Visits one record per row below a header that has the columns source and target; its fields are texts, but for
/// `weight`, which is a number.
void visit_delimited(std::string_view text, const std::string& file, char separator, const RecordVisitor& visit);

}  // namespace quiver::data
