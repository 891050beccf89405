# SPDX-License-Identifier: Apache-2.0
# What the program is built on. docs/design.md says in one line each why it was chosen.
find_package(Torch 2.6 REQUIRED)
# Header-only, because LibTorch brings fmt headers of another version: inline namespaces keep the two apart.
find_package(fmt REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(OpenMP REQUIRED COMPONENTS CXX)
find_package(OpenSSL REQUIRED COMPONENTS Crypto)
find_package(PkgConfig REQUIRED)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)
find_path(QUIVER_CLI11_INCLUDE CLI/CLI.hpp REQUIRED)
if(QUIVER_TESTS)
  find_package(GTest REQUIRED)
endif()
separate_arguments(QUIVER_TORCH_FLAGS NATIVE_COMMAND "${TORCH_CXX_FLAGS}")
add_compile_options(${QUIVER_TORCH_FLAGS})
