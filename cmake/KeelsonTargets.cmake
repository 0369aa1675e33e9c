# One directory of src/ is one library. keelson_library(name DEPS...) makes `keelson_<name>` of every
# .cc in the directory (and below) that is not a *_test.cc, and `<name>_test` of those that are.
# Dependencies point down the floors only; tools/check_layers holds the includes to the same rule.

# What every request goes through is linked in: a call into a shared library takes a detour, and its
# thread-local variables a call each.
set(Protobuf_USE_STATIC_LIBS ON)
find_library(NGHTTP2 libnghttp2.a REQUIRED)
add_library(nghttp2 STATIC IMPORTED)
set_target_properties(nghttp2 PROPERTIES IMPORTED_LOCATION ${NGHTTP2})

find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)
find_package(Protobuf REQUIRED)
find_package(absl REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
if(KEELSON_TESTS)
  find_package(GTest REQUIRED)
endif()

# Headers that nearly every file reads, compiled once for all libraries.
add_library(keelson_pch STATIC ${CMAKE_SOURCE_DIR}/cmake/pch.cc)
target_precompile_headers(keelson_pch PRIVATE
  <algorithm> <array> <atomic> <chrono> <cstdint> <deque> <expected> <functional> <map> <memory>
  <optional> <span> <string> <string_view> <unordered_map> <utility> <variant> <vector>)
target_compile_options(keelson_pch PRIVATE -Xclang -fno-pch-timestamp)

function(keelson_target_defaults target)
  target_include_directories(${target} PUBLIC ${CMAKE_SOURCE_DIR}/src)
  target_compile_options(${target} PRIVATE -Xclang -fno-pch-timestamp)
  target_precompile_headers(${target} REUSE_FROM keelson_pch)
endfunction()

function(keelson_library name)
  cmake_parse_arguments(ARG "" "" "DEPS;LINK;EXCLUDE" ${ARGN})
  file(GLOB_RECURSE all CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${name}/*.cc)
  set(sources ${all})
  list(FILTER sources EXCLUDE REGEX "_test\\.cc$|_main\\.cc$")
  set(tests ${all})
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  if(sources)
    add_library(keelson_${name} STATIC ${sources})
    keelson_target_defaults(keelson_${name})
    set(scope PUBLIC)
  else()
    add_library(keelson_${name} INTERFACE)
    target_include_directories(keelson_${name} INTERFACE ${CMAKE_SOURCE_DIR}/src)
    set(scope INTERFACE)
  endif()
  foreach(dep ${ARG_DEPS})
    target_link_libraries(keelson_${name} ${scope} keelson_${dep})
  endforeach()
  target_link_libraries(keelson_${name} ${scope} ${ARG_LINK} fmt::fmt Threads::Threads)
  if(KEELSON_TESTS AND tests AND (KEELSON_UNIT_TESTS STREQUAL "all" OR name IN_LIST KEELSON_UNIT_TESTS))
    add_executable(${name}_test ${tests})
    keelson_target_defaults(${name}_test)
    target_link_libraries(${name}_test PRIVATE keelson_${name} keelson_testing GTest::gtest GTest::gmock GTest::gtest_main)
    target_compile_definitions(${name}_test PRIVATE
      KEELSON_SOURCE_DIR="${CMAKE_SOURCE_DIR}" KEELSON_TEST_DIR="${CMAKE_CURRENT_SOURCE_DIR}/${name}")
    add_test(NAME ${KEELSON_TEST_PREFIX}${name} COMMAND ${name}_test)
    set_tests_properties(${KEELSON_TEST_PREFIX}${name} PROPERTIES TIMEOUT 900 LABELS unit)
  endif()
endfunction()

function(keelson_executable name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS;LINK" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  keelson_target_defaults(${name})
  foreach(dep ${ARG_DEPS})
    target_link_libraries(${name} PRIVATE keelson_${dep})
  endforeach()
  target_link_libraries(${name} PRIVATE ${ARG_LINK} Threads::Threads)
endfunction()
