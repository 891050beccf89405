// SPDX-License-Identifier: Apache-2.0
// `quiver merge` as a user meets it: an adapter, an expert or a whole model out of the golden adapters a, b and c.
#include <ATen/TensorOperators.h>
#include <ATen/ops/mm.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "quiver/adapter/peft.h"
#include "quiver/base/files.h"
#include "quiver/base/strings.h"
#include "quiver/library/library.h"
#include "quiver/merging/merge.h"
#include "quiver/model/load.h"
#include "quiver/tensor_io/safetensors.h"

namespace quiver {
namespace {

using nlohmann::json;

class MergeVerb : public testing::Test {
 protected:
  void SetUp() override {
    fs::remove_all(folder_);
    const auto fingerprint = model::load_model(golden("llama_untied"), at::kFloat).fingerprint();
    auto library = library::Library::open_or_create(folder_ / "library", "tiny", fingerprint);
    for (const std::string name : {"a", "b", "c"}) {
      experts_.push_back(adapter::read_peft(golden("adapters/" + name)));
      library::ExpertInfo info;
      info.name = name;
      info.tasks = {"task of " + name, "common"};
      info.base_fingerprint = fingerprint;
      library.save(info, experts_.back(), false);
    }
  }
  void TearDown() override { fs::remove_all(folder_); }

  struct Outcome {
    int status = 0;
    std::string output, errors;
  };
  Outcome run(const std::string& verb_and_more) const {
    const auto errors = folder_ / "errors.txt";
    const auto command = std::string(QUIVER_BINARY) + " " + verb_and_more + " 2>" + errors.string();
    FILE* pipe = popen(command.c_str(), "r");
    std::string output;
    std::array<char, 4096> buffer;
    while (const auto n = fread(buffer.data(), 1, buffer.size(), pipe)) output.append(buffer.data(), n);
    return {WEXITSTATUS(pclose(pipe)), output, read_file(errors)};
  }
  Outcome merge(const std::string& more) const { return run("merge --json --library " + path("library") + " " + more); }
  void expect_error(const Outcome& outcome, int status, const std::string& part) const {
    EXPECT_EQ(outcome.status, status) << outcome.errors;
    EXPECT_NE(outcome.errors.find(part), std::string::npos) << "expected '" << part << "' in: " << outcome.errors;
    EXPECT_EQ(outcome.output, "");
  }

  std::string path(const std::string& name) const { return (folder_ / name).string(); }
  static std::string golden(const std::string& name) {
    return (fs::path(QUIVER_SOURCE_DIR) / "tests/golden" / name).string();
  }
  library::Library library() const { return library::Library::open(folder_ / "library"); }

  /// Sum of w s B A at a site, float64.
  at::Tensor sum(const std::string& site, const std::vector<std::pair<std::size_t, double>>& weights) const {
    at::Tensor out;
    for (const auto& [e, w] : weights) {
      const auto product = w * difference(experts_[e], site);
      out = out.defined() ? out + product : product;
    }
    return out;
  }
  static at::Tensor difference(const adapter::Adapter& adapter, const std::string& site) {
    const auto& f = adapter.sites.at(site);
    return f.scale * at::mm(f.b.to(at::kDouble), f.a.to(at::kDouble));
  }
  /// Largest difference as a share of the largest entry.
  static double distance(const at::Tensor& got, const at::Tensor& expected) {
    return ((got - expected).abs().max() / expected.abs().max()).item<double>();
  }
  std::vector<std::string> sites() const {
    std::vector<std::string> out;
    for (const auto& [site, factors] : experts_[0].sites) {
      if (experts_[1].sites.contains(site) && experts_[2].sites.contains(site)) out.push_back(site);
    }
    return out;
  }

