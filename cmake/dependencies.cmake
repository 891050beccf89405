# SPDX-License-Identifier: Apache-2.0
# What the program is built on. docs/design.md says in one line each why it was chosen.
find_package(Torch 2.6 REQUIRED)
# LibTorch brings fmt's headers, and its own headers include them: one version for all. Linked by themselves, so that
# layers without tensors see no more of LibTorch.
find_path(QUIVER_FMT_INCLUDE fmt/format-inl.h HINTS ${TORCH_INCLUDE_DIRS} REQUIRED)
file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/include)
file(CREATE_LINK ${QUIVER_FMT_INCLUDE}/fmt ${PROJECT_BINARY_DIR}/include/fmt SYMBOLIC)
find_package(nlohmann_json REQUIRED)
find_package(OpenSSL REQUIRED COMPONENTS Crypto)
find_package(PkgConfig REQUIRED)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)
pkg_check_modules(NLOPT REQUIRED IMPORTED_TARGET nlopt)
find_path(QUIVER_CLI11_INCLUDE CLI/CLI.hpp REQUIRED)
find_path(QUIVER_TOML_INCLUDE toml++/toml.h REQUIRED)
if(QUIVER_TESTS)
  find_package(GTest REQUIRED)
endif()
separate_arguments(QUIVER_TORCH_FLAGS NATIVE_COMMAND "${TORCH_CXX_FLAGS}")
add_compile_options(${QUIVER_TORCH_FLAGS})
# at::parallel_for is parallel only in files compiled with OpenMP. Named by its option, not as a library, so that the one
# copy at run time is LibTorch's. Fuzz targets run on one thread, and clang often comes without it.
if(NOT QUIVER_FUZZ)
  add_compile_options(-fopenmp)
  add_link_options(-fopenmp)
endif()
