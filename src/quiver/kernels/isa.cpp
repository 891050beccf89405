// SPDX-License-Identifier: Apache-2.0
#include "quiver/kernels/isa.h"

namespace quiver::kernels {

#if defined(__x86_64__)

bool multiplies_bfloat16() { return __builtin_cpu_supports("avx512bf16"); }

std::vector<std::string> instruction_sets() {
  std::vector<std::string> sets;
  if (__builtin_cpu_supports("avx2")) sets.push_back("avx2");
  if (__builtin_cpu_supports("fma")) sets.push_back("fma");
  if (__builtin_cpu_supports("avx512f")) sets.push_back("avx512f");
  if (__builtin_cpu_supports("avx512vnni")) sets.push_back("avx512vnni");
  if (__builtin_cpu_supports("avx512bf16")) sets.push_back("avx512bf16");
  return sets;
}

#else

bool multiplies_bfloat16() { return false; }
std::vector<std::string> instruction_sets() { return {}; }

#endif

}  // namespace quiver::kernels
