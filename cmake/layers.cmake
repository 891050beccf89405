# SPDX-License-Identifier: Apache-2.0
# quiver_layer(NAME LINKS ...): one static library per folder of src/quiver, and one test program of its *_test.cpp.
function(quiver_layer name)
  cmake_parse_arguments(ARG "" "" "LINKS" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${name}/*.cpp)
  set(tests ${sources})
  list(FILTER sources EXCLUDE REGEX "_test\\.cpp$")
  list(FILTER tests INCLUDE REGEX "_test\\.cpp$")
  add_library(quiver_${name} STATIC ${sources})
  target_include_directories(quiver_${name} PUBLIC ${PROJECT_SOURCE_DIR}/src ${PROJECT_BINARY_DIR}/include)
  target_link_libraries(quiver_${name} PUBLIC ${ARG_LINKS})
  if(QUIVER_TESTS AND tests)
    add_executable(quiver_${name}_test ${tests})
    target_link_libraries(quiver_${name}_test PRIVATE quiver_${name} GTest::gtest GTest::gtest_main)
    target_compile_definitions(quiver_${name}_test PRIVATE
      QUIVER_SOURCE_DIR="${PROJECT_SOURCE_DIR}" QUIVER_BINARY="$<IF:$<TARGET_EXISTS:quiver>,${PROJECT_BINARY_DIR}/quiver,>")
    add_test(NAME ${name} COMMAND quiver_${name}_test)
  endif()
endfunction()
