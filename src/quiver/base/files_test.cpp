// SPDX-License-Identifier: Apache-2.0
#include "quiver/base/files.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <thread>
#include <vector>

#include "quiver/base/error.h"

namespace quiver {
namespace {

class Files : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "quiver_files_XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = pattern;
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::vector<std::string> names() const {
    std::vector<std::string> names;
    for (const auto& entry : fs::directory_iterator(folder_)) names.push_back(entry.path().filename().string());
    std::sort(names.begin(), names.end());
    return names;
  }

  fs::path folder_;
};

void put(const fs::path& path, std::string_view text) { std::ofstream(path, std::ios::binary) << text; }

/// The code of the Error that `action` throws.
template <typename Action>
ErrorCode code_of(Action action) {
  try {
    action();
  } catch (const Error& error) {
    return error.code();
  }
  throw std::logic_error("expected an Error");
}

/// An id that no process has: that of a child which has ended and been waited for.
pid_t dead_process() {
  const pid_t child = fork();
  if (child == 0) _exit(0);
  waitpid(child, nullptr, 0);
  return child;
}

TEST_F(Files, ReadsAllBytes) {
  const std::string bytes("a\0\r\n\xff", 5);
  put(folder_ / "small", bytes);
  put(folder_ / "empty", "");
  put(folder_ / "large", std::string(3'000'001, 'x'));
  EXPECT_EQ(read_file(folder_ / "small"), bytes);
  EXPECT_EQ(read_file(folder_ / "empty"), "");
  EXPECT_EQ(read_file(folder_ / "large").size(), 3'000'001u);
}

TEST_F(Files, ReadingRefusesByName) {
  EXPECT_EQ(code_of([&] { read_file(folder_ / "none"); }), ErrorCode::not_found);
  EXPECT_EQ(code_of([&] { read_file(folder_); }), ErrorCode::io);
  put(folder_ / "five", "12345");
  EXPECT_EQ(read_file(folder_ / "five", 5), "12345");
  EXPECT_EQ(code_of([&] { read_file(folder_ / "five", 4); }), ErrorCode::format);
}

TEST_F(Files, ALimitHoldsWhereTheSizeIsNotKnown) {
  EXPECT_EQ(code_of([&] { read_file("/dev/zero", 10'000'000); }), ErrorCode::format);
}

TEST_F(Files, WritesThroughPipesCanBeRead) {
  const auto pipe = folder_ / "pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  std::thread writer([&] { put(pipe, std::string(100'000, 'p')); });
  EXPECT_EQ(read_file(pipe), std::string(100'000, 'p'));
  writer.join();
}

TEST_F(Files, WritingReplacesAndLeavesNothingElse) {
  write_file_atomically(folder_ / "a" / "b" / "file", "old");
  write_file_atomically(folder_ / "a" / "b" / "file", "new");
  EXPECT_EQ(read_file(folder_ / "a" / "b" / "file"), "new");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_ / "a" / "b"), {}), 1);
}

TEST_F(Files, AFileNameWithoutAFolderIsInTheCurrentOne) {
  const auto before = fs::current_path();
  fs::current_path(folder_);
  write_file_atomically("plain", "here");
  write_folder_atomically("plain_folder", [](const fs::path& temporary) { put(temporary / "x", "1"); });
  fs::current_path(before);
  EXPECT_EQ(names(), (std::vector<std::string>{"plain", "plain_folder"}));
}

TEST_F(Files, AWriterThatThrowsLeavesTheOldFile) {
  const auto path = folder_ / "file";
  write_file_atomically(path, "old");
  const auto write = [](const fs::path& temporary) {
    put(temporary, "half of the n");
    fail(ErrorCode::format, "test", "stopped");
  };
  EXPECT_EQ(code_of([&] { write_file_atomically(path, write); }), ErrorCode::format);
  EXPECT_EQ(read_file(path), "old");
  EXPECT_EQ(names(), std::vector<std::string>{"file"});
}

TEST_F(Files, AReaderSeesTheOldFileUntilTheNewOneIsComplete) {
  const auto path = folder_ / "file";
  write_file_atomically(path, "old");
  write_file_atomically(path, [&](const fs::path& temporary) {
    put(temporary, "new");
    EXPECT_EQ(read_file(path), "old");
    EXPECT_EQ(temporary.parent_path(), path.parent_path());
  });
  EXPECT_EQ(read_file(path), "new");
}