  const fs::path folder_ = fs::temp_directory_path() / ("quiver_merge_verb_" + std::to_string(getpid()));
  std::vector<adapter::Adapter> experts_;
};

constexpr double kFloat = 1e-6;  // factors rounded to float32

TEST_F(MergeVerb, WritesAnAdapterOfTheExpertsNamedWithTheirWeights) {
  const auto outcome = merge("--method cat --experts c,a --weights 0.75,-0.5 --output " + path("merged"));
  ASSERT_EQ(outcome.status, 0) << outcome.errors;
  const auto figures = json::parse(outcome.output);
  EXPECT_EQ(figures["experts"], json({"c", "a"}));
  EXPECT_EQ(figures["output"], path("merged"));
  const auto merged = adapter::read_peft(folder_ / "merged");
  EXPECT_EQ(figures["parameters"], merged.parameters());
  ASSERT_FALSE(sites().empty());
  for (const auto& site : sites())
    EXPECT_LT(distance(difference(merged, site), sum(site, {{2, 0.75}, {0, -0.5}})), kFloat) << site;
}

TEST_F(MergeVerb, OptionsReachTheMethod) {
  const auto outcome = merge("--method ties --set density=0.4 --set sign=frequency --output " + path("merged"));
  ASSERT_EQ(outcome.status, 0) << outcome.errors;
  merging::MergeOptions options;
  options.density = 0.4;
  options.sign = merging::MergeOptions::Sign::frequency;
  const auto expected = merging::merge("ties", {{&experts_[0], &experts_[1], &experts_[2]}, {}}, options);
  const auto merged = adapter::read_peft(folder_ / "merged");
  ASSERT_EQ(merged.sites.size(), expected.sites.size());
  for (const auto& [site, f] : expected.sites) {
    EXPECT_TRUE(merged.sites.at(site).a.equal(f.a)) << site;
    EXPECT_TRUE(merged.sites.at(site).b.equal(f.b)) << site;
  }
}

TEST_F(MergeVerb, AnExpertOfTheResultKnowsItsTasksAndIsNotOverwrittenUnasked) {
  const auto outcome = merge("--method task-arithmetic --set lambda=0.5 --experts a,b --name both");
  ASSERT_EQ(outcome.status, 0) << outcome.errors;
  EXPECT_EQ(json::parse(outcome.output)["output"], path("library/experts/both"));
  const auto info = library().info("both");
  EXPECT_EQ(info.tasks, (std::vector<std::string>{"common", "task of a", "task of b"}));
  EXPECT_EQ(info.training["merge"]["method"], "task-arithmetic");
  EXPECT_EQ(info.training["merge"]["experts"], json({"a", "b"}));
  const auto site = sites().at(0);
  EXPECT_LT(distance(difference(library().load("both"), site), sum(site, {{0, 0.5}, {1, 0.5}})), kFloat);
  expect_error(merge("--method cat --experts a,c --name both"), 2, "--replace");
  ASSERT_EQ(merge("--method cat --experts a,c --name both --replace").status, 0);
  EXPECT_LT(distance(difference(library().load("both"), site), sum(site, {{0, 0.5}, {2, 0.5}})), kFloat);
  EXPECT_EQ(library().verify(), std::vector<std::string>{});
}

TEST_F(MergeVerb, TheRouteAndTheAdapterComputeTheSame) {
  write_file_atomically(folder_ / "ids.json", "[[1, 2, 3], [4, 5, 6, 7]]");
  const auto logits = [&](const std::string& more) {
    const auto outcome = run("forward --dtype float32 --model " + golden("llama_untied") + " --ids " +
                             path("ids.json") + " --output " + path("out.safetensors") + " " + more);
    EXPECT_EQ(outcome.status, 0) << outcome.errors;
    return tensor_io::open_safetensors(folder_ / "out.safetensors")->load("logits.1").clone();
  };
  ASSERT_EQ(merge("--method knots --set density=0.5 --output " + path("merged")).status, 0);
  const auto adapted = logits("--adapter " + path("merged"));
  EXPECT_TRUE(logits("--library " + path("library") + " --route merge:knots,density=0.5").equal(adapted));
  EXPECT_FALSE(logits("--library " + path("library") + " --route merge:knots,density=0.2").equal(adapted));
}

TEST_F(MergeVerb, AWholeModelHasTheResultInItsWeights) {
  const auto outcome =
      merge("--method cat --experts b --into-base --model " + golden("llama_untied") + " --output " + path("model"));
  ASSERT_EQ(outcome.status, 0) << outcome.errors;
  const auto base = tensor_io::open_safetensors(golden("llama_untied") + "/model.safetensors");
  const auto folded = tensor_io::open_safetensors(folder_ / "model/model.safetensors");
  ASSERT_EQ(folded->tensors().size(), base->tensors().size());
  std::size_t changed = 0;
  for (const auto& [site, factors] : experts_[1].sites) {
    const auto expected = base->load(site + ".weight").to(at::kDouble) + difference(experts_[1], site);
    EXPECT_LT(distance(folded->load(site + ".weight").to(at::kDouble), expected), kFloat) << site;
    changed += !folded->load(site + ".weight").equal(base->load(site + ".weight"));
  }
  EXPECT_EQ(changed, experts_[1].sites.size());
  EXPECT_TRUE(folded->load("lm_head.weight").equal(base->load("lm_head.weight")));
  EXPECT_TRUE(fs::exists(folder_ / "model/config.json"));
}

TEST_F(MergeVerb, WrongUsageIsOneLineAndWritesNothing) {
  const auto output = " --output " + path("none");
  expect_error(merge("--method ties --set densty=0.2" + output), 2, "did you mean 'density'");
  expect_error(merge("--method cat --weights 1,2" + output), 2, "2 weights for 3 experts");
  expect_error(merge("--method cat"), 2, "--name");
  expect_error(merge("--method cat --into-base" + output), 2, "--model");
  EXPECT_FALSE(fs::exists(folder_ / "none"));
  const auto listed = run("merge --list --json");
  EXPECT_EQ(split(trim(listed.output), '\n').size(), merging::merge_table().size());
}

}  // namespace
}  // namespace quiver
