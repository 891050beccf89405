// SPDX-License-Identifier: Apache-2.0
#include "quiver/library/library.h"

#include <ATen/Parallel.h>
#include <ATen/ops/full.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <optional>
#include <thread>

#include "quiver/adapter/peft.h"
#include "quiver/base/error.h"
#include "quiver/tensor_io/test_files.h"

namespace quiver::library {
namespace {

using nlohmann::json;
using tensor_io::error_of;
using tensor_io::expect_error;
using Names = std::vector<std::string>;

const std::string kFingerprint(64, 'a'), kOther(64, 'b');

/// One site whose factors hold `value`, so that each value is another expert.
adapter::Adapter adapter_of(float value) {
  adapter::LoraOptions options;
  options.rank = 2;
  options.targets = {"q_proj"};
  return {options, {{"layers.0.q_proj", {at::full({2, 4}, value), at::full({3, 2}, value), 16.0}}}};
}

float value_of(const adapter::Adapter& adapter) { return adapter.sites.at("layers.0.q_proj").a[0][0].item<float>(); }

ExpertInfo info_of(const std::string& name) { return {name, {"task of " + name}, kFingerprint, "", {}, {}, {}}; }

class OwnLibrary : public testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "quiver_library_XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    folder_ = fs::path(pattern) / "library";
  }
  void TearDown() override { fs::remove_all(folder_.parent_path()); }

  Library library() const { return Library::open_or_create(folder_, "some/base", kFingerprint); }

  Names files_in(const fs::path& folder) const {
    Names out;
    for (const auto& entry : fs::directory_iterator(folder)) out.push_back(entry.path().filename().string());
    std::sort(out.begin(), out.end());
    return out;
  }

  fs::path folder_;
};

TEST_F(OwnLibrary, IsMadeOnceAndOpenedAsItWasMade) {
  expect_error(ErrorCode::not_found, "no library.json", [&] { Library::open(folder_); });
  EXPECT_TRUE(library().names().empty());
  for (const auto& opened : {Library::open(folder_), Library::open_or_create(folder_, "moved/base", kFingerprint)}) {
    EXPECT_EQ(opened.folder(), folder_);
    EXPECT_EQ(opened.base_model(), "some/base");
    EXPECT_EQ(opened.fingerprint(), kFingerprint);
  }
}

TEST_F(OwnLibrary, IsNotOpenedForAnotherBase) {
  library();
  expect_error(ErrorCode::mismatch, "", [&] { Library::open_or_create(folder_, "other/base", kOther); });
  EXPECT_EQ(Library::open_or_create(folder_, "other/base", kOther, true).fingerprint(), kFingerprint);
}

TEST_F(OwnLibrary, AManifestThatIsNotOursIsRefusedByKey) {
  const auto refused = [&](ErrorCode code, const std::string& part, const std::string& manifest) {
    write_file_atomically(folder_ / "library.json", manifest);
    expect_error(code, part, [&] { Library::open(folder_); });
  };
  refused(ErrorCode::format, "expected a JSON object", "[]");
  refused(ErrorCode::format, "expected a JSON object", "{\"format\": 1");
  refused(ErrorCode::unsupported, "'format' = 2", R"({"format": 2, "base_model": "b", "fingerprint": "f"})");
  refused(ErrorCode::unsupported, "'format' = null", R"({"base_model": "b", "fingerprint": "f"})");
  refused(ErrorCode::format, "'fingerprint'", R"({"format": 1, "base_model": "b"})");
  refused(ErrorCode::format, "'base_model'", R"({"format": 1, "base_model": 3, "fingerprint": "f"})");
}

