# A release is optimized by a profile: how often each branch was taken while the benchmarks ran
# (docs/design/0009-profile.md). tools/train makes a new one.

option(KEELSON_TRAIN "Count what runs, for a new profile" OFF)
set(KEELSON_PROFILE ${CMAKE_SOURCE_DIR}/profile/keelson.profdata.tar.xz
    CACHE FILEPATH "The profile that a release is optimized by; empty: none")

# Functions that only their file knows are told apart by its name, not by where the source lies.
set(by_file_name "SHELL:-mllvm -static-func-full-module-prefix=false")
if(KEELSON_TRAIN)
  add_compile_options(-fprofile-generate ${by_file_name})
  add_link_options(-fprofile-generate)
elseif(CMAKE_BUILD_TYPE STREQUAL Release AND KEELSON_PROFILE)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${KEELSON_PROFILE})
  # Its place says which one it is: with another one, all is compiled anew.
  file(SHA256 ${KEELSON_PROFILE} hash)
  string(SUBSTRING ${hash} 0 16 hash)
  set(directory ${CMAKE_BINARY_DIR}/profile/${hash})
  file(ARCHIVE_EXTRACT INPUT ${KEELSON_PROFILE} DESTINATION ${directory})
  # A function that was changed since is compiled as it would be without.
  add_compile_options(-fprofile-use=${directory}/keelson.profdata ${by_file_name}
                      -Wno-profile-instr-unprofiled -Wno-profile-instr-out-of-date -Wno-backend-plugin)
endif()
