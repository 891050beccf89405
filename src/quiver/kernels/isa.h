// SPDX-License-Identifier: Apache-2.0
// What the processor can do, and which kernels run.
#pragma once

#include <string>
#include <vector>

namespace quiver::kernels {

/// The instruction sets that kernels are written for, smallest first.
enum class Isa {
  baseline,  ///< whatever the program is compiled for
  avx2,      ///< AVX2 and FMA
  avx512,    ///< AVX-512 F, BW, VL and DQ
};

const char* name(Isa isa);

/// Those that this processor and operating system run, smallest first.
std::vector<Isa> available_isas();

/// The one in use: the largest available, or the one that QUIVER_FORCE_ISA names (baseline, avx2, avx512). Throws
/// Error{usage} where that is unknown or not available.
Isa active_isa();

/// True where bfloat16 products are an instruction (AVX512-BF16, which every processor with AMX has too).
bool multiplies_bfloat16();

/// The instruction sets that matter here and that this processor has, smallest first: for people to read.
std::vector<std::string> instruction_sets();

}  // namespace quiver::kernels
