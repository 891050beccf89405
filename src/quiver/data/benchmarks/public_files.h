// SPDX-License-Identifier: Apache-2.0
// The files of public data sets as records, one per row or question. Every defect is an Error{format} that names file,
// line and what was expected; fields that no prompt reads are not looked at.
#pragma once

#include "quiver/base/files.h"
#include "quiver/data/records.h"

namespace quiver::data {

/// Tab-separated, unquoted, with a header: a text per column. Fields beyond the header are passed over, as the public
/// loaders do; fewer fields are an error.
void read_table(const fs::path& file, const RecordVisitor& visit);
/// The same, but rows with fewer fields are passed over: QQP's file has some.
void read_ragged_table(const fs::path& file, const RecordVisitor& visit);
/// CoLA's four columns without a header: the second is `label`, the fourth `sentence`.
void read_cola(const fs::path& file, const RecordVisitor& visit);
/// MRPC, a table. Where train.tsv (dev.tsv) is not there, it is the rows of msr_paraphrase_train.txt beside it whose
/// ids are not (are) in mrpc_dev_ids.tsv, as GLUE makes its splits.
void read_mrpc(const fs::path& file, const RecordVisitor& visit);
/// JSON lines.
void read_json_lines(const fs::path& file, const RecordVisitor& visit);
/// SQuAD 1.1: records of `question`, `context` and `answers`, a list of texts.
void read_squad(const fs::path& file, const RecordVisitor& visit);
/// MRQA 2019: JSON lines below a header, each a context with its questions; records as read_squad's.
void read_mrqa(const fs::path& file, const RecordVisitor& visit);
/// Reviews of Zhang et al. (2015): lines of "label","text", as `label` and `text`. The text is as the file has it, with
/// doubled quotes and `\n` for line breaks, for so it is in published results; white space at its ends is dropped.
void read_reviews(const fs::path& file, const RecordVisitor& visit);

}  // namespace quiver::data