TEST_F(OwnLibrary, KeepsWhatIsSaved) {
  const auto own = library();
  auto info = info_of("topics");
  info.tasks = {"one", "two"};
  info.training = {{"steps", 12}, {"note", "größer"}};
  info.scores = {{"accuracy", 0.5}};
  own.save(info, adapter_of(1), false);
  own.save(info_of("Sentiment"), adapter_of(2), false);
  own.save(info_of("a.b-c_9"), adapter_of(3), false);

  const auto reopened = Library::open(folder_);
  EXPECT_EQ(reopened.names(), (Names{"Sentiment", "a.b-c_9", "topics"}));
  EXPECT_TRUE(reopened.contains("topics"));
  EXPECT_FALSE(reopened.contains("topic"));
  const auto read = reopened.info("topics");
  EXPECT_EQ(read.name, "topics");
  EXPECT_EQ(read.tasks, info.tasks);
  EXPECT_EQ(read.base_fingerprint, kFingerprint);
  EXPECT_EQ(read.identity, adapter::identity(adapter_of(1)));
  EXPECT_EQ(read.training, info.training);
  EXPECT_EQ(read.scores, info.scores);
  EXPECT_TRUE(reopened.info("Sentiment").training.is_null());
  EXPECT_EQ(adapter::identity(reopened.load("topics")), read.identity);
  EXPECT_EQ(value_of(adapter::read_peft(reopened.expert_folder("a.b-c_9"))), 3) << "any PEFT reader can load it";
  EXPECT_EQ(files_in(folder_ / "experts"), reopened.names()) << "nothing temporary is left";
}

TEST_F(OwnLibrary, ANameThatIsTakenIsReplacedOnRequestOnly) {
  const auto own = library();
  own.save(info_of("one"), adapter_of(1), false);
  expect_error(ErrorCode::usage, "--replace", [&] { own.save(info_of("one"), adapter_of(2), false); });
  EXPECT_EQ(value_of(own.load("one")), 1);
  own.save(info_of("one"), adapter_of(2), true);
  own.save(info_of("new"), adapter_of(3), true);
  EXPECT_EQ(value_of(own.load("one")), 2);
  EXPECT_EQ(files_in(folder_ / "experts"), (Names{"new", "one"}));
}

TEST_F(OwnLibrary, NamesThatCouldLeaveTheFolderAreRefused) {
  const auto own = library();
  for (const std::string name : {"", ".", "..", ".hidden", "a/b", "../up", "a b", "é", "a\\b"}) {
    expect_error(ErrorCode::usage, "expert name", [&] { own.save(info_of(name), adapter_of(1), false); });
    expect_error(ErrorCode::usage, "expert name", [&] { own.info(name); });
    expect_error(ErrorCode::usage, "expert name", [&] { own.remove(name); });
  }
  EXPECT_THROW(own.save(info_of(std::string(129, 'x')), adapter_of(1), false), Error);
  EXPECT_NO_THROW(own.save(info_of(std::string(128, 'x')), adapter_of(1), false));
  EXPECT_EQ(own.names().size(), 1u);
}

TEST_F(OwnLibrary, ANameOfTwoLinesIsRefusedByOneLine) {
  const auto own = library();
  expect_error(ErrorCode::usage, "expert name", [&] { own.info("two\nlines"); });
}

TEST_F(OwnLibrary, AnUnknownNameIsAnsweredWithTheNearest) {
  const auto own = library();
  own.save(info_of("sentiment"), adapter_of(1), false);
  expect_error(ErrorCode::usage, "did you mean 'sentiment'", [&] { own.info("sentimant"); });
  expect_error(ErrorCode::usage, "did you mean 'sentiment'", [&] { own.load("sentimant"); });
  expect_error(ErrorCode::usage, "did you mean 'sentiment'", [&] { own.remove("sentimant"); });
}

TEST_F(OwnLibrary, AFileAmongTheExpertsIsNoExpert) {
  const auto own = library();
  own.save(info_of("sentiment"), adapter_of(1), false);
  write_file_atomically(own.folder() / "experts/notes.txt", "what the experts are for");
  expect_error(ErrorCode::usage, "notes.txt", [&] { own.info("notes.txt"); });
  EXPECT_EQ(own.names(), std::vector<std::string>{"sentiment"});
}

