// SPDX-License-Identifier: Apache-2.0
// `quiver library` as a user meets it: adding from other formats, exporting to them, choosing, restoring, comparing.
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "quiver/base/files.h"
#include "quiver/base/strings.h"
#include "quiver/library/library.h"

namespace quiver {
namespace {

using nlohmann::json;
using Names = std::vector<std::string>;

class LibraryVerb : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::temp_directory_path() / ("quiver_library_verb_" + std::to_string(getpid()));
    fs::remove_all(folder_);
    fs::create_directories(folder_);
  }
  static fs::path made() {
    return fs::temp_directory_path() / ("quiver_library_verb_made_" + std::to_string(getpid()));
  }
  static void TearDownTestSuite() { fs::remove_all(made()); }
  /// A copy of the library of the golden adapters a, b and c, which is made once.
  void start_with_adapters() const {
    if (!fs::exists(made())) {
      ASSERT_EQ(add(golden("adapters")).status, 0);
      fs::rename(folder_ / "library", made());
    }
    fs::copy(made(), folder_ / "library", fs::copy_options::recursive);
  }
  void TearDown() override { fs::remove_all(folder_); }

  struct Outcome {
    int status = 0;
    std::vector<json> objects;  ///< one per line of standard output
    std::string errors;
  };

  /// With --json, over the library `name` of the test's folder.
  Outcome run(const std::string& arguments, const std::string& name = "library") const {
    const auto errors = folder_ / "errors.txt";
    const auto command = std::string(QUIVER_BINARY) + " library " + arguments + " --json --library " + path(name) +
                         " 2>" + errors.string();
    FILE* pipe = popen(command.c_str(), "r");
    std::string output;
    std::array<char, 4096> buffer;
    while (const auto n = fread(buffer.data(), 1, buffer.size(), pipe)) output.append(buffer.data(), n);
    Outcome out{WEXITSTATUS(pclose(pipe)), {}, read_file(errors)};
    for (const auto& line : split(output, '\n')) {
      if (!line.empty()) out.objects.push_back(json::parse(line));
    }
    return out;
  }
  Outcome add(const std::string& source, const std::string& more = "", const std::string& name = "library") const {
    return run("add " + source + " --model " + golden("llama_untied") + " " + more, name);
  }
  Names listed(const std::string& more) const {
    Names out;
    for (const auto& object : run("list " + more).objects) out.push_back(object["name"]);
    return out;
  }
  library::Library library(const std::string& name = "library") const { return library::Library::open(folder_ / name); }

  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  static std::string golden(const std::string& name) {
    return (fs::path(QUIVER_SOURCE_DIR) / "tests/golden" / name).string();
  }

  fs::path folder_;
};

TEST_F(LibraryVerb, AnMttlLibraryIsAddedAndWhatCannotBeNamesItself) {
  const auto added = add(golden("mttl/library"));
  EXPECT_EQ(added.status, 1);
  EXPECT_EQ(library().names(), (Names{"plain", "tied"}));
  ASSERT_EQ(added.objects.size(), 4u);
  EXPECT_EQ(added.objects[0]["name"], "gone");
  EXPECT_TRUE(added.objects[0].contains("skipped"));
  EXPECT_EQ(added.objects[1]["rank"], 2);
  EXPECT_EQ(added.objects[2]["tasks"], json::parse(R"(["first_task", "second_task"])"));
  EXPECT_EQ(added.objects[3]["name"], "unknown_alpha");
  EXPECT_NE(added.objects[3]["error"].get<std::string>().find("--alpha"), std::string::npos);
  EXPECT_NE(added.errors.find("not added: unknown_alpha"), std::string::npos) << added.errors;
  EXPECT_NE(added.errors.find("1 of 4 experts could not be added"), std::string::npos) << added.errors;

  EXPECT_EQ(add(golden("mttl/library"), "--alpha 5 --replace").status, 0);
  EXPECT_EQ(library().names(), (Names{"plain", "tied", "unknown_alpha"}));
  EXPECT_EQ(run("verify").status, 0);
  // A library of another model: both are named, none goes in.
  const auto phi = add(golden("mttl/phi"), "", "phi");
  EXPECT_EQ(phi.status, 1);
  EXPECT_NE(phi.errors.find("2 of 2"), std::string::npos) << phi.errors;
  EXPECT_FALSE(fs::exists(folder_ / "phi")) << "a library was made for none";
}

