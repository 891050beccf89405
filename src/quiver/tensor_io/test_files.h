// SPDX-License-Identifier: Apache-2.0
// What the tests of this folder share: a folder of their own, files of given bytes, and the Error that something
// throws.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <string_view>

#include "quiver/base/error.h"
#include "quiver/base/files.h"

namespace quiver::tensor_io {

class TestFolder {
 public:
  TestFolder() {
    const auto name = std::string(testing::UnitTest::GetInstance()->current_test_info()->name());
    path_ = fs::temp_directory_path() / ("quiver_tensor_io_" + name + "_" + std::to_string(getpid()));
    fs::create_directories(path_);
  }
  ~TestFolder() { fs::remove_all(path_); }
  TestFolder(const TestFolder&) = delete;
  TestFolder& operator=(const TestFolder&) = delete;

  fs::path operator/(const std::string& name) const { return path_ / name; }
  const fs::path& path() const { return path_; }
  fs::path file(const std::string& name, std::string_view bytes) const {
    std::ofstream(path_ / name, std::ios::binary).write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    return path_ / name;
  }

 private:
  fs::path path_;
};

inline fs::path golden(const std::string& name) { return fs::path(QUIVER_SOURCE_DIR) / "tests" / "golden" / name; }

/// The Error that `action` throws, whose message must be one line of printable text that begins with where it happened.
template <typename Action>
Error error_of(Action action) {
  try {
    action();
  } catch (const Error& error) {
    const std::string message = error.what();
    EXPECT_TRUE(message.starts_with("[")) << message;
    EXPECT_TRUE(std::none_of(message.begin(), message.end(), [](unsigned char c) { return c < 0x20 || c == 0x7F; }))
        << message;
    EXPECT_LT(message.size(), 2000u) << message;
    return error;
  }
  ADD_FAILURE() << "expected a quiver::Error, none came";
  return Error(ErrorCode::usage, "");
}

/// `action` throws an Error of this code whose message holds `part`.
template <typename Action>
void expect_error(ErrorCode code, const std::string& part, Action action) {
  const auto error = error_of(action);
  EXPECT_EQ(error.code(), code) << error.what();
  EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what() << "\n  lacks: " << part;
}

/// The bytes of a number, little-endian.
template <typename T>
std::string bytes_of(T value) {
  return std::string(reinterpret_cast<const char*>(&value), sizeof value);
}

}  // namespace quiver::tensor_io
