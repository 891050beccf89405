// SPDX-License-Identifier: Apache-2.0
// Prompt tuning (Lester et al., 2021): vectors before the prompt.
#include "quiver/adapter/kinds/starts.h"

namespace quiver::adapter {
namespace {

Adapter read(Tensors tensors, const nlohmann::json& config, const std::string& where) {
  Adapter out;
  out.soft_prompt = take_vectors(std::move(tensors), config, where);
  return out;
}

AdapterFiles write(const Adapter& adapter, const std::string& base_model) {
  AdapterFiles out{config_of("PROMPT_TUNING", adapter, base_model), {{kPromptKey, adapter.soft_prompt}}};
  out.config["num_virtual_tokens"] = adapter.soft_prompt.size(0);
  out.config["token_dim"] = adapter.soft_prompt.size(1);
  out.config["num_transformer_submodules"] = 1;
  out.config["prompt_tuning_init"] = "RANDOM";
  return out;
}

}  // namespace

Kind prompt_kind() {
  return {.name = "prompt",
          .summary = "vectors before the prompt",
          .traits = {Trait::vectors},
          .place = "prompt",
          .options = {"prompt_tokens"},
          .holds = [](const Adapter& a) { return a.soft_prompt.defined(); },
          .make = [](const NewAdapter& in, Adapter& out) { out.soft_prompt = random_embeddings(in, 200000); },
          .peft = PeftFiles{"PROMPT_TUNING", read, [](const Adapter&) { return true; }, write,
                            "P_TUNING"}};  // saved as the vectors that its encoder gives
}

}  // namespace quiver::adapter