TEST_F(LibraryVerb, ExpertsGoOutToMttlAndComeBack) {
  start_with_adapters();
  ASSERT_EQ(library().names(), (Names{"a", "b", "c"}));
  const auto exported = run("export --format mttl --exclude c --output " + path("mttl"));
  ASSERT_EQ(exported.status, 0) << exported.errors;
  ASSERT_EQ(exported.objects.size(), 2u);
  EXPECT_EQ(exported.objects[1]["path"], path("mttl/b.ckpt"));
  ASSERT_EQ(add(path("mttl"), "", "second").status, 0);
  EXPECT_EQ(library("second").names(), (Names{"a", "b"}));
  EXPECT_EQ(library("second").info("a").identity, library().info("a").identity);
  EXPECT_EQ(run("export a --format mttl --output " + path("mttl")).status, 2) << "the folder is there";
}

TEST_F(LibraryVerb, ManyAdaptersAreExportedAndAddedAtOnce) {
  start_with_adapters();
  ASSERT_EQ(run("export --experts a,c --output " + path("peft")).status, 0);
  EXPECT_TRUE(fs::exists(folder_ / "peft/a/adapter_config.json"));
  EXPECT_FALSE(fs::exists(folder_ / "peft/b"));
  ASSERT_EQ(add(path("peft"), "", "second").status, 0);
  EXPECT_EQ(library("second").names(), (Names{"a", "c"}));
  EXPECT_EQ(library("second").info("c").identity, library().info("c").identity);
  ASSERT_EQ(add(path("library"), "--format peft --replace", "second").status, 0) << "a library is a collection, too";
  EXPECT_EQ(library("second").names(), (Names{"a", "b", "c"}));
  EXPECT_EQ(listed("--exclude b"), (Names{"a", "c"}));
  EXPECT_EQ(listed("--experts b,a"), (Names{"b", "a"}));
  EXPECT_EQ(run("list --exclude bb").status, 2);
  EXPECT_EQ(add(golden("adapters"), "--name x").status, 2);
  EXPECT_EQ(add(golden("adapters"), "--alpha 4", "third").status, 2) << "nothing would read it";
}

TEST_F(LibraryVerb, ARemovedExpertIsRestored) {
  start_with_adapters();
  const auto before = library().info("a").identity;
  ASSERT_EQ(run("remove a").status, 0);
  EXPECT_EQ(library().names(), (Names{"b", "c"}));
  EXPECT_EQ(run("restore b").status, 2);
  ASSERT_EQ(run("restore a").status, 0);
  EXPECT_EQ(library().info("a").identity, before);
}

TEST_F(LibraryVerb, ADifferenceHasALinePerSite) {
  start_with_adapters();
  const auto same = run("diff a a"), other = run("diff a b");
  ASSERT_EQ(same.objects.size(), 14u);
  ASSERT_EQ(other.objects.size(), 14u);
  for (const auto& site : same.objects) {
    EXPECT_NEAR(site["cosine"], 1.0, 1e-9);
    EXPECT_NEAR(site["input_angle"], 0.0, 1e-4);
    EXPECT_EQ(site["norm_a"], site["norm_b"]);
  }
  EXPECT_GT(other.objects[0]["output_angle"], 1.0);
}