TEST_F(OwnLibrary, RemovingKeepsTheExpertAside) {
  const auto own = library();
  own.save(info_of("one"), adapter_of(1), false);
  own.save(info_of("two"), adapter_of(2), false);
  own.remove("one");
  EXPECT_EQ(own.names(), Names{"two"});
  EXPECT_FALSE(own.contains("one"));
  expect_error(ErrorCode::usage, "not in", [&] { own.load("one"); });
  ASSERT_EQ(files_in(folder_ / "removed").size(), 1u);
  const auto aside = folder_ / "removed" / files_in(folder_ / "removed")[0];
  EXPECT_TRUE(aside.filename().string().starts_with("one-")) << aside;
  EXPECT_EQ(value_of(adapter::read_peft(aside)), 1);
  own.save(info_of("one"), adapter_of(3), false);
  EXPECT_EQ(value_of(own.load("one")), 3);
}

TEST_F(OwnLibrary, VerifyHasALineForEachDamagedExpertAndNoneForTheOthers) {
  const auto own = library();
  const std::vector<std::pair<std::string, std::function<void(const fs::path&)>>> damages{
      {"changed",
       [](const fs::path& expert) {
         auto bytes = read_file(expert / "adapter_model.safetensors");
         bytes.back() ^= 1;
         write_file_atomically(expert / "adapter_model.safetensors", bytes);
       }},
      {"cut",
       [](const fs::path& expert) {
         const auto path = expert / "adapter_model.safetensors";
         fs::resize_file(path, fs::file_size(path) - 1);
       }},
      {"no_weights", [](const fs::path& expert) { fs::remove(expert / "adapter_model.safetensors"); }},
      {"no_config", [](const fs::path& expert) { fs::remove(expert / "adapter_config.json"); }},
      {"no_info", [](const fs::path& expert) { fs::remove(expert / "expert.json"); }},
      {"other_scale",
       [](const fs::path& expert) {
         auto config = json::parse(read_file(expert / "adapter_config.json"));
         config["lora_alpha"] = 7;
         write_file_atomically(expert / "adapter_config.json", config.dump());
       }},
      {"ill_typed",
       [](const fs::path& expert) {
         auto info = json::parse(read_file(expert / "expert.json"));
         info["tasks"] = 3;
         write_file_atomically(expert / "expert.json", info.dump());
       }},
  };
  own.save(info_of("whole"), adapter_of(1), false);
  for (const auto& [name, damage] : damages) own.save(info_of(name), adapter_of(2), false);
  auto foreign = info_of("foreign");
  foreign.base_fingerprint = kOther;
  own.save(foreign, adapter_of(3), false);
  ASSERT_EQ(own.verify().size(), 1u);
  EXPECT_TRUE(own.verify()[0].starts_with("foreign: ")) << own.verify()[0];

  for (const auto& [name, damage] : damages) damage(own.expert_folder(name));
  Names found;
  for (const auto& line : own.verify()) {
    EXPECT_EQ(line.find('\n'), std::string::npos) << line;
    found.push_back(line.substr(0, line.find(':')));
  }
  EXPECT_EQ(found,
            (Names{"changed", "cut", "foreign", "ill_typed", "no_config", "no_info", "no_weights", "other_scale"}));
  for (const auto& [name, damage] : damages) EXPECT_THROW(own.load(name), Error) << name;
  EXPECT_EQ(value_of(own.load("whole")), 1);
}

TEST_F(OwnLibrary, ThreadsThatAddAtOnceLoseNothingAndOneWinsACommonName) {
  const auto own = library();
  std::atomic<int> winners{0}, losers{0};
  const auto write = [&](int writer) {
    for (int i = 0; i < 8; ++i) {
      const auto value = static_cast<float>(100 * writer + i);
      own.save(info_of(fmt::format("own-{}-{}", writer, i)), adapter_of(value), false);
      try {
        own.save(info_of(fmt::format("common-{}", i)), adapter_of(value), false);
        ++winners;
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::usage) << error.what();
        ++losers;
      }
      own.save(info_of("last"), adapter_of(value), true);
    }
  };
  std::thread first(write, 1), second(write, 2);
  first.join();
  second.join();
  EXPECT_EQ(winners, 8);
  EXPECT_EQ(losers, 8);
  EXPECT_EQ(own.names().size(), 16u + 8u + 1u);
  EXPECT_EQ(own.verify(), Names{});
  for (const int writer : {1, 2}) {
    for (int i = 0; i < 8; ++i) EXPECT_EQ(value_of(own.load(fmt::format("own-{}-{}", writer, i))), 100 * writer + i);
  }
  EXPECT_EQ(files_in(folder_ / "experts"), own.names());
}

