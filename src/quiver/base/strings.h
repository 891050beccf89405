// SPDX-License-Identifier: Apache-2.0
// Small helpers on text.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace quiver {

/// The parts between `separator`s; an empty text has no parts.
std::vector<std::string> split(std::string_view text, char separator);
std::string join(const std::vector<std::string>& parts, std::string_view separator);
/// Without ASCII white space at both ends.
std::string trim(std::string_view text);
std::string lower_ascii(std::string_view text);
/// Every `what`, which is not empty, by `by`; from left to right, not in what was put in. Whether there was any.
bool replace_all(std::string& text, std::string_view what, std::string_view by);
bool starts_with_any(std::string_view text, const std::vector<std::string>& prefixes);

/// The candidate with the least edit distance to `name`, or "" where there is none close enough to be meant.
std::string nearest_name(std::string_view name, const std::vector<std::string>& candidates);
/// `; did you mean 'x'?`, or, where nothing is near, `; known: a, b, c`.
std::string suggestion(std::string_view name, const std::vector<std::string>& candidates);

}  // namespace quiver
