// SPDX-License-Identifier: Apache-2.0
#include "quiver/library/pemt_checkpoint.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "quiver/base/error.h"
#include "quiver/tensor_io/torch_archive.h"

namespace quiver::library {
namespace {

constexpr const char *kFactors = "lora.pt", *kPrompt = "task_embedding.pt";
constexpr std::string_view kA = ".lora_A", kB = ".lora_B";

/// What a key of lora.pt names.
struct Key {
  std::string module;
  bool a = true;
  std::size_t source = 0;
  bool numbered = false;
};

Key key_of(const std::string& text, const std::string& where) {
  Key out;
  auto at = text.rfind(kA);
  if (at == std::string::npos) {
    at = text.rfind(kB);
    out.a = false;
  }
  QUIVER_CHECK(at != std::string::npos && at > 0, unsupported, where, "tensor '{}' is neither lora_A nor lora_B", text);
  out.module = text.substr(0, at);
  const auto rest = std::string_view(text).substr(at + kA.size());
  if (rest.empty()) return out;
  out.numbered = true;
  const auto [end, error] = std::from_chars(rest.data() + 1, rest.data() + rest.size(), out.source);
  QUIVER_CHECK(rest[0] == '.' && error == std::errc() && end == rest.data() + rest.size() && out.source < 1000,
               unsupported, where, "tensor '{}' is neither lora_A nor lora_B, nor one of them with a number", text);
  return out;
}

at::Tensor prompt_of(const fs::path& file) {
  const auto prompts = tensor_io::open_torch_tensors(file);
  QUIVER_CHECK(prompts->tensors().size() == 1, unsupported, file.string(), "{} tensors, expected one prompt",
               prompts->tensors().size());
  const auto& name = prompts->tensors().begin()->first;
  const auto out = prompts->load(name);
  QUIVER_CHECK(name.find("task_shared") != std::string::npos && out.dim() == 2 && out.is_floating_point(), format,
               file.string(), "'{}' of {} dimensions, expected task_shared [m, D]", name, out.dim());
  return out.to(at::kFloat);
}

}  // namespace

std::size_t pemt_sources(const fs::path& folder) {
  const auto file = folder / kFactors;
  if (!fs::exists(file)) return 0;
  std::size_t count = 0;
  const auto tensors = tensor_io::open_torch_tensors(file);
  for (const auto& [name, info] : tensors->tensors()) count = std::max(count, key_of(name, file.string()).source + 1);
  QUIVER_CHECK(count > 0, format, file.string(), "the file holds no tensors");
  return count;
}

ImportedExpert read_pemt_source(const fs::path& folder, std::size_t number, std::optional<double> alpha) {
  QUIVER_CHECK(!alpha || (std::isfinite(*alpha) && *alpha > 0), usage, "--alpha", "{}, expected a positive number",
               *alpha);
  const auto file = folder / kFactors;
  const auto where = file.string();
  const auto tensors = tensor_io::open_torch_tensors(file);
  ImportedExpert out;
  bool alone = true;
  for (const auto& [name, info] : tensors->tensors()) {
    const auto key = key_of(name, where);
    alone = alone && !key.numbered;
    if (key.source != number) continue;
    const auto tensor = tensors->load(name);
    QUIVER_CHECK(tensor.is_floating_point() && tensor.dim() == 2, format, where, "'{}' is not a matrix of numbers",
                 name);
    auto& factors = out.adapter.sites[key.module];
    (key.a ? factors.a : factors.b) = tensor.to(at::kFloat);
  }
  for (auto& [site, f] : out.adapter.sites) {
    QUIVER_CHECK(f.a.defined() && f.b.defined() && f.a.size(0) == f.b.size(1) && f.a.size(0) >= 1, format, where,
                 "site '{}' of source {} lacks lora_A or lora_B, or they are not [R, in] and [out, R]", site, number);
    const auto rank = static_cast<double>(f.a.size(0));
    out.adapter.options.rank = f.a.size(0);
    out.adapter.options.alpha = alpha.value_or(rank);
    f.scale = out.adapter.options.alpha / rank;
  }
  if (!alpha) out.notes.push_back("alpha is taken to be the rank; --alpha says otherwise");
  if (alone && fs::exists(folder / kPrompt)) out.adapter.soft_prompt = prompt_of(folder / kPrompt);
  return out;
}

}  // namespace quiver::library