TEST_F(LibraryVerb, WhatAnAdapterWasMadeForCanBeSaid) {
  ASSERT_EQ(add(golden("adapters/a"), "--tasks rte,cola").status, 0);
  EXPECT_EQ(library().info("a").tasks, (Names{"rte", "cola"}));
  EXPECT_EQ(add(golden("adapters"), "--tasks rte --replace").status, 2) << "of three experts each";
  ASSERT_EQ(run("set a --tasks mnli").status, 0);
  EXPECT_EQ(library().info("a").tasks, Names{"mnli"});
  EXPECT_EQ(run("verify").status, 0);
  EXPECT_EQ(run("set a").status, 2);
  EXPECT_EQ(run("set a --tasks rte,rte").status, 2);
  EXPECT_EQ(run("list --tasks rte").status, 2) << "not read";
  const auto refused = run("set aa --tasks rte");
  EXPECT_EQ(refused.status, 2);
  EXPECT_NE(refused.errors.find("did you mean 'a'"), std::string::npos) << refused.errors;
}

TEST_F(LibraryVerb, SignaturesTravelWithTheirExperts) {
  start_with_adapters();
  const auto info = library().info("a");
  const auto write = [](const fs::path& file) { write_file_atomically(file, "of a"); };
  library().write_derived("signature/a", info.identity, "safetensors", write);
  ASSERT_EQ(run("export --experts a,b --output " + path("out")).status, 0);
  EXPECT_EQ(read_file(folder_ / "out/a/signature.safetensors"), "of a");
  ASSERT_EQ(add(path("out"), "", "second").status, 0);
  ASSERT_EQ(add(path("library"), "", "third").status, 0);
  for (const auto* name : {"second", "third"}) {
    const auto kept = library(name).derived("signature/a", info.identity, "safetensors");
    ASSERT_TRUE(kept) << name;
    EXPECT_EQ(read_file(*kept), "of a");
    EXPECT_FALSE(library(name).derived("signature/b", library().info("b").identity, "safetensors"));
  }
  // Beside other factors it is somebody else's.
  fs::copy_file(golden("adapters/b") + "/adapter_model.safetensors", folder_ / "out/a/adapter_model.safetensors",
                fs::copy_options::overwrite_existing);
  fs::copy_file(golden("adapters/b") + "/adapter_config.json", folder_ / "out/a/adapter_config.json",
                fs::copy_options::overwrite_existing);
  ASSERT_EQ(add(path("out/a"), "", "fourth").status, 0);
  EXPECT_FALSE(library("fourth").derived("signature/a", library("fourth").info("a").identity, "safetensors"));
}

TEST_F(LibraryVerb, AnExportKeepsWhatLiesInItsPlace) {
  start_with_adapters();
  fs::create_directories(folder_ / "mine");
  write_file_atomically(folder_ / "mine/thesis.txt", "years");
  EXPECT_EQ(run("export a --output " + path("mine")).status, 2);
  EXPECT_FALSE(fs::exists(folder_ / "mine/adapter_config.json"));
  ASSERT_EQ(run("export a --replace --output " + path("mine")).status, 0);
  EXPECT_EQ(read_file(folder_ / "mine/thesis.txt"), "years");
  EXPECT_TRUE(fs::exists(folder_ / "mine/adapter_config.json"));
  EXPECT_EQ(run("export a --replace --output " + path("library")).status, 2);
  EXPECT_EQ(run("verify").status, 0);
}

TEST_F(LibraryVerb, FoldersThatAreNoExpertsAreSaidAndPassedOver) {
  start_with_adapters();
  fs::create_directory(folder_ / "library/experts/@eaDir");
  const auto listed = run("list");
  EXPECT_EQ(listed.status, 0);
  EXPECT_EQ(listed.objects.size(), 3u);
  EXPECT_NE(listed.errors.find("@eaDir"), std::string::npos) << listed.errors;
  EXPECT_EQ(run("verify").status, 0) << "no expert is ill";
  fs::copy(golden("adapters/a"), folder_ / "library/experts/by_hand");
  const auto verified = run("verify");
  EXPECT_EQ(verified.status, 1);
  EXPECT_NE(verified.errors.find("by_hand"), std::string::npos) << verified.errors;
  ASSERT_EQ(add(path("library/experts/by_hand")).status, 0) << "as the message advises";
  EXPECT_EQ(library().names(), (Names{"a", "b", "by_hand", "c"}));
}

}  // namespace
}  // namespace quiver
