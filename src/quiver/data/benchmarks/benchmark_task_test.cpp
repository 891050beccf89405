// SPDX-License-Identifier: Apache-2.0
// Every benchmark is read from files in its public format, written here with sentences of our own.
#include "quiver/data/benchmarks/benchmark_task.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <set>

#include "quiver/base/error.h"
#include "quiver/data/benchmarks/mersenne.h"

namespace quiver::data {
namespace {

class BenchmarkTaskTest : public ::testing::Test {
 protected:
  BenchmarkTaskTest() {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::temp_directory_path() / fmt::format("quiver-benchmark-{}-{}", test->name(), getpid());
    fs::create_directories(folder_);
  }
  ~BenchmarkTaskTest() override { fs::remove_all(folder_); }

  void write(const std::string& name, const std::string& text) const {
    const auto path = folder_ / name;
    fs::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << text;
  }

  Task read(std::string_view name, const BenchmarkOptions& options = {}) const {
    return read_benchmark(find_benchmark(name), folder_, options);
  }

  std::string error_of(std::string_view name, const BenchmarkOptions& options = {}) const {
    try {
      read(name, options);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }

  /// `line` for each number 0 to count - 1 in place of its `@`.
  static std::string repeated(const std::string& line, int count) {
    std::string text;
    for (int i = 0; i < count; ++i) {
      for (const char c : line) text += c == '@' ? std::to_string(i) : std::string(1, c);
    }
    return text;
  }

  static const Example& one(const Task& task, Split split) { return task.examples[task.rows(split).at(0)]; }

  static std::set<std::string> sources(const Task& task, Split split) {
    std::set<std::string> out;
    for (const auto i : task.rows(split)) out.insert(task.examples[i].source);
    return out;
  }

  fs::path folder_;
};

#define EXPECT_HAS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)
#define EXPECT_EXAMPLE(example, source_text, target_text) \
  EXPECT_EQ((example).source, source_text);               \
  EXPECT_EQ((example).target, target_text)

TEST_F(BenchmarkTaskTest, Mnli) {
  const std::string train = "index\tsentence1\tsentence2\tlabel1\tgold_label\n", dev = train;
  write("MNLI/train.tsv", train + "0\tA \"dog\" ran.\tAn animal ran. \tneutral\tentailment\n");
  write("MNLI/dev_matched.tsv", dev + "0\tm\tn\tneutral\tneutral\n");
  write("MNLI/dev_mismatched.tsv", dev + "0\tmm\tnn\tneutral\tcontradiction\n");
  const auto task = read("mnli");
  EXPECT_EQ(task.name, "mnli");
  EXPECT_EQ(task.examples.size(), 3u);
  EXPECT_EXAMPLE(one(task, Split::train), "premise: A \"dog\" ran. hypothesis: An animal ran. ", "entailment");
  EXPECT_EXAMPLE(one(task, Split::validation), "premise: mm hypothesis: nn", "contradiction");
  EXPECT_EXAMPLE(one(task, Split::test), "premise: m hypothesis: n", "neutral");
}

TEST_F(BenchmarkTaskTest, QnliHoldsOutAThousandRows) {
  write("QNLI/train.tsv",
        "index\tquestion\tsentence\tlabel\n" + repeated("@\tWho is @?\tI am @.\tnot_entailment\n", 1003));
  write("QNLI/dev.tsv", "index\tquestion\tsentence\tlabel\n0\tWhere?\tHere.\tentailment\n");
  const auto task = read("qnli");
  EXPECT_EQ(task.rows(Split::train).size(), 3u);
  EXPECT_EQ(task.rows(Split::validation).size(), 1000u);
  EXPECT_EQ(task.rows(Split::test).size(), 1u);
  const auto order = torch_permutation(1003, 42);
  EXPECT_EXAMPLE(one(task, Split::validation), fmt::format("question: Who is {0}? sentence: I am {0}.", order[0]),
                 "not_entailment");
  EXPECT_EXAMPLE(one(task, Split::train), fmt::format("question: Who is {0}? sentence: I am {0}.", order[1000]),
                 "not_entailment");
  EXPECT_EXAMPLE(one(task, Split::test), "question: Where? sentence: Here.", "entailment");
}

TEST_F(BenchmarkTaskTest, QqpPassesOverShortRows) {
  const std::string header = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n";
  write("QQP/train.tsv", header + "7\t1\t2\tbroken\n" + repeated("@\t1\t2\tHow?\tHow, @?\t1\n", 1001));
  write("QQP/dev.tsv", header + "0\t1\t2\tWhy?\tWhen?\t0\n");
  const auto task = read("qqp");
  EXPECT_EQ(task.rows(Split::validation).size(), 1000u);
  EXPECT_EQ(task.rows(Split::train).size(), 1u);
  EXPECT_EQ(one(task, Split::train).target, "duplicate");
  EXPECT_EXAMPLE(one(task, Split::test), "question1: Why? question2: When?", "not_duplicate");
}

TEST_F(BenchmarkTaskTest, Sst2) {
  write("SST-2/train.tsv", "sentence\tlabel\n" + repeated("good @ \t1\n", 1001));
  write("SST-2/dev.tsv", "sentence\tlabel\nbad \t0\n");
  const auto task = read("sst2");
  EXPECT_EQ(one(task, Split::train).target, "positive");
  EXPECT_EXAMPLE(one(task, Split::test), "sentence: bad ", "negative");
}

TEST_F(BenchmarkTaskTest, ColaHasNoHeader) {
  write("CoLA/train.tsv", "own\t1\t\tThe cat sat.\n");
  write("CoLA/dev.tsv", "own\t0\t*\tCat the sat.\nown\t0\t*\tSat cat the.\n");
  const auto task = read("cola");
  EXPECT_EXAMPLE(one(task, Split::train), "sentence: The cat sat.", "acceptable");
  EXPECT_EQ(one(task, Split::test).target, "unacceptable");
  EXPECT_EQ(task.metrics, std::vector<std::string>{"matthews"});
  write("CoLA/dev.tsv", "own\t0\tfew\n");
  EXPECT_HAS(error_of("cola"), "dev.tsv:1] expected 4 fields, came 3");
}

TEST_F(BenchmarkTaskTest, MrpcFromTheAuthorsFiles) {
  const std::string header = "\xEF\xBB\xBFQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\r\n";
  write("MRPC/msr_paraphrase_train.txt",
        header + "1\t10\t11\tHe left.\tHe went.\r\n0\t12\t13\tA.\tB.\r\n1\t14\t15\tC.\tD.\r\n");
  write("MRPC/mrpc_dev_ids.tsv", "14\t15\n12\t13\n");
  const auto task = read("mrpc");
  ASSERT_EQ(task.examples.size(), 3u);
  EXPECT_EXAMPLE(one(task, Split::train), "sentence1: He left. sentence2: He went.", "equivalent");
  // Two rows are halved under torch's order of two, which is 0 1.
  EXPECT_EXAMPLE(one(task, Split::validation), "sentence1: A. sentence2: B.", "not_equivalent");
  EXPECT_EQ(one(task, Split::test).target, "equivalent");
}

TEST_F(BenchmarkTaskTest, MrpcFromTables) {
  const std::string header = "Quality\t#1 ID\t#2 ID\t#1 String\t#2 String\n";
  write("train.tsv", header + "1\t1\t2\ta\tb\n");
  write("dev.tsv", header + "0\t3\t4\tc\td\n0\t5\t6\te\tf\n");
  EXPECT_EQ(read("mrpc").rows(Split::test).size(), 1u) << "the files may lie in the folder itself";
}

TEST_F(BenchmarkTaskTest, RteAndWnliAndStsb) {
  const std::string header = "index\tsentence1\tsentence2\tlabel\n";
  for (const std::string name : {"RTE", "WNLI"}) {
    const std::string no = name == "RTE" ? "not_entailment" : "0", yes = name == "RTE" ? "entailment" : "1";
    write(name + "/train.tsv", header + "0\tIt rains.\tIt is wet.\t" + yes + "\n");
    write(name + "/dev.tsv", header + repeated("@\tp @\th @\t" + no + "\n", 277));
    const auto task = read(name == "RTE" ? "rte" : "wnli");
    EXPECT_EXAMPLE(one(task, Split::train), "sentence1: It rains. sentence2: It is wet.", "entailment");
    EXPECT_EQ(one(task, Split::test).target, "not_entailment");
    EXPECT_EQ(task.rows(Split::validation).size(), 138u);
    EXPECT_EQ(task.rows(Split::test).size(), 139u);
  }
  const std::string scores = "index\tgenre\tsentence1\tsentence2\tscore\n";
  std::string rows;
  // The last two are ties in binary: 4.25 and 3.75, halves to even.
  for (const std::string score : {"3.800", "5.000", "0.0", "2.615", "4.250", "3.750"})
    rows += "0\tg\ta\tb\t" + score + "\n";
  write("STS-B/train.tsv", scores + rows);
  write("STS-B/dev.tsv", scores + "0\tg\tc\td\t1.000\n0\tg\tc\td\t1.000\n");
  const auto stsb = read("stsb");
  std::vector<std::string> targets;
  for (const auto i : stsb.rows(Split::train)) targets.push_back(stsb.examples[i].target);
  EXPECT_EQ(targets, (std::vector<std::string>{"3.8", "5.0", "0.0", "2.6", "4.2", "3.8"}));
  EXPECT_EQ(one(stsb, Split::train).source, "sentence1: a sentence2: b");
  EXPECT_EQ(stsb.metrics, (std::vector<std::string>{"pearson", "spearman"}));
  write("STS-B/dev.tsv", scores + "0\tg\tc\td\tmuch\n");
  EXPECT_HAS(error_of("stsb"), "dev.tsv:2] key 'score': expected a number, came 'much'");
}

TEST_F(BenchmarkTaskTest, CbHalvesItsValidation) {
  const std::string line = R"({"premise": "P @.", "hypothesis": "H @", "label": "neutral", "idx": @})"
                           "\n";
  write("CB/train.jsonl", R"({"premise": "He said it.", "hypothesis": "it is so", "label": "contradiction", "idx": 0})"
                          "\n" +
                              repeated(line, 1));
  write("CB/val.jsonl", repeated(line, 56));
  const auto task = read("cb");
  EXPECT_EXAMPLE(one(task, Split::train), "premise: He said it. hypothesis: it is so", "contradiction");
  EXPECT_EQ(task.rows(Split::validation).size(), 28u);
  EXPECT_EQ(task.rows(Split::test).size(), 28u);
  // torch.randperm(56) under 42 begins 22 8 36 and ends 38 0 3.
  EXPECT_EQ(one(task, Split::validation).source, "premise: P 22. hypothesis: H 22");
  EXPECT_EQ(task.examples.back().source, "premise: P 3. hypothesis: H 3");
  EXPECT_TRUE(one(task, Split::test).options.empty());
  EXPECT_EQ(one(read("cb", {.list_options = true}), Split::test).options,
            (std::vector<std::string>{"entailment", "contradiction", "neutral"}));
}

TEST_F(BenchmarkTaskTest, BoolqAndRteAndWic) {
  const std::string boolq = R"({"question": "is it", "passage": "It is.", "idx": 0, "label": true})"
                            "\n";
  write("BoolQ/train.jsonl", boolq);
  write("BoolQ/val.jsonl", boolq + boolq);
  EXPECT_EXAMPLE(one(read("boolq"), Split::train), "question: is it passage: It is.", "True");
  const std::string rte = R"({"premise": "p", "hypothesis": "h", "label": "not_entailment", "idx": 0})"
                          "\n";
  write("RTE/train.jsonl", rte);
  write("RTE/val.jsonl", rte + rte);
  EXPECT_EXAMPLE(one(read("superglue-rte"), Split::train), "premise: p hypothesis: h", "not_entailment");
  const std::string wic =
      R"({"word": "bank", "sentence1": "By the bank.", "sentence2": "A bank lent.", "idx": 0, "label": false, "start1": 7})"
      "\n";
  write("WiC/train.jsonl", wic);
  write("WiC/val.jsonl", wic + wic);
  EXPECT_EXAMPLE(one(read("wic"), Split::train), "sentence1: By the bank. sentence2: A bank lent. word: bank", "False");
}

TEST_F(BenchmarkTaskTest, MultircHasARowPerAnswer) {
  const std::string line =
      R"({"idx": 3, "passage": {"text": "<b>1: </b>Ann ran.<br>", "questions": [{"question": "Who <b>ran</b>?", "idx": 12,)"
      R"("answers": [{"text": "Ann", "idx": 0, "label": 1}, {"text": "Bob", "idx": 1, "label": 0}]}]}})"
      "\n";
  write("MultiRC/train.jsonl", line);
  write("MultiRC/val.jsonl", line);
  const auto task = read("multirc");
  ASSERT_EQ(task.rows(Split::train).size(), 2u);
  EXPECT_EXAMPLE(task.examples[0], "question: Who ran? answer: Ann paragraph: 1: Ann ran. ", "True");
  EXPECT_EXAMPLE(task.examples[1], "question: Who ran? answer: Bob paragraph: 1: Ann ran. ", "False");
  EXPECT_EQ(task.examples[1].group, "12");
  EXPECT_EQ(task.rows(Split::test).size(), 1u);
  write("MultiRC/val.jsonl", R"({"idx": 3, "passage": {"text": "t", "questions": [{"question": "q", "idx": 1}]}})");
  EXPECT_HAS(error_of("multirc"), "val.jsonl:1, passage, questions 1] key 'answers'");
}

TEST_F(BenchmarkTaskTest, WscMarksBothSpans) {
  const auto line = [](const std::string& text, const std::string& spans) {
    return R"({"text": ")" + text + R"(", "target": {)" + spans + R"(}, "idx": 0, "label": true})" + "\n";
  };
  write("WSC/train.jsonl",
        line("Mark told Pete many lies, and he believed them.",
             R"("span1_text": "Mark", "span1_index": 0, "span2_text": "he", "span2_index": 6)") +
            line("When it broke, the vase was dear.",
                 R"("span1_text": "The vase.", "span1_index": 3, "span2_text": "it", "span2_index": 1)"));
  write("WSC/val.jsonl",
        line("a b", R"("span1_text": "x", "span1_index": 9, "span2_text": "b", "span2_index": 1)") +
            line("a b", R"("span1_text": "a", "span1_index": 0, "span2_text": "b", "span2_index": 1)"));
  const auto task = read("wsc");
  EXPECT_EXAMPLE(task.examples[0], "text: * Mark * told Pete many lies, and # he # believed them.", "True");
  EXPECT_EXAMPLE(task.examples[1], "text: When # it # broke, * the vase * was dear.", "True");
  EXPECT_EQ(one(task, Split::validation).source, "text: a # b #");
  EXPECT_EQ(one(task, Split::test).source, "text: * a * # b #");
}

TEST_F(BenchmarkTaskTest, RecordHasARowPerAnswer) {
  // Places count characters: the first letter has two bytes.
  const std::string line =
      R"({"idx": 0, "passage": {"text": "\u00c9va met Bo\n@highlight\nBo ran", "entities": [{"start": 8, "end": 9},)"
      R"({"start": 0, "end": 2}, {"start": 22, "end": 23}]}, "qas": [{"query": "@placeholder ran @", "idx": 0,)"
      R"("answers": [{"start": 8, "end": 9, "text": "Bo"}, {"start": 0, "end": 2, "text": "\u00c9va"}, {"text": "Bo"}]}]})"
      "\n";
  std::string train;
  for (int i = 0; i < 1001; ++i) train += line;
  write("ReCoRD/train.jsonl", train);
  write("ReCoRD/val.jsonl", line);
  const auto task = read("record");
  EXPECT_EQ(task.rows(Split::train).size(), 2u);
  EXPECT_EQ(task.rows(Split::validation).size(), 2000u);
  const auto test = task.rows(Split::test);
  ASSERT_EQ(test.size(), 2u);
  EXPECT_EXAMPLE(task.examples[test[0]],
                 "record query: @placeholder ran @ entities: Bo, \xC3\x89va passage: \xC3\x89va met Bo. Bo ran", "Bo");
  EXPECT_EQ(task.examples[test[1]].target, "\xC3\x89va");
  EXPECT_EQ(task.examples[test[1]].references, (std::vector<std::string>{"Bo", "\xC3\x89va"}));
  write("ReCoRD/val.jsonl", R"({"passage": {"text": "ab", "entities": [{"start": 1, "end": 2}]}, "qas": []})");
  EXPECT_HAS(error_of("record"),
             "val.jsonl:1, passage, entities 1] expected start <= end < 2 characters, came 1 and 2");
}

TEST_F(BenchmarkTaskTest, Squad) {
  const std::string question =
      R"({"id": "x", "question": " Who, then?", "answers": [{"answer_start": 0, "text": "Dr. No"},)"
      R"({"answer_start": 4, "text": "No"}]})";
  std::string many;
  for (int i = 0; i < 1001; ++i) many += (i > 0 ? "," : "") + question;
  const auto document = [](const std::string& questions) {
    return R"({"version": "1.1", "data": [{"title": "t", "paragraphs": [{"context": "Dr. No (1962).", "qas": [)" +
           questions + "]}]}]}";
  };
  write("SQuAD/train-v1.1.json", document(many));
  write("SQuAD/dev-v1.1.json", document(question));
  const auto task = read("squad");
  EXPECT_EQ(task.rows(Split::train).size(), 1u);
  EXPECT_EXAMPLE(one(task, Split::test), "question: Who , then ?  context: Dr . No ( 1962 ) . ", "Dr . No");
  EXPECT_TRUE(one(task, Split::test).references.empty());
  EXPECT_EQ(task.metrics, (std::vector<std::string>{"squad_em", "squad_f1"}));
  write("SQuAD/dev-v1.1.json", document(R"({"question": "q", "answers": []})"));
  EXPECT_HAS(error_of("squad"), "data 1, paragraphs 1, qas 1] key 'answers': expected at least one answer");
}

TEST_F(BenchmarkTaskTest, Mrqa) {
  const std::string header = R"({"header": {"dataset": "Own", "split": "train"}})"
                             "\n",
                    line =
                        R"({"id": "", "context": "It was cold.", "context_tokens": [["It", 0]], "qas": [{"qid": "a",)"
                        R"("question": "how was it", "detected_answers": [], "answers": ["cold", "It"]}]})"
                        "\n";
  std::string train = header;
  for (int i = 0; i < 1001; ++i) train += line;
  for (const auto& [name, file] : std::vector<std::pair<std::string, std::string>>{
           {"nq", "NaturalQuestionsShort"}, {"newsqa", "NewsQA"}, {"hotpotqa", "HotpotQA"}, {"searchqa", "SearchQA"}}) {
    write("MRQA/train/" + file + ".jsonl", train);
    write("MRQA/dev/" + file + ".jsonl", header + line);
    const auto task = read(name);
    EXPECT_EXAMPLE(one(task, Split::test), "question: how was it context: It was cold . ", "cold");
    EXPECT_EQ(task.rows(Split::validation).size(), 1000u);
  }
  write("MRQA/dev/NewsQA.jsonl", line);
  EXPECT_HAS(error_of("newsqa"), "NewsQA.jsonl:1] key 'header': expected in the first line");
  fs::remove(folder_ / "MRQA/dev/NewsQA.jsonl");
  write("MRQA/dev/NewsQA.jsonl.gz", "packed");
  EXPECT_HAS(error_of("newsqa"), "gunzip");
}

TEST_F(BenchmarkTaskTest, WinograndeAnswersWithTheOptionsText) {
  const std::string line =
      R"({"qID": "@", "sentence": "Ann thanked Bea as _ helped.", "option1": "Ann", "option2": "Bea",)"
      R"("answer": "2"})"
      "\n";
  write("winogrande_1.1/train_xl.jsonl", repeated(line, 1001));
  write("winogrande_1.1/dev.jsonl", line);
  const auto task = read("winogrande", {.list_options = true});
  EXPECT_EXAMPLE(one(task, Split::test), "sentence: Ann thanked Bea as _ helped. option1: Ann option2: Bea", "Bea");
  EXPECT_EQ(one(task, Split::test).options, (std::vector<std::string>{"Ann", "Bea"}));
  write("winogrande_1.1/dev.jsonl", R"({"sentence": "s", "option1": "a", "option2": "b", "answer": ""})");
  EXPECT_HAS(error_of("winogrande"), "dev.jsonl:1] key 'answer': expected 1 or 2, came ''");
}

TEST_F(BenchmarkTaskTest, Scitail) {
  const std::string line =
      R"({"sentence1": "Ice melts.", "sentence2": "Ice is solid.", "gold_label": "neutral", "x": []})"
      "\n";
  write("snli_format/scitail_1.0_train.txt", line);
  write("snli_format/scitail_1.0_dev.txt", line + line);
  EXPECT_EXAMPLE(one(read("scitail"), Split::train), "premise: Ice melts. hypothesis: Ice is solid.", "neutral");
}

TEST_F(BenchmarkTaskTest, PawsHasItsOwnSplits) {
  const std::string header = "id\tsentence1\tsentence2\tlabel\n";
  write("final/train.tsv", header + "1\ta b\tb a\t0\n");
  write("final/dev.tsv", header + "1\tc\td\t1\n");
  write("final/test.tsv", header + "1\te\tf\t1\n1\tg\th\t0\n");
  const auto task = read("paws");
  EXPECT_EXAMPLE(one(task, Split::train), "sentence1: a b sentence2: b a", "0");
  EXPECT_EQ(task.rows(Split::validation).size(), 1u);
  EXPECT_EQ(task.rows(Split::test).size(), 2u);
}

TEST_F(BenchmarkTaskTest, YelpKeepsTheFilesEscapes) {
  write("yelp_review_polarity_csv/train.csv", repeated("\"2\",\"Nice @\"\n", 1001));
  write("yelp_review_polarity_csv/test.csv", "\"1\",\"He said \"\"no\"\".\\nNever again. \"\n");
  const auto task = read("yelp");
  EXPECT_EQ(one(task, Split::train).target, "1");
  EXPECT_EXAMPLE(one(task, Split::test), "sentence: He said \"\"no\"\".\\nNever again.", "0");
  write("yelp_review_polarity_csv/test.csv", "1,plain\n");
  EXPECT_HAS(error_of("yelp"), "test.csv:1] expected \"1\",\"text\"");
}

TEST_F(BenchmarkTaskTest, FewShotsReduceTrainAloneAndShareNoRow) {
  write("QNLI/train.tsv",
        "index\tquestion\tsentence\tlabel\n" + repeated("@\tq@\ts\tentailment\n@\tn@\ts\tnot_entailment\n", 600));
  write("QNLI/dev.tsv", "index\tquestion\tsentence\tlabel\n0\tWhere?\tHere.\tentailment\n");
  const auto each = read("qnli", {.few_shot = {.shots = 16}});
  EXPECT_EQ(each.rows(Split::train).size(), 32u);
  EXPECT_EQ(each.rows(Split::validation).size(), 1000u);
  const auto held_out = sources(each, Split::validation);
  for (const auto& source : sources(each, Split::train)) EXPECT_FALSE(held_out.contains(source)) << source;
  const auto total = read("qnli", {.few_shot = {.shots = 16, .of = ShotsOf::all_classes}});
  EXPECT_EQ(total.rows(Split::train).size(), 16u);
  const auto other = read("qnli", {.few_shot = {.shots = 16, .seed = 7}});
  EXPECT_NE(sources(each, Split::train), sources(other, Split::train));
  EXPECT_EQ(held_out, sources(other, Split::validation)) << "the splits are the same under every seed";
}

TEST_F(BenchmarkTaskTest, DefectsNameFileLineAndExpectation) {
  const std::string header = "index\tsentence1\tsentence2\tlabel\n";
  write("train.tsv", header + "0\ta\tb\tperhaps\n");
  EXPECT_HAS(error_of("rte"), "train.tsv:2] key 'label': expected one of entailment, not_entailment, came 'perhaps'");
  write("train.tsv", header + "0\ta\tb\n");
  EXPECT_HAS(error_of("rte"), "train.tsv:2] expected 4 fields, came 3");
  write("train.tsv", "index\tsentence1\tlabel\n0\ta\tentailment\n");
  EXPECT_HAS(error_of("rte"), "train.tsv:2] key 'sentence2': expected a string, but the key is missing");
  write("train.tsv", header);
  EXPECT_HAS(error_of("rte"), "expected at least one example, came none");
  write("train.tsv", "index\tquestion\tsentence\tlabel\n0\tq\ts\tentailment\n");
  EXPECT_HAS(error_of("qnli"), "expected more than 1000 examples, which are held out for validation, came 1");
  EXPECT_HAS(error_of("cb"), "train.jsonl");
  write("train.jsonl", R"({"premise": "p", "hypothesis": "h", "label": "neutral")");
  EXPECT_HAS(error_of("cb"), "train.jsonl:1] expected JSON");
}

TEST(Benchmarks, TheTableIsWhole) {
  std::set<std::string_view> names;
  for (const auto& b : benchmarks()) {
    SCOPED_TRACE(b.name);
    EXPECT_TRUE(names.insert(b.name).second);
    EXPECT_TRUE(b.read && b.render && !b.train.empty());
    EXPECT_EQ(b.validation.empty(), b.split_rule == SplitRule::held_out);
    EXPECT_EQ(b.test.empty(), b.split_rule == SplitRule::halved);
  }
  EXPECT_EQ(names.size(), 25u);
  EXPECT_THROW(find_benchmark("mnil"), Error);
}

TEST_F(BenchmarkTaskTest, ATaskWrittenIsReadBack) {
  Task task{"own", "", {}, {"matthews"}};
  Example example;
  example.source = "s\n\"";
  example.target = "t";
  example.options = {"t", "u"};
  example.references = {"t"};
  example.group = "3";
  example.weight = 0.5;
  example.split = Split::test;
  task.examples = {example, Example{}};
  write("own.jsonl", task_rows(task));
  const auto again = read_task(folder_ / "own.jsonl");
  EXPECT_EQ(again.metrics, task.metrics);
  ASSERT_EQ(again.examples.size(), 2u);
  EXPECT_EXAMPLE(again.examples[0], "s\n\"", "t");
  EXPECT_EQ(again.examples[0].options, example.options);
  EXPECT_EQ(again.examples[0].references, example.references);
  EXPECT_EQ(again.examples[0].group, "3");
  EXPECT_EQ(again.examples[0].weight, 0.5);
  EXPECT_EQ(again.examples[0].split, Split::test);
  EXPECT_EQ(again.examples[1].split, Split::train);
}

}  // namespace
}  // namespace quiver::data