TEST_F(OwnLibrary, ProcessesThatAddAtOnceLoseNothingAndOneWinsACommonName) {
  constexpr int kWriters = 4;
  std::vector<pid_t> children;
  for (int writer = 0; writer < kWriters; ++writer) {
    children.push_back(fork());
    ASSERT_GE(children.back(), 0);
    if (children.back() != 0) continue;
    at::set_num_threads(1);  // OpenMP's threads do not survive a fork
    int status = 0;
    try {
      const auto own = library();  // making it is part of the race
      own.save(info_of(fmt::format("own-{}", writer)), adapter_of(static_cast<float>(writer)), false);
      own.save(info_of("common"), adapter_of(static_cast<float>(writer)), false);
    } catch (const Error& error) {
      status = error.code() == ErrorCode::usage ? 1 : 2;
    } catch (...) {
      status = 3;
    }
    _exit(status);
  }
  int won = -1, losers = 0;
  for (int writer = 0; writer < kWriters; ++writer) {
    int status = 0;
    waitpid(children[static_cast<std::size_t>(writer)], &status, 0);
    ASSERT_TRUE(WIFEXITED(status));
    EXPECT_LE(WEXITSTATUS(status), 1) << "writer " << writer;
    if (WEXITSTATUS(status) == 0) won = writer;
    losers += WEXITSTATUS(status) == 1;
  }
  EXPECT_EQ(losers, kWriters - 1);
  const auto own = Library::open(folder_);
  EXPECT_EQ(own.names(), (Names{"common", "own-0", "own-1", "own-2", "own-3"}));
  EXPECT_EQ(own.verify(), Names{});
  EXPECT_EQ(value_of(own.load("common")), won) << "the one that was told so";
}

TEST_F(OwnLibrary, AKilledWriterLeavesNoExpertAndTheNextWriterTidiesUp) {
  const auto own = library();
  own.save(info_of("kept"), adapter_of(1), false);
  for (const std::string name : {"kept", "half"}) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      // As save does it, up to where the power goes.
      write_folder_atomically(own.expert_folder(name), [&](const fs::path& temporary) {
        adapter::write_peft(temporary, adapter_of(2), "some/base");
        write_file_atomically(temporary / "expert.json", "{\"name\": ");
        kill(getpid(), SIGKILL);
      });
      _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status));
  }
  ASSERT_EQ(files_in(folder_ / "experts").size(), 3u) << "the test needs the temporary folders";
  EXPECT_EQ(own.names(), Names{"kept"});
  EXPECT_FALSE(own.contains("half"));
  EXPECT_EQ(own.verify(), Names{});
  EXPECT_EQ(value_of(own.load("kept")), 1);
  own.save(info_of("half"), adapter_of(3), false);
  EXPECT_EQ(files_in(folder_ / "experts"), (Names{"half", "kept"}));
  EXPECT_EQ(value_of(own.load("half")), 3);
}

TEST_F(OwnLibrary, AnExpertCanBeReadAtEveryMomentOfItsReplacement) {
  const auto own = library();
  own.save(info_of("one"), adapter_of(1), false);
  std::atomic<bool> done{false};
  std::string failure;
  std::thread reader([&] {
    while (!done && failure.empty()) {
      try {
        const auto value = value_of(own.load("one"));
        if (value != 1 && value != 2) failure = fmt::format("value {}", value);
      } catch (const std::exception& error) {
        failure = error.what();
      }
    }
  });
  for (int i = 0; i < 40; ++i) own.save(info_of("one"), adapter_of(static_cast<float>(1 + i % 2)), true);
  done = true;
  reader.join();
  EXPECT_EQ(failure, "");
}

