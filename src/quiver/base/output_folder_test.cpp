// SPDX-License-Identifier: Apache-2.0
#include "quiver/base/output_folder.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "quiver/base/error.h"

namespace quiver {
namespace {

class Outputs : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "quiver_output_XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = fs::canonical(pattern);
  }
  void TearDown() override { fs::remove_all(folder_); }

  void put(const std::string& name, const std::string& text) const {
    fs::create_directories((folder_ / name).parent_path());
    std::ofstream(folder_ / name, std::ios::binary) << text;
  }
  OutputFolder at(const std::string& name, bool replace = false) const {
    return {.path = folder_ / name, .replace = replace, .files = adapter_files()};
  }
  void write(const OutputFolder& output, const std::string& text = "new") const {
    write_output(output, [&](const fs::path& folder) {
      write_file_atomically(folder / "adapter_config.json", text);
      write_file_atomically(folder / "adapter_model.safetensors", text);
    });
  }
  std::string text_of(const std::string& name) const { return read_file(folder_ / name); }
  /// The message of the refusal, which is of the code usage; empty where there is none.
  static std::string refusal(const std::function<void()>& action) {
    try {
      action();
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::usage) << error.what();
      return error.what();
    }
    return "";
  }
  std::string refused(const OutputFolder& output) const {
    const auto by_check = refusal([&] { check_output(output); });
    EXPECT_EQ(refusal([&] { write(output); }), by_check);
    return by_check;
  }

  fs::path folder_;
};

TEST_F(Outputs, AFolderThatIsNotThereOrEmptyIsTaken) {
  write(at("a/b"));
  EXPECT_EQ(text_of("a/b/adapter_config.json"), "new");
  fs::create_directory(folder_ / "empty");
  write(at("empty/"));
  EXPECT_EQ(text_of("empty/adapter_config.json"), "new");
}

TEST_F(Outputs, WhatLiesThereStaysUnlessItIsToldToBeReplaced) {
  put("mine/thesis.txt", "years");
  EXPECT_NE(refused(at("mine")).find("--replace"), std::string::npos);
  EXPECT_NE(refused(at("mine/.")).find("--replace"), std::string::npos);
  EXPECT_EQ(text_of("mine/thesis.txt"), "years");
  EXPECT_FALSE(fs::exists(folder_ / "mine/adapter_config.json"));
}

TEST_F(Outputs, ToldSoTheResultsFilesAreReplacedAndTheOthersStay) {
  put("mine/thesis.txt", "years");
  put("mine/sub/adapter_config.json", "of another adapter");
  put("mine/adapter_config.json", "old");
  put("mine/adapter_model.bin", "old, and would be read beside the new one");
  fs::create_directory(folder_ / "mine/hollow");
  write(at("mine", true));
  EXPECT_EQ(text_of("mine/adapter_config.json"), "new");
  EXPECT_EQ(text_of("mine/thesis.txt"), "years");
  EXPECT_EQ(text_of("mine/sub/adapter_config.json"), "of another adapter");
  EXPECT_FALSE(fs::exists(folder_ / "mine/adapter_model.bin"));
  EXPECT_TRUE(fs::is_directory(folder_ / "mine/hollow"));
  for (const auto& entry : fs::directory_iterator(folder_)) EXPECT_EQ(entry.path().filename(), "mine");
}

TEST_F(Outputs, AFileOfTheResultDoesNotTakeThePlaceOfAnotherKinds) {
  put("mine/thesis.txt", "years");
  put("mine/adapter_config.json", "old");
  const auto refused = refusal([&] {
    write_output(at("mine", true), [](const fs::path& folder) {
      write_file_atomically(folder / "adapter_config.json", "new");
      write_file_atomically(folder / "thesis.txt", "copied along");
    });
  });
  EXPECT_NE(refused.find("thesis.txt"), std::string::npos);
  EXPECT_EQ(text_of("mine/thesis.txt"), "years");
  EXPECT_EQ(text_of("mine/adapter_config.json"), "old") << "nothing was moved";
}

