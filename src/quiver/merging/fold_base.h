// SPDX-License-Identifier: Apache-2.0
// An adapter folded into its base model: a Hugging Face folder that needs no adapter.
#pragma once

#include "quiver/adapter/adapter.h"
#include "quiver/base/files.h"

namespace quiver::merging {

/// Writes a copy of the Hugging Face folder `base` to `output`, a folder that is free, in one step. At each site the
/// weight becomes l (W + s B A) diag(l_in) with the adapter's scales l, its bias, where it has one, l b_0 + b; norms
/// take the adapter's weights. All is computed in float32 and rounded to the dtype it is stored in; all other tensors,
/// the shards' names and metadata, the index, the configuration and the tokenizer's files stay as they are. Files of
/// weights in other formats (.bin, .gguf, ...) and folders are left out. Throws Error{usage} where `base` is no such
/// folder (a GGUF file, for one) or `output` is taken (base/output_folder.h), Error{mismatch} where a site has no
/// `SITE.weight` [out, in], Error{unsupported} where that is not float32, float16 or bfloat16, where the adapter,
/// called `name`, has bottlenecks or something before the prompt, or a bias where the base model has none.
void fold_into_base(const fs::path& base, const adapter::Adapter& adapter, const fs::path& output,
                    const std::string& name = "the adapter");

}  // namespace quiver::merging
