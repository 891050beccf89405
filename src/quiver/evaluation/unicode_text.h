// SPDX-License-Identifier: Apache-2.0
// Texts as Python's str sees them, which is what the official scripts of metrics are written in: lower case, white
// space and word characters of all Unicode. Texts are UTF-8; bytes that are not count as U+FFFD. Pure functions.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace quiver::evaluation {

/// str.lower(): by Unicode's full mapping, a capital sigma at the end of a word as the final one.
std::string lower(std::string_view text);

/// str.split(): the runs of what is no white space.
std::vector<std::string> split_words(std::string_view text);

/// str.strip().
std::string strip(std::string_view text);

/// Whether `\w` of Python's `re` matches: letters, numbers, underscore.
bool is_word_character(char32_t code_point);

}  // namespace quiver::evaluation
