// SPDX-License-Identifier: Apache-2.0
// What a folder of task files is read as.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "quiver/base/error.h"
#include "quiver/base/strings.h"
#include "quiver/data/task.h"

namespace quiver::data {
namespace {

class TaskSetTest : public ::testing::Test {
 protected:
  TaskSetTest() {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = fs::temp_directory_path() / fmt::format("quiver-task-set-{}-{}", test->name(), getpid());
    fs::create_directories(folder_);
  }
  ~TaskSetTest() override { fs::remove_all(folder_); }

  fs::path write(const std::string& name, const std::string& text) const {
    const auto path = folder_ / name;
    fs::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << text;
    return path;
  }

  /// A row whose source is `source`.
  static std::string row(const std::string& source, const std::string& more = "") {
    return fmt::format(R"({{"source":"{}","target":"t"{}}})", source, more) + "\n";
  }

  static std::vector<std::string> names(const TaskSet& set) {
    std::vector<std::string> out;
    for (const auto& task : set.tasks) out.push_back(task.name);
    return out;
  }

  std::string error() const {
    try {
      read_tasks({folder_});
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }

  fs::path folder_;
};

using Names = std::vector<std::string>;

TEST_F(TaskSetTest, EveryReadableExtensionIsReadWhateverItsCase) {
  write("one.JSONL", row("a"));
  write("two.Csv", "source,target\na,b\n");
  write("three.tsv", "source\ttarget\na\tb\n");
  write("four.json", R"([{"source":"a","target":"b"}])");
  write("five.ndjson", row("a"));
  write("notes.txt", "not a task");
  write("data.parquet", "PAR1");
  const auto set = read_tasks({folder_});
  EXPECT_EQ(names(set), (Names{"five", "four", "one", "three", "two"}));
  ASSERT_EQ(set.notes.size(), 1u);
  EXPECT_NE(set.notes[0].find("data.parquet, notes.txt"), std::string::npos) << set.notes[0];
}

TEST_F(TaskSetTest, AFormatByNameTakesItsFilesAndNamesTheOthers) {
  write("one.jsonl", row("a"));
  write("two.csv", "source,target\na,b\n");
  ReadOptions options;
  options.format = Format::csv;
  const auto set = read_tasks({folder_}, options);
  EXPECT_EQ(names(set), Names{"two"});
  ASSERT_EQ(set.notes.size(), 1u);
  EXPECT_NE(set.notes[0].find("one.jsonl"), std::string::npos);
}

TEST_F(TaskSetTest, HiddenFilesAndWhatEditorsLeaveAreNoData) {
  write("a.jsonl", row("a"));
  for (const auto* name : {"._a.jsonl", ".hidden/b.jsonl", ".ipynb_checkpoints/a-checkpoint.jsonl", "#a.jsonl#",
                           "a.jsonl~", "~$a.csv", "__MACOSX/._a.jsonl", "@eaDir/a.jsonl"})
    write(name, "no task at all");
  const auto set = read_tasks({folder_});
  EXPECT_EQ(names(set), Names{"a"});
  EXPECT_TRUE(set.notes.empty()) << set.notes[0];
  EXPECT_THROW(read_tasks({folder_ / "._a.jsonl"}), Error) << "a file that is named is read";
}

TEST_F(TaskSetTest, MetadataBesideTasksIsNamed) {
  write("a.jsonl", row("a"));
  write("dataset_info.json", R"({"license":"mit"})");
  const auto set = read_tasks({folder_});
  EXPECT_EQ(names(set), Names{"a"});
  ASSERT_EQ(set.notes.size(), 1u);
  EXPECT_NE(set.notes[0].find("dataset_info.json"), std::string::npos);
  EXPECT_THROW(read_tasks({folder_ / "dataset_info.json"}), Error);
}

TEST_F(TaskSetTest, FilesNamedAfterSplitsAreOneTask) {
  write("cats/train.jsonl", row("learn"));
  write("cats/dev.jsonl", row("check"));
  write("cats/test.csv", "source,target\nscore,t\n");
  write("dogs/train.jsonl", row("learn"));
  write("other.jsonl", row("o"));
  const auto set = read_tasks({folder_});
  EXPECT_EQ(names(set), (Names{"cats", "dogs", "other"}));
  const auto& cats = set.tasks[0];
  ASSERT_EQ(cats.examples.size(), 3u);
  EXPECT_EQ(cats.examples[cats.rows(Split::train).at(0)].source, "learn");
  EXPECT_EQ(cats.examples[cats.rows(Split::validation).at(0)].source, "check");
  EXPECT_EQ(cats.examples[cats.rows(Split::test).at(0)].source, "score");
  const bool said = std::any_of(set.notes.begin(), set.notes.end(), [](const auto& note) {
    return note.find("task cats: its splits are dev.jsonl, test.csv, train.jsonl") != std::string::npos;
  });
  EXPECT_TRUE(said) << join(set.notes, "; ");
}

TEST_F(TaskSetTest, SplitsOfOneNameAreOneTask) {
  write("birds-train.jsonl", row("learn"));
  write("birds-test.jsonl", row("score"));
  write("latest-test.jsonl", row("alone"));
  const auto set = read_tasks({folder_});
  EXPECT_EQ(names(set), (Names{"birds", "latest-test"}));
  EXPECT_EQ(set.tasks[0].rows(Split::test).size(), 1u);
  EXPECT_EQ(set.tasks[1].rows(Split::train).size(), 1u) << "a name of its own, whatever it ends in";
}

TEST_F(TaskSetTest, RowsSayTheirSplitAndNameBeforeTheirFile) {
  write("train.jsonl", row("a", R"(,"split":"validation","task":"animals")"));
  write("test.jsonl", row("b", R"(,"task":"animals")"));
  const auto set = read_tasks({folder_});
  EXPECT_EQ(names(set), Names{"animals"});
  EXPECT_EQ(set.tasks[0].rows(Split::validation).size(), 1u);
  EXPECT_EQ(set.tasks[0].rows(Split::test).size(), 1u);
  write("valid.jsonl", row("c", R"(,"task":"plants")"));
  EXPECT_NE(error().find("files named after splits are one task"), std::string::npos) << error();
}

TEST_F(TaskSetTest, FilesGivenByNameAreReadAsInTheirFolder) {
  const auto train = write("train.jsonl", row("a")), test = write("test.jsonl", row("b"));
  EXPECT_EQ(read_tasks({train, test}).tasks.size(), 1u);
  const auto alone = read_tasks({test});
  EXPECT_EQ(names(alone), Names{folder_.filename().string()});
  EXPECT_EQ(alone.tasks[0].rows(Split::test).size(), 1u);
  EXPECT_EQ(names(alone), names(read_tasks({folder_})));
  EXPECT_EQ(names(alone), names(read_tasks({folder_ / "." / "test.jsonl"})));
  EXPECT_EQ(names(alone), names(read_tasks({folder_ / "."})));
  const auto other = write("birds/test.jsonl", row("c")), named = write("cat-test.jsonl", row("d"));
  EXPECT_EQ(names(read_tasks({other, test, named})), (Names{"birds", folder_.filename().string(), "cat-test"}));
}

TEST_F(TaskSetTest, TextThatIsNoUtf8IsRefusedByNameInEveryFormat) {
  const std::string latin = "caf\xE9",
                    utf16(
                        "\xFF\xFE"
                        "a\0",
                        4),
                    zeros("a\0b\0", 4);
  for (const auto* name : {"t.jsonl", "t.json", "t.csv", "t.tsv", "t.ndjson"}) {
    for (const auto& text : {"source,target\n" + latin + ",b\n", utf16, zeros}) {
      const auto path = write(name, text);
      try {
        read_task(path);
        ADD_FAILURE() << name;
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::format);
        EXPECT_NE(std::string(error.what()).find("UTF-8"), std::string::npos) << error.what();
        EXPECT_NE(std::string(error.what()).find(name), std::string::npos) << error.what();
      }
    }
    fs::remove(folder_ / name);
  }
  write("t.csv", "source,target\na,b\n" + latin + ",b\n");
  EXPECT_NE(error().find("t.csv:3] expected UTF-8 text, came byte 0xE9 at 21"), std::string::npos) << error();
  fs::remove(folder_ / "t.csv");
  write("u.csv", "source,target\na,b\xEF\xBF");
  EXPECT_NE(error().find("u.csv:2] expected UTF-8 text, came byte 0xEF at 17 of 19"), std::string::npos) << error();
  const auto marked = read_task(write("m.csv", "\xEF\xBB\xBFsource,target\na,caf\xC3\xA9\n"));
  EXPECT_EQ(marked.examples[0].target, "caf\xC3\xA9");
}

}  // namespace
}  // namespace quiver::data
