// SPDX-License-Identifier: Apache-2.0
// The one exception family of the project.
//
// A message reads `[where] what was expected, what came`, with the values. It is caught in two places only: `main` and
// the server's request boundary. The library never prints, exits or aborts.
#pragma once

#include <fmt/format.h>

#include <stdexcept>
#include <string>

namespace quiver {

enum class ErrorCode {
  usage,        ///< an option, route or name that does not exist or does not fit
  not_found,    ///< a file, tensor, expert or task that is not there
  format,       ///< bytes from outside that do not follow their format
  mismatch,     ///< two things that do not belong together (shapes, base models)
  unsupported,  ///< well formed, but not something Quiver honours
  io,           ///< the operating system refused
};

class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const { return code_; }

 private:
  ErrorCode code_;
};

/// Throws Error{code, "[where] message"}.
template <typename... Args>
[[noreturn]] void fail(ErrorCode code, const std::string& where, fmt::format_string<Args...> message, Args&&... args) {
  throw Error(code, "[" + where + "] " + fmt::format(message, std::forward<Args>(args)...));
}

}  // namespace quiver

/// Throws quiver::Error{code, "[where] formatted message"} unless the condition holds.
#define QUIVER_CHECK(condition, code, where, ...)                                    \
  do {                                                                               \
    if (!(condition)) ::quiver::fail(::quiver::ErrorCode::code, where, __VA_ARGS__); \
  } while (false)
