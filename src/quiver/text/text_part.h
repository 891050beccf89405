// SPDX-License-Identifier: Apache-2.0
// A stretch of a text that is made of several.
#pragma once

#include <string>

namespace quiver::text {

struct TextPart {
  std::string text;
  bool plain = false;  ///< special tokens in it are letters: somebody typed them
};

}  // namespace quiver::text
