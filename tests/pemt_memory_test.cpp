// SPDX-License-Identifier: Apache-2.0
// What PEMT's six sources add to the memory of a training step, against the plain way that forms every expert's output
// and lets torch's cosine_similarity compare it. All of the memory is counted that the step's graph keeps.
#include <ATen/TensorOperators.h>
#include <ATen/ops/cosine_similarity.h>
#include <ATen/ops/einsum.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/stack.h>
#include <c10/core/CPUAllocator.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <nlohmann/json.hpp>

#include "quiver/model/answer_pass.h"
#include "quiver/model/load.h"
#include "quiver/model/trainable_model.h"
#include "quiver/routing/prompts/pemt.h"
#include "quiver/training/methods/pemt_training.h"
#include "quiver/training/row_loss.h"

namespace quiver {
namespace {

constexpr std::int64_t kSources = 6, kHidden = 192, kFeedForward = 768, kRank = 16;  // as T5-base's 768, 3072, 64
constexpr std::size_t kRows = 8, kPromptTokens = 48, kAnswerTokens = 8;

/// The allocator that is there, counting what is held.
class Counting : public c10::Allocator {
 public:
  explicit Counting(c10::Allocator* inner) : inner_(inner) {}
  c10::DataPtr allocate(std::size_t bytes) override {
    auto own = std::make_unique<Block>(Block{inner_->allocate(bytes), bytes});
    held += static_cast<std::int64_t>(bytes);
    most = std::max(most, held);
    void* data = own->memory.get();
    return {data, own.release(), &release, c10::Device(c10::DeviceType::CPU)};
  }
  c10::DeleterFnPtr raw_deleter() const override { return nullptr; }
  void copy_data(void* to, const void* from, std::size_t count) const override { default_copy_data(to, from, count); }

  static inline std::int64_t held = 0, most = 0;

 private:
  struct Block {
    c10::DataPtr memory;
    std::size_t bytes;
  };
  static void release(void* block) {
    const auto* own = static_cast<Block*>(block);
    held -= static_cast<std::int64_t>(own->bytes);
    delete own;
  }
  c10::Allocator* inner_;
};

/// The first `sources` experts formed one by one at each gated site, then the target's bottleneck.
class Plain : public model::ExpertSource {
 public:
  Plain(const routing::Pemt& pemt, std::int64_t sources, std::vector<at::Tensor>& sparsity)
      : pemt_(pemt), sources_(sources), sparsity_(sparsity) {}

  std::vector<ops::SiteUse> at(const std::vector<model::SiteColumns>&, const at::Tensor&) override { return {}; }

  at::Tensor finish(const std::vector<model::SiteColumns>& sites, const at::Tensor& x, at::Tensor y) override {
    const auto gate = pemt_.gates.find(sites[0].site);
    if (gate == pemt_.gates.end()) return y;
    const auto& bank = pemt_.bank->site(sites[0].site);
    std::vector<at::Tensor> outputs;
    for (std::int64_t k = 0; k < sources_; ++k) {
      const auto& f = bank.experts[static_cast<std::size_t>(k)];
      outputs.push_back(at::linear(at::linear(x, f.a), f.b));
    }
    const auto weights = gate->second.sum(0).softmax(0);
    if (sources_ > 0) y = y + at::einsum("k,tkd->td", {weights, at::stack(outputs, 1)});
    const auto z = y + ops::apply(*bank.extras[kSources].bottleneck, y);
    for (std::int64_t k = 0; k < sources_; ++k) {
      const auto cosine = at::cosine_similarity(z, outputs[static_cast<std::size_t>(k)], 1).mean();
      sparsity_.push_back(weights[k] * (1.0 - cosine));
    }
    return z;
  }

 private:
  const routing::Pemt& pemt_;
  std::int64_t sources_;
  std::vector<at::Tensor>& sparsity_;
};

/// A random T5, loaded as a base model is.
model::Model frozen_model() {
  const auto folder = fs::temp_directory_path() / fmt::format("quiver-pemt-memory-{}", getpid());
  fs::create_directories(folder);
  const auto config = nlohmann::json{{"model_type", "t5"},
                                     {"architectures", {"T5ForConditionalGeneration"}},
                                     {"vocab_size", 100},
                                     {"d_model", kHidden},
                                     {"d_kv", 32},
                                     {"d_ff", kFeedForward},
                                     {"num_heads", 6},
                                     {"num_layers", 3},
                                     {"num_decoder_layers", 3},
                                     {"relative_attention_num_buckets", 32},
                                     {"layer_norm_epsilon", 1e-6},
                                     {"feed_forward_proj", "relu"},
                                     {"tie_word_embeddings", true},
                                     {"pad_token_id", 0},
                                     {"eos_token_id", 1},
                                     {"decoder_start_token_id", 0}};
  model::TrainableModel::create(config, 3).save(folder);
  auto out = model::load_model(folder, at::kFloat);
  fs::remove_all(folder);
  return out;
}

class PemtMemory : public testing::Test {
 protected:
  /// The counting allocator is there for these tests alone: some operators take the usual one for granted.
  static void SetUpTestSuite() {
    usual_ = c10::GetCPUAllocator();
    static Counting counting(usual_);
    c10::SetCPUAllocator(&counting, 1);
  }
  static void TearDownTestSuite() { c10::SetCPUAllocator(usual_, 1); }

