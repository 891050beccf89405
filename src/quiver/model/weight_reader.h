// SPDX-License-Identifier: Apache-2.0
// Takes tensors out of a file under Hugging Face names, so that none is missed and none is left over.
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>

#include "quiver/tensor_io/tensor_source.h"

namespace quiver::model {

class WeightReader {
 public:
  /// `stored_name` maps a Hugging Face name to the file's; `convert` may reorder a loaded tensor (GGUF's rotary
  /// layout).
  using StoredName = std::function<std::string(const std::string&)>;
  using Convert = std::function<at::Tensor(const std::string&, at::Tensor)>;
  WeightReader(std::shared_ptr<const tensor_io::TensorSource> source, at::ScalarType dtype,
               StoredName stored_name = nullptr, Convert convert = nullptr);

  /// Further names of the file: a prefix that they lack, say.
  void rename(StoredName stored_name) { stored_name_ = std::move(stored_name); }
  std::string stored(const std::string& name) const { return stored_name_ ? stored_name_(name) : name; }
  bool contains(const std::string& name) const;
  /// The tensor in the compute dtype. Throws Error{mismatch} naming it where its shape is not `shape`.
  at::Tensor take(const std::string& name, const std::vector<std::int64_t>& shape);
  /// True where the file holds equal tensors under both names.
  bool same(const std::string& name, const std::string& other) const;
  /// Marks a tensor as seen though it is not needed.
  void ignore(const std::string& stored_name) { ignored_.insert(stored_name); }
  /// The fingerprint is then empty: for weights that change.
  void skip_fingerprint() { fingerprinted_ = false; }
  /// Stored names of the tensors taken.
  const std::set<std::string>& taken() const { return taken_; }
  /// Throws Error{unsupported} naming the tensors that nobody took.
  void check_all_taken(const std::string& where) const;
  /// SHA-256 over names, shapes, dtypes and bytes of the tensors taken, in the order of their stored names.
  std::string fingerprint() const;

 private:
  bool fingerprinted_ = true;
  std::shared_ptr<const tensor_io::TensorSource> source_;
  at::ScalarType dtype_;
  StoredName stored_name_;
  Convert convert_;
  std::set<std::string> taken_, ignored_;
};

}  // namespace quiver::model