TEST_F(Files, AnUnwritableTargetIsAnIoError) {
  put(folder_ / "file", "");
  EXPECT_EQ(code_of([&] { write_file_atomically(folder_ / "file" / "below", "x"); }), ErrorCode::io);
  fs::create_directory(folder_ / "taken");
  EXPECT_EQ(code_of([&] { write_file_atomically(folder_ / "taken", "x"); }), ErrorCode::io);
  EXPECT_EQ(names(), (std::vector<std::string>{"file", "taken"}));
}

TEST_F(Files, AFolderIsReplacedWhole) {
  const auto path = folder_ / "expert";
  write_folder_atomically(path, [](const fs::path& temporary) {
    put(temporary / "only_old", "1");
    put(temporary / "both", "old");
  });
  write_folder_atomically(path / "", [&](const fs::path& temporary) {
    fs::create_directory(temporary / "nested");
    put(temporary / "nested" / "only_new", "1");
    put(temporary / "both", "new");
    EXPECT_EQ(read_file(path / "both"), "old");
  });
  EXPECT_EQ(read_file(path / "both"), "new");
  EXPECT_TRUE(fs::exists(path / "nested" / "only_new"));
  EXPECT_FALSE(fs::exists(path / "only_old"));
  EXPECT_EQ(names(), std::vector<std::string>{"expert"});
}

TEST_F(Files, AFolderWhoseWriterThrowsStaysAsItWas) {
  const auto path = folder_ / "expert";
  const auto fill = [](const fs::path& temporary) {
    put(temporary / "half", "1");
    fail(ErrorCode::format, "test", "stopped");
  };
  EXPECT_THROW(write_folder_atomically(path, fill), Error);
  EXPECT_TRUE(names().empty());
  write_folder_atomically(path, [](const fs::path& temporary) { put(temporary / "whole", "1"); });
  EXPECT_THROW(write_folder_atomically(path, fill), Error);
  EXPECT_TRUE(fs::exists(path / "whole"));
  EXPECT_EQ(names(), std::vector<std::string>{"expert"});
}

TEST_F(Files, AFolderIsThereAtEveryMomentOfItsReplacement) {
  const auto path = folder_ / "expert";
  const auto fill = [](const fs::path& temporary) { put(temporary / "file", "1"); };
  write_folder_atomically(path, fill);
  std::atomic<bool> done{false};
  std::atomic<int> missing{0};
  std::thread reader([&] {
    while (!done) missing += !fs::exists(path);
  });
  for (int i = 0; i < 50; ++i) write_folder_atomically(path, fill);
  done = true;
  reader.join();
  EXPECT_EQ(missing, 0);
}

TEST_F(Files, ConcurrentWritersOfOneFolderBothSucceed) {
  const auto path = folder_ / "expert";
  std::vector<std::thread> writers;
  for (char mark : {'a', 'b'}) {
    writers.emplace_back([&, mark] {
      for (int i = 0; i < 25; ++i) {
        write_folder_atomically(path, [&](const fs::path& temporary) {
          put(temporary / "one", std::string(1, mark));
          put(temporary / "two", std::string(1, mark));
        });
      }
    });
  }
  for (auto& writer : writers) writer.join();
  EXPECT_EQ(read_file(path / "one"), read_file(path / "two"));
  EXPECT_EQ(names(), std::vector<std::string>{"expert"});
}

TEST_F(Files, TemporariesOfTheDeadAreRemovedOthersKept) {
  const auto dead = std::to_string(dead_process());
  const auto alive = std::to_string(getppid());
  const auto own = std::to_string(getpid());
  const std::vector<std::string> kept = {
      ".a.writing-" + alive + "-1-0",  // another process that runs
      ".writing-" + dead,              // not a name that this code gives
      "b.writing-" + dead + "-1-0",    // not hidden: a user's
      "c",
  };
  for (const auto& name : kept) put(folder_ / name, "x");
  put(folder_ / (".d.writing-" + dead + "-1-0"), "x");
  put(folder_ / (".e.writing-" + own + "-1-0"), "x");  // an earlier process that had this one's id
  fs::create_directory(folder_ / (".f.writing-" + dead + "-1-7"));
  put(folder_ / (".f.writing-" + dead + "-1-7") / "inside", "x");
  remove_stale_temporaries(folder_);
  auto expected = kept;
  std::sort(expected.begin(), expected.end());
  EXPECT_EQ(names(), expected);
}

