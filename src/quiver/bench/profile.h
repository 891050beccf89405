// SPDX-License-Identifier: Apache-2.0
// Where the time of a benchmark goes, by operation of LibTorch and by Quiver's own differentiable operations.
#pragma once

#include <string>

namespace quiver::bench {

/// Watches all operations of this process from its making on.
class OperationProfile {
 public:
  OperationProfile();
  ~OperationProfile();
  OperationProfile(const OperationProfile&) = delete;
  OperationProfile& operator=(const OperationProfile&) = delete;

  /// A table of the operations that took longest by themselves: milliseconds, share, calls.
  std::string table() const;

 private:
  std::uint64_t handle_;
};

}  // namespace quiver::bench
