// SPDX-License-Identifier: Apache-2.0
// Libraries as they are used: beside other programs' folders, by readers while others write, where nothing can be
// written, with numbers that are none.
#include <ATen/ops/full.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cmath>
#include <thread>

#include "quiver/adapter/peft.h"
#include "quiver/base/error.h"
#include "quiver/library/collection.h"
#include "quiver/library/expert_file.h"
#include "quiver/tensor_io/test_files.h"

namespace quiver::library {
namespace {

using tensor_io::error_of;
using tensor_io::expect_error;
using Names = std::vector<std::string>;

const std::string kFingerprint(64, 'a');

adapter::Adapter adapter_of(float value) {
  adapter::LoraOptions options;
  options.rank = 2;
  options.targets = {"q_proj"};
  return {options, {{"layers.0.q_proj", {at::full({2, 4}, value), at::full({3, 2}, value), 16.0}}}};
}

class LibraryInUse : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "quiver_in_use_XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = fs::path(pattern) / "library";
  }
  void TearDown() override { fs::remove_all(folder_.parent_path()); }

  Library library() const { return Library::open_or_create(folder_, "some/base", kFingerprint); }
  static void add(const Library& library, const std::string& name, float value = 1) {
    library.save({.name = name,
                  .tasks = {},
                  .base_fingerprint = kFingerprint,
                  .identity = "",
                  .files_stamp = "",
                  .training = {},
                  .scores = {}},
                 adapter_of(value), false);
  }

  fs::path folder_;
};

TEST_F(LibraryInUse, OtherProgramsFoldersArePassedOverAndNamed) {
  const auto library = this->library();
  add(library, "alpha");
  for (const auto* name : {"@eaDir", "__pycache__", ".Trash-1000"}) fs::create_directory(folder_ / "experts" / name);
  fs::copy(folder_ / "experts/alpha", folder_ / "experts/alpha (copy)");
  fs::copy(folder_ / "experts/alpha", folder_ / "experts/by_hand");
  fs::remove(folder_ / "experts/by_hand/expert.json");
  write_file_atomically(folder_ / "experts/notes.txt", "notes");
  fs::create_directory_symlink("/nowhere/at/all", folder_ / "experts/dangling");
  EXPECT_EQ(library.names(), Names{"alpha"});
  Names strays, adapters;
  for (const auto& stray : library.strays()) {
    strays.push_back(stray.name);
    if (stray.adapter) adapters.push_back(stray.name);
    EXPECT_FALSE(stray.what.empty());
  }
  EXPECT_EQ(strays, (Names{"@eaDir", "__pycache__", "alpha (copy)", "by_hand"}));
  EXPECT_EQ(adapters, (Names{"alpha (copy)", "by_hand"}));
  const auto problems = library.verify();
  ASSERT_EQ(problems.size(), 2u);
  EXPECT_TRUE(problems[0].starts_with("alpha (copy): ")) << problems[0];
  expect_error(ErrorCode::usage, "library add", [&] { library.info("by_hand"); });
  // What the message advises works.
  auto found = find_experts(folder_ / "experts/by_hand", CollectionFormat::automatic);
  ASSERT_EQ(found.size(), 1u);
  auto expert = read_found_expert(found[0], {});
  expert.info.base_fingerprint = kFingerprint;
  library.save(expert.info, expert.adapter, false);
  EXPECT_EQ(library.names(), (Names{"alpha", "by_hand"}));
  EXPECT_EQ(library.load_present(library.names()).size(), 2u);
}

TEST_F(LibraryInUse, NumbersThatAreNotFiniteAreRefusedWhereTheyComeInAndNamedWhereTheyAre) {
  const auto library = this->library();
  add(library, "well");
  for (const float bad : {NAN, INFINITY, -INFINITY}) {
    const auto error = error_of([&] { add(library, "sick", bad); });
    EXPECT_EQ(error.code(), ErrorCode::format);
    EXPECT_NE(std::string(error.what()).find("expert sick"), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("layers.0.q_proj"), std::string::npos) << error.what();
  }
  EXPECT_EQ(library.names(), Names{"well"});
  // One that was added before such a check was made.
  const auto folder = folder_ / "experts/sick";
  fs::create_directories(folder);
  const auto sick = adapter_of(NAN);
  adapter::write_peft(folder, sick, "some/base");
  write_expert_file(folder, {.name = "sick",
                             .tasks = {},
                             .base_fingerprint = kFingerprint,
                             .identity = adapter::identity(sick),
                             .files_stamp = "",
                             .training = {},
                             .scores = {}});
  EXPECT_EQ(library.names(), (Names{"sick", "well"})) << "it is listed, and can be removed";
  expect_error(ErrorCode::format, "expert sick", [&] { library.load("sick"); });
  expect_error(ErrorCode::format, "expert sick", [&] { library.load_present(library.names()); });
  EXPECT_EQ(library.load_experts({"well"}).size(), 1u);
  const auto problems = library.verify();
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_TRUE(problems[0].starts_with("sick: ")) << problems[0];
}