TEST_F(OwnLibrary, OfTwoThatRemoveAtOnceOneIsToldThatItIsGone) {
  const auto own = library();
  own.save(info_of("one"), adapter_of(1), false);
  std::atomic<int> removed{0}, told{0};
  std::atomic<bool> other_error{false};
  const auto remove = [&] {
    try {
      own.remove("one");
      ++removed;
    } catch (const Error&) {
      ++told;
    } catch (...) {
      other_error = true;
    }
  };
  std::optional<FileLock> lock(std::in_place, folder_ / ".lock");
  std::thread first(remove), second(remove);
  std::this_thread::sleep_for(std::chrono::milliseconds(100));  // both look for the expert before either may move it
  lock.reset();
  first.join();
  second.join();
  EXPECT_EQ(removed, 1);
  EXPECT_EQ(told, 1);
  EXPECT_FALSE(other_error);
}

TEST_F(OwnLibrary, AnotherBaseIsRefusedByOneLineWithBothFingerprints) {
  const auto own = library();
  const auto error = error_of([&] { check_base(own, kOther, false); });
  EXPECT_EQ(error.code(), ErrorCode::mismatch);
  for (const std::string part : {"some/base", "aaaaaaaaaaaa", "bbbbbbbbbbbb", "--allow-other-base"}) {
    EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what() << "\n  lacks: " << part;
  }
  EXPECT_NO_THROW(check_base(own, kFingerprint, false));
  EXPECT_NO_THROW(check_base(own, kOther, true));
  // One character tells bases apart, wherever it stands.
  EXPECT_THROW(check_base(own, std::string(63, 'a') + "b", false), Error);
}

TEST_F(OwnLibrary, DerivedDataIsFoundByItsKeyAndReplacesItsKind) {
  const auto own = library();
  const auto put = [&](const char* kind, const char* key) {
    own.write_derived(kind, key, "json", [&](const fs::path& path) { write_file_atomically(path, key); });
  };
  EXPECT_FALSE(own.derived("clusters", "1111111111111111", "json"));
  put("clusters", "1111111111111111");
  put("prototypes", "1111111111111111");
  const auto found = own.derived("clusters", "1111111111111111", "json");
  ASSERT_TRUE(found);
  EXPECT_EQ(read_file(*found), "1111111111111111");
  EXPECT_FALSE(own.derived("clusters", "1111111111111112", "json"));
  EXPECT_FALSE(own.derived("clusters", "1111111111111111", "safetensors"));
  put("clusters", "2222222222222222");
  EXPECT_FALSE(own.derived("clusters", "1111111111111111", "json"));
  EXPECT_TRUE(own.derived("clusters", "2222222222222222", "json"));
  EXPECT_TRUE(own.derived("prototypes", "1111111111111111", "json"));
}

TEST_F(OwnLibrary, TheKeyOfDerivedDataChangesWithTheExpertsItIsMadeFrom) {
  const auto own = library();
  own.save(info_of("a"), adapter_of(1), false);
  own.save(info_of("b"), adapter_of(2), false);
  const auto key = own.contents_key({"a", "b"});
  EXPECT_EQ(own.contents_key({"a", "b"}), key);
  EXPECT_NE(own.contents_key({"a"}), key);
  EXPECT_NE(own.contents_key({"b", "a"}), key) << "experts are numbered in their order";
  auto retold = info_of("b");
  retold.scores = {{"accuracy", 1.0}};
  own.save(retold, adapter_of(2), true);
  EXPECT_EQ(own.contents_key({"a", "b"}), key) << "what is known of an expert does not change its factors";
  own.save(info_of("b"), adapter_of(3), true);
  EXPECT_NE(own.contents_key({"a", "b"}), key);
  own.save(info_of("b"), adapter_of(2), true);
  EXPECT_EQ(own.contents_key({"a", "b"}), key);
}

}  // namespace
}  // namespace quiver::library
