/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* By LD_PRELOAD: has a program believe it is on another host, with LUNAR_TEST_HOST for its name and
 * a wall clock that is LUNAR_TEST_SHIFT_SECONDS ahead. Any thread. */
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define EXPORTED __attribute__((visibility("default")))

EXPORTED int clock_gettime(clockid_t clock, struct timespec* now) {
  static int (*real)(clockid_t, struct timespec*);
  static long shift;
  if (real == NULL) {
    const char* seconds = getenv("LUNAR_TEST_SHIFT_SECONDS");
    shift = seconds != NULL ? atol(seconds) : 0;
    real = (int (*)(clockid_t, struct timespec*))dlsym(RTLD_NEXT, "clock_gettime");
  }
  const int result = real(clock, now);
  if (result == 0 && clock == CLOCK_REALTIME) now->tv_sec += shift;
  return result;
}

EXPORTED int gethostname(char* name, size_t size) {
  const char* other = getenv("LUNAR_TEST_HOST");
  strncpy(name, other != NULL ? other : "other", size);
  return 0;
}
