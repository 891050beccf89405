// SPDX-License-Identifier: Apache-2.0
// From one record to one example: Quiver's own rows, chats and Alpaca's instructions.
#pragma once

#include "quiver/data/records.h"
#include "quiver/data/task.h"

namespace quiver::data {

/// The row format that a record's keys speak of: messages, alpaca, or rows.
Format row_format_of(const Record& record);

/// The turns under `messages`: objects of role and content.
std::vector<Message> read_messages(const Record& record);

/// The example of a row; keys and types are checked. `format` is rows, messages or alpaca.
Example example_from_row(const Record& record, Format format);

}  // namespace quiver::data