TEST_F(Outputs, AnEarlierResultAloneIsReplacedWhole) {
  put("old/adapter_config.json", "old");
  put("old/adapter_model.bin", "old");
  write(at("old", true));
  EXPECT_EQ(text_of("old/adapter_config.json"), "new");
  EXPECT_FALSE(fs::exists(folder_ / "old/adapter_model.bin"));
}

TEST_F(Outputs, AResultThatFailsLeavesAllAsItWas) {
  put("mine/thesis.txt", "years");
  put("mine/adapter_config.json", "old");
  EXPECT_THROW(write_output(at("mine", true),
                            [](const fs::path& folder) {
                              write_file_atomically(folder / "adapter_config.json", "half");
                              fail(ErrorCode::io, "test", "the disk is full");
                            }),
               Error);
  EXPECT_EQ(text_of("mine/adapter_config.json"), "old");
  EXPECT_EQ(text_of("mine/thesis.txt"), "years");
}

TEST_F(Outputs, LibrariesInputsAndFilesAreNeverTaken) {
  put("lib/library.json", "{}");
  put("lib/experts/alpha/adapter_config.json", "alpha");
  put("models/base/config.json", "{}");
  put("report.txt", "text");
  for (const bool replace : {false, true}) {
    EXPECT_NE(refused(at("lib", replace)).find("is a library"), std::string::npos);
    EXPECT_NE(refused(at("lib/experts/alpha", replace)).find("lies in the library"), std::string::npos);
    EXPECT_NE(refused(at("lib/experts/new", replace)).find("lies in the library"), std::string::npos);
    EXPECT_NE(refused(at("report.txt", replace)).find("is a file"), std::string::npos);
    auto output = at("models", replace);
    output.inputs = {folder_ / "models/base"};
    EXPECT_NE(refused(output).find("holds"), std::string::npos);
    output.path = folder_ / "models/base/";
    EXPECT_NE(refused(output).find("is"), std::string::npos);
    fs::remove(folder_ / "link");
    fs::create_directory_symlink(folder_ / "models/base", folder_ / "link");
    output.path = folder_ / "link";
    EXPECT_NE(refused(output), "") << "by whatever name";
  }
  EXPECT_EQ(text_of("lib/experts/alpha/adapter_config.json"), "alpha");
  EXPECT_EQ(text_of("report.txt"), "text");
  write(at("lib/exports/new"));  // beside the library's rooms
}

TEST_F(Outputs, ARunThatGoesOnMayFindItsOwnFiles) {
  put("out/run/state", "step 3");
  auto output = at("out");
  EXPECT_NE(refusal([&] { check_output(output); }), "");
  output.unfinished = {"run/*"};
  check_output(output);
  write(output);
  EXPECT_EQ(text_of("out/run/state"), "step 3");
  EXPECT_EQ(text_of("out/adapter_config.json"), "new");
}

TEST_F(Outputs, TheCurrentFolderStaysTheSameFolder) {
  const auto before = fs::current_path();
  fs::create_directory(folder_ / "here");
  fs::current_path(folder_ / "here");
  OutputFolder output{.path = ".", .files = adapter_files()};
  write(output);
  EXPECT_TRUE(fs::exists("adapter_config.json"));
  fs::current_path(before);
}

TEST_F(Outputs, AFileOfAnotherKindIsNotOverwritten) {
  const auto known = [](const std::string& head) { return head.starts_with("<html>"); };
  const auto refused = [&](const std::string& name) {
    return refusal([&] { check_output_file(folder_ / name, "--report", known); });
  };
  put("old.html", "<html>of a run before");
  put("thesis.html", "years");
  put("empty.html", "");
  EXPECT_EQ(refused("old.html"), "");
  EXPECT_EQ(refused("empty.html"), "");
  EXPECT_EQ(refused("new/report.html"), "");
  EXPECT_NE(refused("thesis.html/report.html").find("no folder"), std::string::npos);
  EXPECT_NE(refused("thesis.html").find("thesis.html"), std::string::npos);
  EXPECT_NE(refused("").find("folder"), std::string::npos);
  put("lib/library.json", "{}");
  EXPECT_NE(refused("lib/experts/x.html"), "");
  EXPECT_EQ(refused("lib/report.html"), "");
}

}  // namespace
}  // namespace quiver
