// SPDX-License-Identifier: Apache-2.0
// From a record of a public file to examples: the templates of benchmark.h's table. Each throws Error{format} naming
// place, key and what was expected. Splits, options and task names are not their affair.
#pragma once

#include "quiver/data/benchmarks/benchmark.h"

namespace quiver::data {

/// `word: field` of each prompt field, parted by spaces; the target is the label's word.
void render_fields(const Benchmark& benchmark, const Record& record, std::vector<Item>& items);
/// The same prompt; the target is the score in single precision, rounded to one decimal, halves to even: "3.8".
void render_score(const Benchmark& benchmark, const Record& record, std::vector<Item>& items);
/// MultiRC: `question: <q> answer: <a> paragraph: <p>` for each answer of each question, without markup; the question's
/// number is the group.
void render_multirc(const Benchmark& benchmark, const Record& record, std::vector<Item>& items);
/// WSC: `text: <t>` with * around the first span and # around the second; spans that are not in the text are first made
/// to fit where letter case, a final full stop or a line break keeps them out.
void render_wsc(const Benchmark& benchmark, const Record& record, std::vector<Item>& items);
/// ReCoRD: `record query: <q> entities: <e, e> passage: <p>`, an example per distinct answer, all of them its
/// references. Entities and answers are in byte order.
void render_record(const Benchmark& benchmark, const Record& record, std::vector<Item>& items);
/// SQuAD and MRQA: `question: <q> context: <c>`, the target is the first answer, all with padded punctuation. A target
/// has no space at its ends. Other answers are not kept, as PEMT scores against the first alone.
void render_answer(const Benchmark& benchmark, const Record& record, std::vector<Item>& items);
/// WinoGrande: `sentence: <s> option1: <o> option2: <o>`; the target is the text of the right one, both are options.
void render_winogrande(const Benchmark& benchmark, const Record& record, std::vector<Item>& items);

}  // namespace quiver::data
