// SPDX-License-Identifier: Apache-2.0
#include "quiver/data/task.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "quiver/base/error.h"

namespace quiver::data {
namespace {

/// Writes files into a folder of its own that goes with the test.
class TaskTest : public ::testing::Test {
 protected:
  TaskTest() {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::temp_directory_path() / fmt::format("quiver-task-{}-{}", test->name(), getpid());
    fs::create_directories(folder_);
  }
  ~TaskTest() override { fs::remove_all(folder_); }

  fs::path write(const std::string& name, const std::string& text) const {
    const auto path = folder_ / name;
    fs::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << text;
    return path;
  }

  std::string error_of(const std::string& name, const std::string& text, const ReadOptions& options = {}) const {
    try {
      read_task(write(name, text), options);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }

  fs::path folder_;
};

#define EXPECT_HAS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

TEST_F(TaskTest, ReadsEveryFieldOfARow) {
  const auto path =
      write("animals/cats.jsonl", R"({"task":"cats","split":"test","source":"s","target":"t","options":["t","u"],)"
                                  R"("references":["t","v"],"weight":0.5,"id":7,"metadata":{"a":[1]}})"
                                  "\r\n\n"
                                  R"({"task":"cats","split":"train","source":"","target":"é\n"})");
  const auto task = read_task(path);
  EXPECT_EQ(task.name, "cats");
  EXPECT_EQ(task.cluster, "animals");
  ASSERT_EQ(task.examples.size(), 2u);
  EXPECT_EQ(task.examples[0].options, (std::vector<std::string>{"t", "u"}));
  EXPECT_EQ(task.examples[0].references, (std::vector<std::string>{"t", "v"}));
  EXPECT_EQ(task.examples[0].weight, 0.5);
  EXPECT_EQ(task.examples[1].target, "é\n");
  EXPECT_EQ(task.rows(Split::test), std::vector<std::size_t>{0});
  EXPECT_EQ(task.rows(Split::train), std::vector<std::size_t>{1});
}

TEST_F(TaskTest, NameIsTheStemAndRowsAreTrainWhereTheFileDoesNotSay) {
  const auto task = read_task(write("dogs.jsonl", "\xEF\xBB\xBF{\"source\":\"a\",\"target\":\"b\"}\n"));
  EXPECT_EQ(task.name, "dogs");
  EXPECT_EQ(task.rows(Split::train).size(), 1u);
}

TEST_F(TaskTest, AJsonListOfRowsIsReadToo) {
  EXPECT_EQ(read_task(write("a.json", R"([{"source":"a","target":"b"},)"
                                      "\n"
                                      R"({"source":"c","target":"d"}])"))
                .examples.size(),
            2u);
}

TEST_F(TaskTest, ABadLineIsOneErrorWithFileLineKeyAndExpectation) {
  const std::string good = "{\"source\":\"a\",\"target\":\"b\"}\n";
  const auto has = [&](const std::string& line, const std::string& expected) {
    const auto message = error_of("bad.jsonl", good + line + "\n");
    EXPECT_HAS(message, "bad.jsonl:2]");
    EXPECT_HAS(message, expected);
  };
  has(R"({"source":"a"})", "key 'target': expected a string, but the key is missing");
  has(R"({"source":1,"target":"b"})", "key 'source': expected a string, came number");
  has(R"({"source":"a","target":"b","options":"b"})", "key 'options': expected a list of strings, came string");
  has(R"({"source":"a","target":"b","options":["b",null]})", "key 'options': expected a string, came null");
  has(R"({"source":"a","target":"b","weight":-1})", "key 'weight': expected a finite number >= 0");
  has(R"({"source":"a","target":"b","weight":1e999})", "number out of range");
  has(R"({"source":"a","target":"b","task":"other"})", "key 'task': expected 'bad'");
  has(R"({"source":"a","target":"b","task":"x\ny"})", "control characters");
  has(R"({"source":"a","target":"b","split":"train"})", "expected in every row or in none");
  has(R"({"source":"a","targets":"b"})", "unknown key 'targets'; did you mean 'target'?");
  has(R"({"source":"a","target":"b")", "syntax error at byte");
  has("{\"source\":\"\xff\",\"target\":\"b\"}", "expected UTF-8 text, came byte 0xFF");
  has(R"(["a","b"])", "expected a JSON object, came array");
  has("nonsense", "syntax error");
  has(std::string(40, '[') + std::string(40, ']'), "nested at most 32 deep");
  has("{\"source\":\"" + std::string((16 << 20) + 1, 'x') + "\"}", "expected a line of at most 16777216 bytes");
}

TEST_F(TaskTest, SplitNamesAreChecked) {
  EXPECT_HAS(error_of("a.jsonl", R"({"source":"a","target":"b","split":"dev"})"), "key 'split': expected train");
  EXPECT_EQ(split_from_name("validation"), Split::validation);
  EXPECT_EQ(split_name(Split::test), "test");
  EXPECT_THROW(format_from_name("alpacca"), Error);
}

TEST_F(TaskTest, MetricsAndGroupsAreRead) {
  const std::string row = R"({"source":"s","target":"t","group":"7","metrics":["true_f1","group_em"]})";
  const auto task = read_task(write("m.jsonl", row + "\n" + R"({"source":"s","target":"t"})"));
  EXPECT_EQ(task.metrics, (std::vector<std::string>{"true_f1", "group_em"}));
  EXPECT_EQ(task.examples[0].group, "7");
  EXPECT_HAS(error_of("n.jsonl", row + "\n" + R"({"source":"s","target":"t","metrics":["pearson"]})"),
             "n.jsonl:2] key 'metrics': expected 'true_f1', 'group_em' as in the rows before, came 'pearson'");
}

TEST_F(TaskTest, EmptyAndUnknownFilesAreRefused) {
  EXPECT_HAS(error_of("a.jsonl", "\n \n"), "expected at least one example");
  EXPECT_HAS(error_of("a.parquet", "PAR1"), "Parquet");
  EXPECT_HAS(error_of("a.xml", "<a/>"), "expected a task file ending in");
  EXPECT_HAS(error_of("a.json", "{\"a\":\n1}"), "Definition and Instances");
  EXPECT_THROW(read_task(folder_ / "absent.jsonl"), Error);
}

TEST_F(TaskTest, AlpacaRowsJoinInstructionAndInput) {
  const auto task = read_task(write("alpaca.json", R"([{"instruction":"Add.","input":"1 2","output":"3"},
                                                       {"instruction":"Sing.","input":"","output":"la"}])"));
  EXPECT_EQ(task.examples[0].source, "Add.\n1 2");
  EXPECT_EQ(task.examples[0].target, "3");
  EXPECT_EQ(task.examples[1].source, "Sing.");
}

TEST_F(TaskTest, TheLastTurnOfAChatIsTheTarget) {
  const auto task =
      read_task(write("chat.jsonl", R"({"messages":[{"role":"system","content":"S"},{"role":"user","content":"U"},)"
                                    R"({"role":"assistant","content":"A"}]})"));
  const auto& example = task.examples[0];
  EXPECT_EQ(example.target, "A");
  EXPECT_EQ(example.source, "");
  ASSERT_EQ(example.messages.size(), 2u);
  EXPECT_EQ(example.messages[1].role, "user");
  EXPECT_HAS(error_of("c.jsonl", R"({"messages":[{"role":"assistant","content":"A"},{"role":"user","content":"U"}]})"),
             "expected the last turn to be the assistant's, came 'user'");
  EXPECT_HAS(error_of("c.jsonl", R"({"messages":[{"role":"asistant","content":"A"}]})"), "did you mean 'assistant'?");
  EXPECT_HAS(error_of("c.jsonl", R"({"messages":"hello"})"), "key 'messages': expected a list");
}

TEST_F(TaskTest, NaturalInstructionsFillTheTemplate) {
  const auto path =
      write("task1.json", R"({"Definition":["Negate it"],"Positive Examples":[{"input":"a","output":"b."}],
    "Instances":[{"id":"x","input":"I do","output":["I don't","I do not"]}]})");
  const auto task = read_task(path);
  EXPECT_EQ(task.name, "task1");
  EXPECT_EQ(task.examples[0].source,
            "Task definition: Negate it.\nNow complete the following example -\nInput: I do.\nOutput:");
  EXPECT_EQ(task.examples[0].target, "I don't");
  EXPECT_EQ(task.examples[0].references.size(), 2u);
  ReadOptions options;
  options.positive_examples = 2;
  EXPECT_EQ(read_task(path, options).examples[0].source,
            "Task definition: Negate it.\nPositive example 1 -\nInput: a.\nOutput: b.\n"
            "Now complete the following example -\nInput: I do.\nOutput:");
  EXPECT_HAS(error_of("n.json", R"({"Definition":"d","Instances":[{"input":"a"}]})"), "Instances 1] key 'output'");
}

TEST_F(TaskTest, CsvFollowsItsQuoting) {
  const auto task = read_task(write("t.csv",
                                    "source,target,split,weight\r\n"
                                    "\"a, \"\"b\"\"\nc\",d,test,2\r\n"
                                    "plain,,train,1\n"));
  ASSERT_EQ(task.examples.size(), 2u);
  EXPECT_EQ(task.examples[0].source, "a, \"b\"\nc");
  EXPECT_EQ(task.examples[0].weight, 2);
  EXPECT_EQ(task.examples[0].split, Split::test);
  EXPECT_EQ(task.examples[1].target, "");
  EXPECT_HAS(error_of("b.csv", "source,target\na,b\nc\n"), "b.csv:3] expected 2 fields, came 1");
  EXPECT_HAS(error_of("b.csv", "source,target\n\"a,b\n"), "b.csv:2] expected a closing quote");
  EXPECT_HAS(error_of("b.csv", "source,target\n\"a\"x,b\n"), "after a closing quote");
  EXPECT_HAS(error_of("b.csv", "text,label\na,b\n"), "expected one column 'source'");
  EXPECT_HAS(error_of("b.csv", "source,target,wieght\na,b,1\n"), "did you mean 'weight'?");
}

TEST_F(TaskTest, TsvHasNoQuotes) {
  const auto task = read_task(write("t.tsv", "source\ttarget\n\"a\tb\"\n"));
  EXPECT_EQ(task.examples[0].source, "\"a");
  EXPECT_EQ(task.examples[0].target, "b\"");
}

TEST_F(TaskTest, FoldersAreReadToAnyDepthInOrder) {
  const std::string row = "{\"source\":\"a\",\"target\":\"b\"}\n";
  write("z/b.jsonl", row);
  write("a/c.jsonl", row);
  write("a/readme.md", "x");
  const auto set = read_tasks({folder_});
  ASSERT_EQ(set.tasks.size(), 2u);
  EXPECT_EQ(set.tasks[0].name, "c");
  EXPECT_EQ(set.tasks[0].cluster, "a");
  EXPECT_EQ(set.tasks[1].cluster, "z");
  ASSERT_EQ(set.notes.size(), 1u);
  EXPECT_HAS(set.notes[0], "a/readme.md");
  write("z/c.jsonl", row);
  EXPECT_THROW(read_tasks({folder_}), Error);
  fs::create_directories(folder_ / "empty");
  EXPECT_THROW(read_tasks({folder_ / "empty"}), Error);
}

TEST(RealTasks, AllOfTheDevelopmentLibraryReads) {
  const auto folder = fs::path(QUIVER_SOURCE_DIR) / "../shared/data";
  if (!fs::is_directory(folder)) GTEST_SKIP() << "no development data";
  const auto tasks = read_tasks({folder / "library"}).tasks;
  EXPECT_EQ(tasks.size(), 53u);
  for (const auto& task : tasks) EXPECT_FALSE(task.rows(Split::test).empty()) << task.name;
  ReadOptions options;
  options.format = Format::natural_instructions;
  EXPECT_EQ(read_tasks({folder / "natural_instructions"}, options).tasks.size(), 12u);
}

}  // namespace
}  // namespace quiver::data
