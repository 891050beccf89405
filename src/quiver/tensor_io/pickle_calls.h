// SPDX-License-Identifier: Apache-2.0
// The names that a pickle may hold, and what is put in the place of a call to one.
//
//   collections.OrderedDict()                    an empty dictionary
//   builtins.set, frozenset (list)               a set
//   builtins.bytes(), _codecs.encode(text, 'latin1')   bytes, as Python writes them in protocol 2
//   torch.Size(tuple)                            the tuple
//   torch._utils._rebuild_tensor_v2(storage, offset, sizes, strides, requires_grad, hooks[, metadata])   a tensor
//   torch._utils._rebuild_parameter(tensor, requires_grad, hooks)   the tensor
//   torch.XStorage, torch.DTYPE                  names
//   mttl.ANYTHING(arguments)                     an object that holds the arguments
#pragma once

#include <c10/core/ScalarType.h>

#include <optional>

#include "quiver/tensor_io/pickle.h"

namespace quiver::tensor_io {

/// Throws Error{unsupported} naming it.
void check_pickle_name(const std::string& name, const std::string& where);
/// A class whose objects are read as their attributes.
bool is_plain_class(const std::string& name);
/// `torch.FloatStorage` -> float32.
std::optional<at::ScalarType> storage_dtype(const std::string& name);

/// Sets `result` to what the call gives. Throws Error{format|unsupported}.
void call_by_name(const std::string& name, const PickleValue& arguments, PickleValue& result, const std::string& where);

}  // namespace quiver::tensor_io
