// SPDX-License-Identifier: Apache-2.0
#include "quiver/tensor_io/gguf_types.h"

#include <algorithm>
#include <iterator>
#include <vector>

#include "quiver/base/strings.h"

namespace quiver::tensor_io {
namespace {

constexpr GgufTypeInfo kTypes[] = {
    {GgufType::F32, "F32", 1, 4},       {GgufType::F16, "F16", 1, 2},         {GgufType::BF16, "BF16", 1, 2},
    {GgufType::Q4_0, "Q4_0", 32, 18},   {GgufType::Q4_1, "Q4_1", 32, 20},     {GgufType::Q5_0, "Q5_0", 32, 22},
    {GgufType::Q5_1, "Q5_1", 32, 24},   {GgufType::Q8_0, "Q8_0", 32, 34},     {GgufType::Q2_K, "Q2_K", 256, 84},
    {GgufType::Q3_K, "Q3_K", 256, 110}, {GgufType::Q4_K, "Q4_K", 256, 144},   {GgufType::Q5_K, "Q5_K", 256, 176},
    {GgufType::Q6_K, "Q6_K", 256, 210}, {GgufType::IQ4_NL, "IQ4_NL", 32, 18}, {GgufType::IQ4_XS, "IQ4_XS", 256, 136},
};

struct OtherType {
  std::uint32_t code;
  const char* name;
};
/// Well formed, not read.
constexpr OtherType kOtherTypes[] = {
    {9, "Q8_1"},   {15, "Q8_K"},  {16, "IQ2_XXS"}, {17, "IQ2_XS"}, {18, "IQ3_XXS"}, {19, "IQ1_S"},
    {21, "IQ3_S"}, {22, "IQ2_S"}, {24, "I8"},      {25, "I16"},    {26, "I32"},     {27, "I64"},
    {28, "F64"},   {29, "IQ1_M"}, {34, "TQ1_0"},   {35, "TQ2_0"},  {39, "MXFP4"},   {40, "NVFP4"},
};

}  // namespace

const GgufTypeInfo* gguf_type_info(std::uint32_t code) {
  const auto found = std::find_if(std::begin(kTypes), std::end(kTypes),
                                  [&](const auto& t) { return static_cast<std::uint32_t>(t.type) == code; });
  return found == std::end(kTypes) ? nullptr : found;
}

std::string gguf_type_name(std::uint32_t code) {
  if (const auto* info = gguf_type_info(code)) return info->name;
  const auto found =
      std::find_if(std::begin(kOtherTypes), std::end(kOtherTypes), [&](const auto& t) { return t.code == code; });
  return found == std::end(kOtherTypes) ? "number " + std::to_string(code) : found->name;
}

std::string gguf_type_names() {
  std::vector<std::string> names;
  for (const auto& info : kTypes) names.emplace_back(info.name);
  return join(names, ", ");
}

}  // namespace quiver::tensor_io
