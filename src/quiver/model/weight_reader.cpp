// SPDX-License-Identifier: Apache-2.0
#include "quiver/model/weight_reader.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "quiver/base/error.h"
#include "quiver/base/sha256.h"
#include "quiver/base/strings.h"

namespace quiver::model {

WeightReader::WeightReader(std::shared_ptr<const tensor_io::TensorSource> source, at::ScalarType dtype,
                           StoredName stored_name, Convert convert)
    : source_(std::move(source)), dtype_(dtype), stored_name_(std::move(stored_name)), convert_(std::move(convert)) {}

bool WeightReader::contains(const std::string& name) const { return source_->tensors().contains(stored(name)); }

bool WeightReader::same(const std::string& name, const std::string& other) const {
  return contains(name) && contains(other) && source_->load(stored(name)).equal(source_->load(stored(other)));
}

at::Tensor WeightReader::take(const std::string& name, const std::vector<std::int64_t>& shape) {
  const auto place = stored(name);
  const auto found = source_->tensors().find(place);
  QUIVER_CHECK(found != source_->tensors().end(), not_found, "model", "tensor '{}' is missing", place);
  QUIVER_CHECK(found->second.shape == shape, mismatch, "model", "tensor '{}' has shape [{}], expected [{}]", place,
               fmt::join(found->second.shape, ", "), fmt::join(shape, ", "));
  taken_.insert(place);
  auto tensor = source_->load(place);
  QUIVER_CHECK(tensor.is_floating_point(), format, "model", "tensor '{}' is {}, expected floating point", place,
               found->second.stored_dtype);
  if (convert_) tensor = convert_(name, tensor);
  return tensor.to(dtype_);
}

void WeightReader::check_all_taken(const std::string& where) const {
  std::vector<std::string> left;
  for (const auto& [name, info] : source_->tensors()) {
    if (!taken_.contains(name) && !ignored_.contains(name)) left.push_back(name);
  }
  QUIVER_CHECK(left.empty(), unsupported, where, "{} tensors have no place in this architecture, the first is '{}'",
               left.size(), left.front());
}

std::string WeightReader::fingerprint() const {
  if (!fingerprinted_) return "";
  Sha256 hash;
  for (const auto& name : taken_) {
    const auto& info = source_->tensors().at(name);
    hash.add(fmt::format("{} [{}] {} {}\n", name, fmt::join(info.shape, ","), info.stored_dtype, info.bytes));
    hash.add(source_->stored_bytes(name), info.bytes);
  }
  return hash.hex();
}

}  // namespace quiver::model
