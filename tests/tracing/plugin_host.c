/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* A plain C program that loads a shared object as tgtd loads its backing stores, and has it emit.
 * It knows nothing of LTTng; like tgtd it never closes the object. It says when a session has
 * enabled the events, and emits once it is told to: they are enabled a moment before the session
 * runs. */
#include <dlfcn.h>
#include <sched.h>
#include <stdio.h>
#include <time.h>

enum { kWaitSeconds = 30 };

/* Registration runs on a thread of LTTng's own; tgtd does not wait for it, a test must. */
static int wait_until_recorded(int (*is_recorded)(void)) {
  const time_t limit = time(NULL) + kWaitSeconds;
  while (!is_recorded()) {
    if (time(NULL) > limit) return 0;
    sched_yield();
  }
  return 1;
}

int main(int argc, char** argv) {
  if (argc != 2) {
    fprintf(stderr, "usage: %s PLUGIN\n", argv[0]);
    return 2;
  }
  void* plugin = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  if (plugin == NULL) {
    fprintf(stderr, "%s\n", dlerror());
    return 1;
  }
  void (*emit)(void);
  int (*is_recorded)(void);
  *(void**)&emit = dlsym(plugin, "lunar_emit_all_events");
  *(void**)&is_recorded = dlsym(plugin, "lunar_is_recorded");
  if (emit == NULL || is_recorded == NULL) return 1;
  if (!wait_until_recorded(is_recorded)) {
    fprintf(stderr, "no session records the events after %d s\n", kWaitSeconds);
    return 1;
  }
  puts("enabled");
  fflush(stdout);
  if (getchar() == EOF) return 1;
  emit();
  return 0;
}