TEST_F(Files, TheTemporaryOfARunningWriterIsKept) {
  write_file_atomically(folder_ / "file", [&](const fs::path& temporary) {
    put(temporary, "new");
    remove_stale_temporaries(folder_);
    EXPECT_TRUE(fs::exists(temporary));
  });
  EXPECT_EQ(read_file(folder_ / "file"), "new");
}

TEST_F(Files, AKilledWriterLeavesTheOldFileAndATemporaryThatIsRemoved) {
  const auto path = folder_ / "file";
  write_file_atomically(path, "old");
  const pid_t child = fork();
  if (child == 0) {
    write_file_atomically(path, [](const fs::path& temporary) {
      put(temporary, "half of the n");
      kill(getpid(), SIGKILL);
    });
    _exit(1);
  }
  waitpid(child, nullptr, 0);
  EXPECT_EQ(read_file(path), "old");
  EXPECT_EQ(names().size(), 2u);
  remove_stale_temporaries(folder_);
  EXPECT_EQ(names(), std::vector<std::string>{"file"});
}

TEST_F(Files, NothingToCleanIsNoError) { EXPECT_NO_THROW(remove_stale_temporaries(folder_ / "none")); }

TEST_F(Files, ALockLetsOneThreadInAtATime) {
  const auto path = folder_ / "library" / ".lock";
  std::atomic<int> inside{0}, most{0};
  int unguarded = 0;
  const auto work = [&] {
    for (int i = 0; i < 200; ++i) {
      FileLock lock(path);
      most = std::max(most.load(), ++inside);
      ++unguarded;
      std::this_thread::yield();
      --inside;
    }
  };
  std::thread first(work), second(work);
  first.join();
  second.join();
  EXPECT_EQ(most, 1);
  EXPECT_EQ(unguarded, 400);
}

TEST_F(Files, ALockHoldsAgainstAnotherProcess) {
  const auto path = folder_ / "lock", entered = folder_ / "entered";
  auto lock = std::make_unique<FileLock>(path);
  const pid_t child = fork();
  if (child == 0) {
    FileLock other(path);
    put(entered, "x");
    _exit(0);
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  EXPECT_FALSE(fs::exists(entered));
  lock.reset();
  waitpid(child, nullptr, 0);
  EXPECT_TRUE(fs::exists(entered));
}

TEST_F(Files, WhoWaitsForALockIsToldFirst) {
  const auto path = folder_ / "lock";
  auto lock = std::make_unique<FileLock>(path, [] { ADD_FAILURE() << "nobody holds it"; });
  FileLock other(path, [&] { lock.reset(); });
  EXPECT_EQ(lock, nullptr);
}

TEST_F(Files, ALockThatCannotBeIsAnIoError) {
  EXPECT_EQ(code_of([&] { FileLock lock(folder_); }), ErrorCode::io);
}

/// Sets an environment variable for a scope.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old;
    set(value);
  }
  ~Variable() { set(old_.empty() ? nullptr : old_.c_str()); }

 private:
  void set(const char* value) { value ? setenv(name_, value, 1) : unsetenv(name_); }
  const char* name_;
  std::string old_;
};

TEST(CacheFolder, FollowsTheEnvironment) {
  const Variable home("HOME", "/home/u"), xdg("XDG_CACHE_HOME", nullptr), own("QUIVER_CACHE", nullptr);
  EXPECT_EQ(cache_folder(), "/home/u/.cache/quiver");
  const Variable xdg_set("XDG_CACHE_HOME", "/x");
  EXPECT_EQ(cache_folder(), "/x/quiver");
  const Variable own_empty("QUIVER_CACHE", "");
  EXPECT_EQ(cache_folder(), "/x/quiver");
  const Variable own_set("QUIVER_CACHE", "/q");
  EXPECT_EQ(cache_folder(), "/q");
}

TEST_F(Files, ALockFileHasTheRightsThatTheUmaskLeaves) {
  const auto before = umask(002);
  { const FileLock lock(folder_ / ".lock"); }
  umask(before);
  struct stat status {};
  ASSERT_EQ(stat((folder_ / ".lock").c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777, 0664u) << "a group that shares the folder locks in turn";
}

}  // namespace
}  // namespace quiver
