// SPDX-License-Identifier: Apache-2.0
// The compiled part of fmt, in the version that LibTorch's headers have: formatting header-only costs every file
// seconds.
#include <fmt/format-inl.h>

FMT_BEGIN_NAMESPACE
namespace detail {
template FMT_API thousands_sep_result<char> thousands_sep_impl<char>(locale_ref);
template FMT_API thousands_sep_result<wchar_t> thousands_sep_impl<wchar_t>(locale_ref);
template FMT_API char decimal_point_impl(locale_ref);
template FMT_API wchar_t decimal_point_impl(locale_ref);
}  // namespace detail
FMT_END_NAMESPACE
