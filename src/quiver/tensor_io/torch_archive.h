// SPDX-License-Identifier: Apache-2.0
// Files of torch.save: a zip of `NAME/data.pkl`, a pickle, and `NAME/data/KEY`, the bytes of its storages.
//
// Nothing that such a file says is run (pickle.h). Beside the bounds of zip and pickle, each storage must have exactly
// the bytes that the pickle claims for it. Big-endian files are refused. Files of PyTorch before 1.6 (torch_stream.h)
// are read alike.
#pragma once

#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <vector>

#include "quiver/base/files.h"
#include "quiver/tensor_io/pickle.h"
#include "quiver/tensor_io/tensor_source.h"

namespace quiver::tensor_io {

/// What torch.load would give. Tensors point into the mapped file, which they keep open.
/// Throws Error{not_found|io|format|unsupported}.
Pickle read_torch_archive(const fs::path& file);

/// A file that holds a dictionary of names to tensors (a state dictionary, `adapter_model.bin`), and nothing else.
std::shared_ptr<TensorSource> open_torch_tensors(const fs::path& file);

/// Atomic. A dictionary of tensors in the order given, as torch.save writes it: torch.load(weights_only=True) reads it.
/// Throws Error{unsupported} naming a tensor whose type torch.save has no storage class for.
void write_torch_archive(const fs::path& file, const std::vector<std::pair<std::string, at::Tensor>>& tensors);

/// The same for plain values.
void write_torch_archive(const fs::path& file, const nlohmann::json& value);

}  // namespace quiver::tensor_io
