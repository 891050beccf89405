// SPDX-License-Identifier: Apache-2.0
// Public files that are cut or changed are read or refused by one Error, never by anything else.
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "quiver/base/error.h"
#include "quiver/base/random.h"
#include "quiver/data/benchmarks/benchmark.h"

namespace quiver::data {
namespace {

struct Sample {
  const char* benchmark;
  std::string text;
};

const std::vector<Sample> kSamples = {
    {"rte", "index\tsentence1\tsentence2\tlabel\n0\tA \xC3\xA9.\tB\tentailment\r\n1\tC\tD\tnot_entailment\n"},
    {"qqp", "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n0\t1\t2\tHow?\tWhy?\t1\n0\t1\n"},
    {"stsb", "index\tsentence1\tsentence2\tscore\n0\ta\tb\t3.8\n"},
    {"cola", "own\t1\t\tIt rained.\nown\t0\t*\tRained it.\n"},
    {"boolq", R"({"question": "is it", "passage": "It \u00e9 is.", "idx": 0, "label": true})"},
    {"multirc", R"({"passage": {"text": "<b>t", "questions": [{"question": "q", "idx": 1, "answers": [)"
                R"({"text": "a", "label": 1}]}]}})"},
    {"wsc", R"({"text": "A b c.", "label": true, "target": {"span1_text": "a", "span1_index": 0, "span2_text": "c.",)"
            R"("span2_index": 2}})"},
    {"record", R"({"passage": {"text": "\u00c9va ran\n@highlight\nx", "entities": [{"start": 0, "end": 2}]}, "qas": [)"
               R"({"query": "@placeholder", "answers": [{"text": "\u00c9va"}]}]})"},
    {"squad", R"({"data": [{"paragraphs": [{"context": "c\u00a0, d", "qas": [{"question": "q?", "answers": [)"
              R"({"text": "d"}]}]}]}]})"},
    {"nq", "{\"header\": {}}\n{\"context\": \"c\", \"qas\": [{\"question\": \"q\", \"answers\": [\"c.\"]}]}\n"},
    {"winogrande", R"({"sentence": "s _", "option1": "a", "option2": "b", "answer": "2"})"},
    {"yelp", "\"2\",\"Good \"\"place\"\"\"\n\"1\",\"\"\n"}};

TEST(DamagedBenchmarkFiles, AreReadOrRefused) {
  const auto file = fs::temp_directory_path() / fmt::format("quiver-damaged-benchmark-{}", getpid());
  const auto read = [&](const Sample& sample, const std::string& text) {
    std::ofstream(file, std::ios::binary | std::ios::trunc) << text;
    const auto& benchmark = find_benchmark(sample.benchmark);
    std::vector<Item> items;
    try {
      benchmark.read(file, [&](const Record& record) { benchmark.render(benchmark, record, items); });
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::format) << error.what();
      EXPECT_EQ(std::string(error.what()).find("[" + file.string()), 0u) << error.what();
    }
    return items.size();
  };
  Random random(1);
  for (const auto& sample : kSamples) {
    SCOPED_TRACE(sample.benchmark);
    EXPECT_GE(read(sample, sample.text), 1u);
    for (std::size_t length = 0; length < sample.text.size(); ++length) read(sample, sample.text.substr(0, length));
    for (int change = 0; change < 300; ++change) {
      auto text = sample.text;
      text[random.below(text.size())] = static_cast<char>(random.below(256));
      read(sample, text);
    }
  }
  fs::remove(file);
}

}  // namespace
}  // namespace quiver::data
