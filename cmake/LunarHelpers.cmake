# SPDX-License-Identifier: LGPL-2.1-or-later
# What every target of the tree shares, and the two functions that declare one.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_C_STANDARD 11)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)  # all of it ends up in bs_lunar.so too
set(CMAKE_CXX_VISIBILITY_PRESET hidden)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE RelWithDebInfo)
endif()

# Most presets compile several files of a target as one (CMAKE_UNITY_BUILD), which from nothing takes
# less than half the time. Names in anonymous namespaces must therefore differ within a target. For daily work
# there is "debug": each file by itself, and with what it includes.
set(CMAKE_UNITY_BUILD_BATCH_SIZE 8)

add_library(lunar_options INTERFACE)
target_compile_options(lunar_options INTERFACE -Wall -Wextra -Werror -fno-omit-frame-pointer)
target_compile_definitions(lunar_options INTERFACE _GNU_SOURCE)
target_include_directories(lunar_options INTERFACE ${PROJECT_SOURCE_DIR})
target_link_options(lunar_options INTERFACE -Wl,-z,relro,-z,now)
if(CMAKE_UNITY_BUILD AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # It cannot know that a file included here is no header.
  target_compile_options(lunar_options INTERFACE $<$<COMPILE_LANGUAGE:CXX>:-Wno-subobject-linkage>)
endif()
if(CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  target_compile_options(lunar_options INTERFACE -Wthread-safety)
elseif(LUNAR_SANITIZE)  # GCC's manual: sanitizers make it warn where nothing is wrong
  target_compile_options(lunar_options INTERFACE -Wno-maybe-uninitialized -Wno-stringop-overflow
                         -Wno-array-bounds)
endif()
if(LUNAR_SANITIZE STREQUAL "address")
  # null and object-size find what ASan finds too, vptr next to nothing here (no downcasts): without
  # them the build takes a third less.
  target_compile_options(lunar_options INTERFACE -fsanitize=address,undefined
                         -fno-sanitize=null,object-size,vptr -fno-sanitize-recover=undefined)
  target_link_options(lunar_options INTERFACE -fsanitize=address,undefined)
elseif(LUNAR_SANITIZE STREQUAL "thread")
  target_compile_options(lunar_options INTERFACE -fsanitize=thread -Wno-tsan)
  target_link_options(lunar_options INTERFACE -fsanitize=thread)
elseif(LUNAR_SANITIZE STREQUAL "fuzzer")  # libFuzzer itself is linked into the fuzzers alone
  # clang 14 cannot assemble coroutines that are checked by "function".
  target_compile_options(lunar_options INTERFACE -fsanitize=fuzzer-no-link,address,undefined
                         -fno-sanitize=function,null,object-size,vptr -fno-sanitize-recover=undefined)
  target_link_options(lunar_options INTERFACE -fsanitize=address,undefined)
elseif(NOT LUNAR_SANITIZE STREQUAL "")
  message(FATAL_ERROR
          "LUNAR_SANITIZE is '${LUNAR_SANITIZE}'; it takes '', 'address', 'thread' or 'fuzzer'")
endif()

# lunar_library(name SOURCES … PUBLIC targets… PRIVATE targets…)
function(lunar_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;PUBLIC;PRIVATE" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_link_libraries(${name} PUBLIC lunar_options ${ARG_PUBLIC} PRIVATE ${ARG_PRIVATE})
endfunction()

# lunar_add_test(name SOURCES … LIBS … LABELS … [TIMEOUT seconds])
# One GoogleTest executable, one ctest entry. LABELS: unit, and tsan if it must be run there too.
function(lunar_add_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;LIBS;LABELS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  add_executable(${name} ${ARG_SOURCES})
  # Tests need neither speed nor a debugger's view of each variable, and compile faster without.
  target_compile_options(${name} PRIVATE $<$<CONFIG:RelWithDebInfo>:-O1> -g1)
  target_link_libraries(${name} PRIVATE lunar_options ${ARG_LIBS} GTest::gtest GTest::gmock GTest::gtest_main)
  foreach(label ${ARG_LABELS})  # tsan_tests builds what `ctest -L tsan` runs
    if(NOT TARGET ${label}_tests)
      add_custom_target(${label}_tests)
    endif()
    add_dependencies(${label}_tests ${name})
  endforeach()
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT ${ARG_TIMEOUT})
  lunar_test_environment(${name})
endfunction()

# lunar_test_environment(name): what every test of a compiled program runs with.
function(lunar_test_environment name)
  set(tsan "TSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/tsan.supp halt_on_error=1")
  set_tests_properties(${name} PROPERTIES
    ENVIRONMENT "LTTNG_UST_REGISTER_TIMEOUT=0;${tsan};UBSAN_OPTIONS=print_stacktrace=1")
endfunction()