  PemtMemory() {
    adapter::Bank sources(model_);
    for (std::int64_t k = 0; k < kSources; ++k) {
      adapter::Adapter own;
      for (const auto& site : model_.sites()) {
        if (site.name.ends_with(".wo"))
          own.sites[site.name] = {at::randn({kRank, site.in}) * 0.05, at::randn({site.out, kRank}) * 0.05, 1.0};
      }
      own.soft_prompt = at::randn({20, kHidden});
      sources.add("source" + std::to_string(k), own);
    }
    pemt_ = training::start_pemt(model_, sources, {}, 1);
    for (auto& [site, gate] : pemt_.gates) gate.set_requires_grad(true);
    pemt_.prompt.set_requires_grad(true);
    for (std::size_t n = 0; n < kRows; ++n) {
      auto& row = rows_.emplace_back();
      for (std::size_t t = 0; t < kPromptTokens + kAnswerTokens; ++t)
        row.ids.push_back(static_cast<std::int32_t>(2 + (7 * n + 3 * t) % 90));
      row.target_begin = kPromptTokens;
    }
    for (const auto& row : rows_) weighted_.push_back({&row, 1.0 / static_cast<double>(kRows * kAnswerTokens)});
  }

  struct Bytes {
    std::int64_t kept, most;  ///< when the loss is there; over the whole step
  };
  Bytes step(const model::BindExperts& bind, const std::function<at::Tensor()>& sparsity) const {
    const auto before = Counting::held;
    Counting::most = before;
    auto loss = training::weighted_loss(
        model_, model::answer_pass(model_, training::answer_rows(weighted_), bind).hidden, weighted_);
    if (const auto more = sparsity(); more.defined()) loss = loss + more * 0.1;
    const auto kept = Counting::held - before;
    loss.backward();
    return {kept, Counting::most - before};
  }

  Bytes plain(std::int64_t sources) const {
    std::vector<at::Tensor> sparsity;
    const auto prompt = routing::guided_prompt(pemt_.prompt, pemt_.source_prompts);
    const model::BindExperts bind(
        [&](const model::PackedBatch&, const std::vector<std::size_t>&) {
          return std::make_unique<Plain>(pemt_, sources, sparsity);
        },
        std::vector<at::Tensor>(kRows, prompt));
    return step(bind, [&] { return sparsity.empty() ? at::Tensor() : at::stack(sparsity, 0).sum(); });
  }

  static inline c10::Allocator* usual_ = nullptr;
  model::Model model_ = frozen_model();
  routing::Pemt pemt_;
  std::vector<data::TokenRow> rows_;
  std::vector<training::WeightedRow> weighted_;
};

TEST_F(PemtMemory, SourcesAddAtMostAThirdOfThePlainWay) {
  const auto none = plain(0), every = plain(kSources);
  routing::PemtTrace trace;
  const auto bind = routing::bind_pemt(model_, pemt_, kRows, &trace);
  const auto own = step(bind, [&] { return trace.sparsity; });
  const auto kib = [](std::int64_t bytes) { return static_cast<double>(bytes) / 1024.0; };
  const double ratio = static_cast<double>(own.kept - none.kept) / static_cast<double>(every.kept - none.kept);
  std::printf(
      "kept for the backward pass: %.0f KiB without sources, %.0f plain, %.0f here: sources add %.0f and %.0f, "
      "a ratio of %.3f; most in a step: %.0f, %.0f, %.0f KiB\n",
      kib(none.kept), kib(every.kept), kib(own.kept), kib(every.kept - none.kept), kib(own.kept - none.kept), ratio,
      kib(none.most), kib(every.most), kib(own.most));
  RecordProperty("ratio", std::to_string(ratio));
  EXPECT_GT(own.kept, none.kept);
  EXPECT_LT(ratio, 1.0 / 3.0);
}

}  // namespace
}  // namespace quiver