TEST_F(LibraryInUse, WhoReadsAllExpertsDoesNotFailWhileOneComesAndGoes) {
  const auto library = this->library();
  for (int i = 0; i < 12; ++i) add(library, fmt::format("e{}", i), static_cast<float>(i + 1));
  // Joined, and told to end, whatever becomes of the test.
  const std::jthread writer([&library](std::stop_token stop) {
    while (!stop.stop_requested()) {
      library.remove("e3");
      restore_expert(library, "e3");
    }
  });
  for (int i = 0; i < 60; ++i) {
    const auto loaded = library.load_present(library.names());
    EXPECT_GE(loaded.size(), 11u);
    for (const auto& expert : loaded) EXPECT_EQ(expert.info.identity, adapter::identity(expert.adapter));
    EXPECT_GE(library.infos().size(), 11u);
    EXPECT_EQ(library.contents_key().size(), 64u);
    EXPECT_EQ(library.verify(), Names{});
  }
}

TEST_F(LibraryInUse, DerivedDataOfALibraryThatCannotBeWrittenIsUsedAndGoesWithTheObject) {
  add(library(), "alpha");
  const auto write = [](const Library& library) {
    library.write_derived("prototypes/alpha", std::string(64, 'c'), "txt",
                          [](const fs::path& path) { write_file_atomically(path, "computed"); });
  };
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    // Root may write anywhere, so another user reads it; whoever owns it takes the right from himself.
    const auto read = fs::perms::others_read | fs::perms::others_exec;
    if (getuid() == 0) fs::permissions(folder_.parent_path(), read, fs::perm_options::add);
    if (getuid() != 0) fs::permissions(folder_, fs::perms::owner_write, fs::perm_options::remove);
    if (getuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) _exit(9);
    fs::path kept;
    {
      const auto library = Library::open(folder_);
      try {
        library.check_writable();
        _exit(1);
      } catch (const Error& error) {
        if (error.code() != ErrorCode::io) _exit(2);
      }
      if (!library.keeps_derived()) _exit(3);
      write(library);
      const auto copy = library;
      const auto found = copy.derived("prototypes/alpha", std::string(64, 'c'), "txt");
      if (!found || read_file(*found) != "computed" || library.keeps_derived()) _exit(4);
      if (!library.unkept_to_tell() || copy.unkept_to_tell()) _exit(7);
      kept = *found;
      if (library.load_present(library.names()).size() != 1) _exit(5);
    }
    _exit(fs::exists(kept) ? 6 : 0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  fs::permissions(folder_, fs::perms::owner_write, fs::perm_options::add);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_FALSE(fs::exists(folder_ / "derived"));
  const auto library = this->library();
  library.check_writable();
  write(library);
  EXPECT_TRUE(library.keeps_derived());
  EXPECT_TRUE(fs::exists(folder_ / "derived/prototypes"));
}

TEST_F(LibraryInUse, TasksAreSaidAnewAndTheRestStays) {
  const auto library = this->library();
  add(library, "alpha", 2);
  const auto before = library.info("alpha");
  library.set_tasks("alpha", {"rte", "cola"});
  const auto after = library.info("alpha");
  EXPECT_EQ(after.tasks, (Names{"rte", "cola"}));
  EXPECT_EQ(after.identity, before.identity);
  EXPECT_EQ(after.files_stamp, before.files_stamp);
  EXPECT_EQ(library.verify(), Names{});
  // Factors that were changed by hand are not taken for checked.
  adapter::write_peft(library.expert_folder("alpha"), adapter_of(3), "some/base");
  expect_error(ErrorCode::mismatch, "", [&] { library.set_tasks("alpha", {"mnli"}); });
}

}  // namespace
}  // namespace quiver::library
