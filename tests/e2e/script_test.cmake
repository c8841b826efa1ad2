# SPDX-License-Identifier: LGPL-2.1-or-later
# How Python tests are registered, for tests/e2e and tests/bench.

find_package(Python3 REQUIRED COMPONENTS Interpreter)

# lunar_add_script_test(name SCRIPT path [ARGS …] LABELS … [TIMEOUT seconds] [SERIAL])
# A Python script that ends with 0 for success. It finds the build by LUNAR_BUILD_DIR, and the
# fixtures (tests/e2e/lunar_e2e) on its path. Counted as two processors: it runs servers and load.
function(lunar_add_script_test name)
  cmake_parse_arguments(ARG "SERIAL" "SCRIPT;TIMEOUT" "ARGS;LABELS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 600)
  endif()
  set(environment LUNAR_BUILD_DIR=${PROJECT_BINARY_DIR} PYTHONDONTWRITEBYTECODE=1
      PYTHONPATH=${PROJECT_SOURCE_DIR}/tests/e2e LTTNG_UST_REGISTER_TIMEOUT=0)
  if(LUNAR_SANITIZE STREQUAL "address")
    # Foreign programs that load ours (tgtd first) get the runtime by LD_PRELOAD: env.preloaded().
    execute_process(COMMAND ${CMAKE_CXX_COMPILER} -print-file-name=libasan.so
                    OUTPUT_VARIABLE runtime OUTPUT_STRIP_TRAILING_WHITESPACE)
    list(APPEND environment LUNAR_SANITIZER_RUNTIME=${runtime} UBSAN_OPTIONS=print_stacktrace=1)
  endif()
  add_test(NAME ${name} COMMAND ${Python3_EXECUTABLE} ${ARG_SCRIPT} ${ARG_ARGS})
  set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT ${ARG_TIMEOUT}
    ENVIRONMENT "${environment}" PROCESSORS 2)
  if(ARG_SERIAL)
    set_tests_properties(${name} PROPERTIES RUN_SERIAL TRUE)
  endif()
endfunction()
