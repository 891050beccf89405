// SPDX-License-Identifier: Apache-2.0
// Work in several parts, of which one that fails does not cost the others: what failed is said at once, and all that
// failed are named at the end.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "quiver/base/error.h"
#include "quiver/base/progress.h"

namespace quiver::training {

class Failures {
 public:
  /// `progress` must outlive it. parts: in all.
  Failures(Progress& progress, std::size_t parts) : progress_(progress), parts_(parts) {}

  /// Called where `error` is caught: says it. The error of the only part is thrown again instead.
  void add(const std::string& part, const Error& error);
  /// Throws Error{mismatch} at `where` naming the parts that failed, where some did.
  void refuse(const std::string& where) const;

 private:
  Progress& progress_;
  std::size_t parts_;
  std::vector<std::string> failed_;
};

}  // namespace quiver::training
