// SPDX-License-Identifier: Apache-2.0
// Adapters as other tools leave them, against PEFT: tools/goldens/foreign_golden.py.
#include <c10/core/GradMode.h>
#include <gtest/gtest.h>

#include "quiver/adapter/bank.h"
#include "quiver/adapter/peft.h"
#include "quiver/model/load.h"
#include "quiver/routing/constant_router.h"
#include "quiver/tensor_io/safetensors.h"
#include "quiver/tensor_io/test_golden.h"

namespace quiver {
namespace {

// float32 sums over at most 96 terms in another order than torch's: a few parts in a million of the spread.
constexpr double kForward = 2e-5;

class ForeignAdapters : public testing::Test {
 protected:
  void expect(const std::string& name, const std::string& label) {
    const auto bank = std::make_shared<adapter::Bank>(model_);
    bank->add(name, adapter::read_peft(golden("foreign") / name));
    const routing::ConstantRouter router(bank, {{0, 1.0f}});
    const c10::AutoGradMode no_gradient(false);
    for (int n = 0; n < 3; ++n) {
      const auto ids = ids_of(ids_->load("ids." + std::to_string(n)));
      const auto batch = model::pack({{ids, nullptr, true}});
      const auto experts = routing::bind_once(router, batch, {{"", ids}});
      const auto logits = model_.logits(model_.forward(batch, experts.get()));
      EXPECT_LT(distance(logits, expected_->load(label + ".logits." + std::to_string(n))), kForward)
          << name << " " << n;
    }
  }

  model::Model model_ = model::load_model(golden("llama_untied"), at::kFloat);
  std::shared_ptr<tensor_io::TensorSource> ids_ =
      tensor_io::open_safetensors(golden("llama_untied/golden.safetensors"));
  std::shared_ptr<tensor_io::TensorSource> expected_ =
      tensor_io::open_safetensors(golden("foreign/golden.safetensors"));
};

TEST_F(ForeignAdapters, KeysMayHoldTheAdaptersName) {
  expect("named", "named");
  expect("named_dora", "named_dora");
}

TEST_F(ForeignAdapters, AdaLoraIsReadAsTheLoraThatItComputes) { expect("adalora", "adalora"); }

TEST_F(ForeignAdapters, TorchSavesOlderFormatIsRead) { expect("stream", "named"); }

TEST_F(ForeignAdapters, PissaAndOloraConvertedByPeftAreLora) {
  expect("pissa", "pissa");
  expect("olora", "olora");
}

TEST_F(ForeignAdapters, PTuningIsThePromptThatItsEncoderGave) {
  const auto read = adapter::read_peft(golden("foreign/p_tuning"));
  EXPECT_LT(distance(read.soft_prompt, expected_->load("p_tuning.vectors")), 1e-7);
}

TEST_F(ForeignAdapters, WhatIsReadIsWrittenAsPlainLora) {
  const auto read = adapter::read_peft(golden("foreign/adalora"));
  const auto folder = fs::temp_directory_path() / ("quiver_foreign_" + std::to_string(getpid()));
  fs::create_directories(folder);
  adapter::write_peft(folder, read, "llama_untied");
  EXPECT_EQ(adapter::identity(adapter::read_peft(folder)), adapter::identity(read));
  fs::remove_all(folder);
}

}  // namespace
}  // namespace quiver
