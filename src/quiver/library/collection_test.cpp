// SPDX-License-Identifier: Apache-2.0
#include "quiver/library/collection.h"

#include <ATen/ops/full.h>

#include "quiver/adapter/peft.h"
#include "quiver/tensor_io/test_files.h"

namespace quiver::library {
namespace {

using nlohmann::json;
using tensor_io::expect_error;
using tensor_io::golden;
using tensor_io::TestFolder;
using Names = std::vector<std::string>;

adapter::Adapter adapter_of(float value) {
  adapter::LoraOptions options;
  options.rank = 2;
  return {options, {{"layers.0.q_proj", {at::full({2, 4}, value), at::full({3, 2}, value), 16.0}}}};
}

void write_adapter(const fs::path& folder, float value = 1) {
  fs::create_directories(folder);
  adapter::write_peft(folder, adapter_of(value), "base");
}

Names names_in(const fs::path& folder, CollectionFormat format = CollectionFormat::automatic) {
  Names out;
  for (const auto& expert : find_experts(folder, format)) out.push_back(expert.name);
  return out;
}

TEST(Collection, AdaptersAreFoundAtAnyDepthAndNamedByTheirPath) {
  const TestFolder folder;
  write_adapter(folder / "hub" / "b");
  write_adapter(folder / "hub" / "a/de ep/é");
  write_adapter(folder / "hub" / ".cache/x");
  EXPECT_EQ(names_in(folder / "hub"), (Names{"a-de_ep-__", "b"}));
  EXPECT_EQ(names_in(folder / "hub/b"), Names{"b"});
  EXPECT_EQ(names_in(folder / "hub/b/"), Names{"b"});
  EXPECT_EQ(names_in(folder / "hub/a/../b/."), Names{"b"});
}

TEST(Collection, AnAdapterMayHaveOthersInItsFolderButItsCheckpointsAreNone) {
  const TestFolder folder;
  write_adapter(folder / "hub");
  write_adapter(folder / "hub/second");
  write_adapter(folder / "hub/checkpoint-500");
  EXPECT_EQ(names_in(folder / "hub"), (Names{"hub", "second"}));
  write_adapter(folder / "run/checkpoint-500");
  EXPECT_EQ(names_in(folder / "run"), Names{"checkpoint-500"});
}

TEST(Collection, ALinkThatLeadsBackIsFollowedOnce) {
  const TestFolder folder;
  write_adapter(folder / "hub/a");
  fs::create_directory_symlink(folder / "hub", folder / "hub/b");
  EXPECT_EQ(names_in(folder / "hub"), Names{"a"});
}

TEST(Collection, MttlLibrariesAreFound) {
  EXPECT_EQ(names_in(golden("mttl/phi")), (Names{"old", "older"}));
  EXPECT_EQ(names_in(golden("mttl")),
            (Names{"library-gone", "library-plain", "library-tied", "library-unknown_alpha", "phi-old", "phi-older"}));
  expect_error(ErrorCode::not_found, "no adapter_config.json",
               [] { find_experts(golden("mttl"), CollectionFormat::peft); });
  expect_error(ErrorCode::not_found, "no .meta file", [] { find_experts(golden("adapters"), CollectionFormat::mttl); });
  const auto old = find_experts(golden("mttl/phi"), CollectionFormat::automatic)[0];
  EXPECT_EQ(read_found_expert(old, std::nullopt).adapter.sites.size(), 8u);
}

TEST(Collection, TwoExpertsOfOneNameAreRefused) {
  const TestFolder folder;
  write_adapter(folder / "hub/a-b");
  write_adapter(folder / "hub/a/b");
  expect_error(ErrorCode::usage, "named 'a-b'", [&] { find_experts(folder / "hub", CollectionFormat::automatic); });
  expect_error(ErrorCode::not_found, "no such folder",
               [&] { find_experts(folder / "none", CollectionFormat::automatic); });
}

TEST(Collection, FormatsHaveNames) {
  EXPECT_EQ(collection_format_of_name("mttl"), CollectionFormat::mttl);
  expect_error(ErrorCode::usage, "did you mean 'peft'", [] { collection_format_of_name("pfet"); });
}

TEST(Collection, ALibraryIsReadWithWhatItKnowsOfItsExperts) {
  const TestFolder folder;
  const auto own = Library::open_or_create(folder / "library", "base", "f");
  ExpertInfo info;
  info.name = "a.b";
  info.tasks = {"one", "two"};
  info.training = {{"steps", 3}, {"run_key", "k"}};
  info.scores = {{"accuracy", 1}};
  own.save(info, adapter_of(2), false);
  const auto found = find_experts(folder / "library", CollectionFormat::automatic);
  ASSERT_EQ(found.size(), 1u);
  const auto read = read_found_expert(found[0], std::nullopt);
  EXPECT_EQ(read.info.name, "a.b");
  EXPECT_EQ(read.info.tasks, info.tasks);
  EXPECT_EQ(read.info.training, (json{{"steps", 3}}));
  EXPECT_EQ(read.info.scores, info.scores);
  EXPECT_EQ(adapter::identity(read.adapter), adapter::identity(adapter_of(2)));
}

TEST(Collection, TheExpertRemovedLastComesBack) {
  const TestFolder folder;
  const auto own = Library::open_or_create(folder / "library", "base", "f");
  const auto save = [&](const char* name, float value) {
    ExpertInfo info;
    info.name = name;
    info.base_fingerprint = "f";
    own.save(info, adapter_of(value), false);
  };
  const auto value_of = [&](const char* name) { return own.load(name).sites.begin()->second.a[0][0].item<float>(); };
  expect_error(ErrorCode::usage, "was not removed", [&] { restore_expert(own, "a"); });
  for (const float value : {1.0f, 2.0f}) {
    save("a", value);
    own.remove("a");
  }
  save("a-1", 3);
  own.remove("a-1");
  restore_expert(own, "a");
  EXPECT_EQ(value_of("a"), 2);
  expect_error(ErrorCode::usage, "again", [&] { restore_expert(own, "a"); });
  expect_error(ErrorCode::usage, "did you mean 'a-1'", [&] { restore_expert(own, "a-2"); });
  restore_expert(own, "a-1");
  EXPECT_EQ(value_of("a-1"), 3);
  EXPECT_EQ(own.verify(), Names{});
  own.remove("a");
  restore_expert(own, "a");
  EXPECT_EQ(value_of("a"), 2);
}

}  // namespace
}  // namespace quiver::library
