// SPDX-License-Identifier: Apache-2.0
#include "quiver/kernels/isa.h"

#include <algorithm>
#include <cstdlib>

#include "quiver/base/error.h"

namespace quiver::kernels {

const char* name(Isa isa) {
  switch (isa) {
    case Isa::baseline:
      return "baseline";
    case Isa::avx2:
      return "avx2";
    case Isa::avx512:
      return "avx512";
  }
  return "";
}

#if defined(__x86_64__)

std::vector<Isa> available_isas() {
  std::vector<Isa> out{Isa::baseline};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) out.push_back(Isa::avx2);
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
  if (avx512) out.push_back(Isa::avx512);
  return out;
}

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

std::vector<Isa> available_isas() { return {Isa::baseline}; }
bool multiplies_bfloat16() { return false; }
std::vector<std::string> instruction_sets() { return {}; }

#endif

namespace {

Isa chosen_isa() {
  const auto available = available_isas();
  const char* forced = std::getenv("QUIVER_FORCE_ISA");
  if (!forced || !*forced) return available.back();
  const auto found =
      std::find_if(available.begin(), available.end(), [&](Isa isa) { return name(isa) == std::string(forced); });
  std::string names;
  for (const auto isa : available) names += (names.empty() ? "" : ", ") + std::string(name(isa));
  QUIVER_CHECK(found != available.end(), usage, "QUIVER_FORCE_ISA", "'{}', this machine has {}", forced, names);
  return *found;
}

}  // namespace

Isa active_isa() {
  static const Isa isa = chosen_isa();
  return isa;
}

}  // namespace quiver::kernels
