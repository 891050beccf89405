// SPDX-License-Identifier: Apache-2.0
// adapter_config.json of PEFT: what is honoured, what is harmless, and what is refused by name.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

#include "quiver/adapter/adapter.h"
#include "quiver/adapter/module_pattern.h"

namespace quiver::adapter {

struct PeftConfig {
  LoraOptions options;
  /// In file order; the first whose pattern matches a module decides.
  std::vector<std::pair<ModulePattern, std::int64_t>> rank_pattern;
  std::vector<std::pair<ModulePattern, double>> alpha_pattern;
  bool dora = false;            ///< magnitudes beside the factors
  bool factor_biases = false;   ///< lora_bias: B has a bias at every site
  bool trained_biases = false;  ///< bias: those of the base model may be in the file
  bool adaptive = false;        ///< AdaLoRA: ranks up to options.rank, scale alpha / (rank + 1e-5)
  std::string base_model;       ///< as the file says; information only

  /// What the configuration expects of a module. Throws Error{format} where a pattern takes too long over it.
  std::int64_t rank_of(const std::string& module) const;
  double scale_of(const std::string& module) const;
};

/// Throws Error{format|unsupported} naming the key. `text` is the file's bytes.
PeftConfig parse_peft_config(const std::string& text, const std::string& where);

/// The file for an adapter of Quiver, loadable by PEFT. `base_model` is what a PEFT user would load.
std::string write_peft_config(const Adapter& adapter, const std::string& base_model);

}  // namespace quiver::adapter
