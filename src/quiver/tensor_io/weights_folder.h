// SPDX-License-Identifier: Apache-2.0
// The weights of a Hugging Face folder.
#pragma once

#include "quiver/tensor_io/tensor_source.h"

namespace quiver::tensor_io {

/// The first that is there of model.safetensors, model.safetensors.index.json with its shards, pytorch_model.bin and
/// pytorch_model.bin.index.json with its shards: transformers' order, in which a whole file comes before an index that
/// an earlier model left. Each tensor that an index maps must be in the file it names, each tensor of a shard in the
/// index, and no file may leave the folder. The index's `total_size` is not looked at.
std::shared_ptr<TensorSource> open_weights_folder(const fs::path& folder);

}  // namespace quiver::tensor_io
