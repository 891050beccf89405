// SPDX-License-Identifier: Apache-2.0
// What the processor can do.
#pragma once

#include <string>
#include <vector>

namespace quiver::kernels {

/// True where bfloat16 products are an instruction (AVX512-BF16, which every processor with AMX has too).
bool multiplies_bfloat16();

/// The instruction sets that matter here and that this processor has, smallest first.
std::vector<std::string> instruction_sets();

}  // namespace quiver::kernels
