// SPDX-License-Identifier: Apache-2.0
#include "quiver/data/benchmarks/benchmark.h"

#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/data/benchmarks/public_files.h"
#include "quiver/data/benchmarks/render.h"

namespace quiver::data {
namespace {

const std::vector<Label> kEntailment = {{"entailment", "entailment"}, {"not_entailment", "not_entailment"}};
const std::vector<Label> kTruth = {{"false", "False"}, {"true", "True"}};
const std::vector<Label> kTruthNumbers = {{"0", "False"}, {"1", "True"}};
const std::vector<Label> kDigits = {{"0", "0"}, {"1", "1"}};

const std::vector<PromptField> kSentences = {{"sentence1", "sentence1"}, {"sentence2", "sentence2"}};
const std::vector<PromptField> kPremise = {{"premise", "premise"}, {"hypothesis", "hypothesis"}};
const std::vector<PromptField> kPremiseSentences = {{"premise", "sentence1"}, {"hypothesis", "sentence2"}};

/// A classification of GLUE that is halved or held out; what differs is set on the result.
Benchmark glue(std::string_view name, std::string_view folder, SplitRule rule, std::vector<PromptField> prompt) {
  Benchmark b;
  b.name = name;
  b.suite = "GLUE";
  b.folder = folder;
  b.train = "train.tsv";
  (rule == SplitRule::halved ? b.validation : b.test) = "dev.tsv";
  b.split_rule = rule;
  b.read = read_table;
  b.render = render_fields;
  b.prompt = std::move(prompt);
  b.label_field = "label";
  b.target_tokens = 8;
  return b;
}

void add_glue(std::vector<Benchmark>& all) {
  auto mnli = glue("mnli", "MNLI", SplitRule::given, kPremiseSentences);
  mnli.validation = "dev_mismatched.tsv";
  mnli.test = "dev_matched.tsv";
  mnli.label_field = "gold_label";
  mnli.labels = {{"entailment", "entailment"}, {"neutral", "neutral"}, {"contradiction", "contradiction"}};
  all.push_back(mnli);

  auto qnli = glue("qnli", "QNLI", SplitRule::held_out, {{"question", "question"}, {"sentence", "sentence"}});
  qnli.labels = kEntailment;
  all.push_back(qnli);

  auto qqp = glue("qqp", "QQP", SplitRule::held_out, {{"question1", "question1"}, {"question2", "question2"}});
  qqp.read = read_ragged_table;
  qqp.label_field = "is_duplicate";
  qqp.labels = {{"0", "not_duplicate"}, {"1", "duplicate"}};
  all.push_back(qqp);

  auto sst2 = glue("sst2", "SST-2", SplitRule::held_out, {{"sentence", "sentence"}});
  sst2.labels = {{"0", "negative"}, {"1", "positive"}};
  all.push_back(sst2);

  auto cola = glue("cola", "CoLA", SplitRule::halved, {{"sentence", "sentence"}});
  cola.read = read_cola;
  cola.labels = {{"0", "unacceptable"}, {"1", "acceptable"}};
  cola.metrics = {"matthews"};
  all.push_back(cola);

  auto mrpc = glue("mrpc", "MRPC", SplitRule::halved, {{"sentence1", "#1 String"}, {"sentence2", "#2 String"}});
  mrpc.read = read_mrpc;
  mrpc.label_field = "Quality";
  mrpc.labels = {{"0", "not_equivalent"}, {"1", "equivalent"}};
  all.push_back(mrpc);

  auto rte = glue("rte", "RTE", SplitRule::halved, kSentences);
  rte.labels = kEntailment;
  all.push_back(rte);

  auto wnli = glue("wnli", "WNLI", SplitRule::halved, kSentences);
  wnli.labels = {{"0", "not_entailment"}, {"1", "entailment"}};
  all.push_back(wnli);

  auto stsb = glue("stsb", "STS-B", SplitRule::halved, kSentences);
  stsb.render = render_score;
  stsb.label_field = "score";
  stsb.metrics = {"pearson", "spearman"};
  all.push_back(stsb);
}

Benchmark superglue(std::string_view name, std::string_view folder, std::vector<PromptField> prompt,
                    std::vector<Label> labels) {
  auto b = glue(name, folder, SplitRule::halved, std::move(prompt));
  b.suite = "SuperGLUE";
  b.train = "train.jsonl";
  b.validation = "val.jsonl";
  b.read = read_json_lines;
  b.labels = std::move(labels);
  return b;
}

void add_superglue(std::vector<Benchmark>& all) {
  all.push_back(superglue("boolq", "BoolQ", {{"question", "question"}, {"passage", "passage"}}, kTruth));
  all.push_back(superglue("cb", "CB", kPremise,
                          {{"entailment", "entailment"}, {"contradiction", "contradiction"}, {"neutral", "neutral"}}));
  all.push_back(superglue("superglue-rte", "RTE", kPremise, kEntailment));

  auto multirc = superglue("multirc", "MultiRC", {}, kTruthNumbers);
  multirc.render = render_multirc;
  multirc.metrics = {"true_f1", "group_em"};
  all.push_back(multirc);

  all.push_back(
      superglue("wic", "WiC", {{"sentence1", "sentence1"}, {"sentence2", "sentence2"}, {"word", "word"}}, kTruth));

  auto wsc = superglue("wsc", "WSC", {}, kTruth);
  wsc.render = render_wsc;
  all.push_back(wsc);

  auto record = superglue("record", "ReCoRD", {}, {});
  record.split_rule = SplitRule::held_out;
  record.validation = "";
  record.test = "val.jsonl";
  record.render = render_record;
  record.target_tokens = 128;
  record.metrics = {"squad_em", "squad_f1"};
  all.push_back(record);
}

Benchmark reading(std::string_view name, std::string_view suite, std::string_view train, std::string_view test,
                  ReadFile read) {
  Benchmark b;
  b.name = name;
  b.suite = suite;
  b.folder = suite;
  b.train = train;
  b.test = test;
  b.split_rule = SplitRule::held_out;
  b.read = read;
  b.render = render_answer;
  b.metrics = {"squad_em", "squad_f1"};
  return b;
}

void add_reading(std::vector<Benchmark>& all) {
  all.push_back(reading("squad", "SQuAD", "train-v1.1.json", "dev-v1.1.json", read_squad));
  all.push_back(
      reading("nq", "MRQA", "train/NaturalQuestionsShort.jsonl", "dev/NaturalQuestionsShort.jsonl", read_mrqa));
  all.push_back(reading("newsqa", "MRQA", "train/NewsQA.jsonl", "dev/NewsQA.jsonl", read_mrqa));
  all.push_back(reading("hotpotqa", "MRQA", "train/HotpotQA.jsonl", "dev/HotpotQA.jsonl", read_mrqa));
  all.push_back(reading("searchqa", "MRQA", "train/SearchQA.jsonl", "dev/SearchQA.jsonl", read_mrqa));
}

void add_others(std::vector<Benchmark>& all) {
  auto winogrande = superglue("winogrande", "winogrande_1.1", {}, {});
  winogrande.suite = "WinoGrande";
  winogrande.split_rule = SplitRule::held_out;
  winogrande.train = "train_xl.jsonl";
  winogrande.validation = "";
  winogrande.test = "dev.jsonl";
  winogrande.render = render_winogrande;
  all.push_back(winogrande);

  auto scitail =
      superglue("scitail", "snli_format", kPremiseSentences, {{"entailment", "entailment"}, {"neutral", "neutral"}});
  scitail.suite = "SciTail";
  scitail.train = "scitail_1.0_train.txt";
  scitail.validation = "scitail_1.0_dev.txt";
  scitail.label_field = "gold_label";
  all.push_back(scitail);

  auto paws = glue("paws", "final", SplitRule::given, kSentences);
  paws.suite = "PAWS";
  paws.validation = "dev.tsv";
  paws.test = "test.tsv";
  paws.labels = kDigits;
  all.push_back(paws);

  auto yelp = glue("yelp", "yelp_review_polarity_csv", SplitRule::held_out, {{"sentence", "text"}});
  yelp.suite = "Yelp";
  yelp.train = "train.csv";
  yelp.test = "test.csv";
  yelp.read = read_reviews;
  yelp.labels = {{"1", "0"}, {"2", "1"}};
  yelp.train_limit = 100000;
  all.push_back(yelp);
}

}  // namespace

const std::vector<Benchmark>& benchmarks() {
  static const auto table = [] {
    std::vector<Benchmark> all;
    add_glue(all);
    add_superglue(all);
    add_reading(all);
    add_others(all);
    return all;
  }();
  return table;
}

const Benchmark& find_benchmark(std::string_view name) {
  std::vector<std::string> known;
  for (const auto& benchmark : benchmarks()) {
    if (benchmark.name == name) return benchmark;
    known.emplace_back(benchmark.name);
  }
  fail(ErrorCode::usage, "benchmark", "unknown name '{}'{}", name, suggestion(name, known));
}

}  // namespace quiver::data
