// SPDX-License-Identifier: Apache-2.0
#include "quiver/adapter/peft_config.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "quiver/adapter/peft_keys.h"
#include "quiver/base/error.h"
#include "quiver/base/strings.h"

namespace quiver::adapter {
namespace {

using json = nlohmann::ordered_json;

/// Keys that say nothing about the result of the forward pass, or only together with one that is refused.
const std::set<std::string>& informative_keys() {
  static const std::set<std::string> keys{"auto_mapping",
                                          "base_model_name_or_path",
                                          "revision",
                                          "task_type",
                                          "inference_mode",
                                          "peft_version",
                                          "peft_type",
                                          "target_modules",
                                          "exclude_modules",
                                          "layers_to_transform",
                                          "layers_pattern",
                                          "lora_dropout",
                                          "fan_in_fan_out",
                                          "runtime_config",
                                          "ensure_weight_tying",
                                          "r",
                                          "lora_alpha",
                                          "use_rslora",
                                          "use_dora",
                                          "rank_pattern",
                                          "alpha_pattern",
                                          "init_lora_weights",
                                          "corda_config",
                                          "eva_config",
                                          "loftq_config",
                                          "lora_ga_config",
                                          "velora_config",
                                          "bias",
                                          "lora_bias",
                                          "megatron_core",
                                          "qalora_group_size"};
  return keys;
}

/// What AdaLoRA prunes ranks by in training.
const std::set<std::string>& adaptive_keys() {
  static const std::set<std::string> keys{"target_r", "init_r", "tinit",           "tfinal",    "deltaT",
                                          "beta1",    "beta2",  "orth_reg_weight", "total_step"};
  return keys;
}

bool is_nothing(const json& value) {
  return value.is_null() || (value.is_boolean() && !value.get<bool>()) ||
         ((value.is_object() || value.is_array()) && value.empty());
}

/// Refuses every key whose meaning is not implemented, unless it is switched off.
void refuse_unknown(const json& config, bool adaptive, const std::string& where) {
  for (const auto& [key, value] : config.items()) {
    if (informative_keys().contains(key) || (adaptive && adaptive_keys().contains(key)) || is_nothing(value)) continue;
    fail(ErrorCode::unsupported, where, "'{}' = {} changes what the adapter computes, and Quiver does not implement it",
         key, value.dump().substr(0, 80));
  }
  const auto bias = config.value("bias", json("none"));
  QUIVER_CHECK(bias == "none" || bias == "all" || bias == "lora_only", unsupported, where,
               "'bias' = {}, expected \"none\", \"all\" or \"lora_only\"", bias.dump());
  const auto init = config.value("init_lora_weights", json(true));
  const bool harmless =
      init.is_boolean() || init.is_null() || init == "gaussian" || init == "eva" || init == "orthogonal";
  QUIVER_CHECK(
      harmless, unsupported, where,
      "'init_lora_weights' = {} changes the base model's weights; convert the adapter to plain LoRA in PEFT first",
      init.dump());
}

double number(const json& value, const std::string& key, const std::string& where) {
  QUIVER_CHECK(value.is_number() && std::isfinite(value.get<double>()), format, where, "'{}' is {}, expected a number",
               key, value.dump().substr(0, 80));
  return value.get<double>();
}

std::int64_t rank(const json& value, const std::string& key, const std::string& where) {
  const double r = number(value, key, where);
  QUIVER_CHECK(r >= 1 && r <= 65536 && r == std::floor(r), format, where, "'{}' is {}, expected a rank of 1 to 65536",
               key, value.dump());
  return static_cast<std::int64_t>(r);
}

bool flag(const json& config, const char* key, const std::string& where) {
  const auto value = config.value(key, json(false));
  QUIVER_CHECK(value.is_boolean() || value.is_null(), format, where, "'{}' is {}, expected true or false", key,
               value.dump());
  return value.is_boolean() && value.get<bool>();
}

constexpr std::size_t kMaxExpressions = 256;

template <typename Value, typename Read>
std::vector<std::pair<ModulePattern, Value>> patterns(const json& config, const char* key, const std::string& where,
                                                      Read read) {
  std::vector<std::pair<ModulePattern, Value>> out;
  std::size_t expressions = 0;
  const auto object = config.value(key, json::object());
  QUIVER_CHECK(object.is_object() || object.is_null(), format, where, "'{}' is {}, expected an object", key,
               object.dump().substr(0, 80));
  for (const auto& [pattern, value] : object.items()) {
    const auto name = std::string(key) + "." + pattern;
    out.emplace_back(ModulePattern::end_of_path(pattern, where + " " + key), read(value, name, where));
    expressions += out.back().first.is_expression();
    QUIVER_CHECK(expressions <= kMaxExpressions, unsupported, where,
                 "'{}' holds more than {} regular expressions; names of modules may be any number", key,
                 kMaxExpressions);
  }
  return out;
}

std::vector<std::string> targets_of(const json& config, const std::string& where) {
  const auto value = config.value("target_modules", json());
  if (value.is_null()) return {};
  if (value.is_string()) return {value.get<std::string>()};
  std::vector<std::string> out;
  QUIVER_CHECK(value.is_array(), format, where, "'target_modules' is {}, expected text or a list",
               value.dump().substr(0, 80));
  for (const auto& entry : value) {
    QUIVER_CHECK(entry.is_string(), format, where, "'target_modules' holds {}, expected text",
                 entry.dump().substr(0, 80));
    out.push_back(entry.get<std::string>());
  }
  return out;
}

}  // namespace

std::int64_t PeftConfig::rank_of(const std::string& module) const {
  for (const auto& [pattern, value] : rank_pattern) {
    if (pattern.matches(module)) return value;
  }
  return options.rank;
}

double PeftConfig::scale_of(const std::string& module) const {
  double alpha = options.alpha;
  for (const auto& [pattern, value] : alpha_pattern) {
    if (pattern.matches(module)) {
      alpha = value;
      break;
    }
  }
  if (adaptive) {
    constexpr double kRankOffset = 1e-5;  // PEFT's, against ranks of 0
    const auto r = static_cast<double>(options.rank);
    return (alpha > 0 ? alpha : r) / (r + kRankOffset);
  }
  return lora_scale(alpha, rank_of(module), options.rank_stabilised);
}

PeftConfig parse_peft_config(const std::string& text, const std::string& where) {
  const auto config = json::parse(text, nullptr, false);
  QUIVER_CHECK(config.is_object(), format, where, "expected a JSON object");
  const auto type = config.value("peft_type", json());
  PeftConfig out;
  out.adaptive = type == "ADALORA";
  QUIVER_CHECK(type == "LORA" || out.adaptive, unsupported, where,
               "'peft_type' = {}; LORA, ADALORA, IA3, LN_TUNING, VERA, PROMPT_TUNING, MULTITASK_PROMPT_TUNING, "
               "P_TUNING and PREFIX_TUNING are read",
               type.dump());
  refuse_unknown(config, out.adaptive, where);
  const char* rank_key = out.adaptive ? "init_r" : "r";
  out.options.rank = rank(config.value(rank_key, json(out.adaptive ? 12 : 8)), rank_key, where);
  out.options.alpha = number(config.value("lora_alpha", json(8)), "lora_alpha", where);
  out.options.rank_stabilised = flag(config, "use_rslora", where);
  out.dora = flag(config, "use_dora", where);
  out.factor_biases = flag(config, "lora_bias", where);
  out.trained_biases = config.value("bias", json("none")) != "none";
  out.options.dropout = number(config.value("lora_dropout", json(0.0)), "lora_dropout", where);
  out.options.targets = targets_of(config, where);
  // AdaLoRA's pattern says which directions of a site were kept; the tensors hold those alone.
  if (!out.adaptive) out.rank_pattern = patterns<std::int64_t>(config, "rank_pattern", where, rank);
  out.alpha_pattern = patterns<double>(config, "alpha_pattern", where, number);
  const auto base = config.value("base_model_name_or_path", json());
  if (base.is_string()) out.base_model = base.get<std::string>();
  return out;
}

namespace {

/// What PEFT attaches to the adapter's sites by: names, or one expression. PEFT has no list of expressions.
json target_modules(const Adapter& adapter) {
  const auto& targets = adapter.options.targets;
  std::set<std::string> leaves, sites;
  for (const auto& [site, factors] : adapter.sites) {
    leaves.insert(site.substr(site.rfind('.') + 1));
    sites.insert(site);
  }
  if (targets.empty() || targets[0] == "all-linear") return leaves;
  if (std::none_of(targets.begin(), targets.end(), is_expression)) return targets;
  return targets.size() == 1 ? json(targets[0]) : json(sites);
}

}  // namespace

std::string write_peft_config(const Adapter& adapter, const std::string& base_model) {
  const auto& o = adapter.options;
  const auto has = [&](const char* key) {
    return std::any_of(adapter.stored.begin(), adapter.stored.end(),
                       [&](const auto& entry) { return entry.second.contains(key); });
  };
  json rank_pattern = json::object(), alpha_pattern = json::object();
  for (const auto& [site, f] : adapter.sites) {
    const auto r = f.a.size(0);
    const double usual = lora_scale(o.alpha, r, o.rank_stabilised);
    const auto escaped = escaped_module(site);
    if (r != o.rank) rank_pattern[escaped] = r;
    if (std::abs(f.scale - usual) > 1e-9 * std::abs(usual))
      alpha_pattern[escaped] = f.scale / lora_scale(1, r, o.rank_stabilised);
  }
  json config{
      {"peft_type", "LORA"},
      {"task_type", task_type(adapter)},
      {"base_model_name_or_path", base_model},
      {"r", o.rank},
      {"lora_alpha", o.alpha},
      {"lora_dropout", o.dropout},
      {"use_rslora", o.rank_stabilised},
      {"rank_pattern", rank_pattern},
      {"alpha_pattern", alpha_pattern},
      {"target_modules", target_modules(adapter)},
      {"bias", has(kTrainedBias) ? "all" : "none"},
      {"fan_in_fan_out", false},
      {"inference_mode", true},
      {"init_lora_weights", true},
      {"modules_to_save", nullptr},
  };
  if (has(kMagnitude)) config["use_dora"] = true;
  return config.dump(2) + "\n";
}

}  // namespace quiver::adapter
