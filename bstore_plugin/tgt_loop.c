// SPDX-License-Identifier: GPL-2.0-only
#include "bstore_plugin/tgt_loop.h"

#include <stdlib.h>
#include <sys/epoll.h>

// tgt's headers include nothing themselves: their order matters.
// clang-format off
#include "list.h"
#include "util.h"
#include "tgtd.h"
// clang-format on

struct fd_watch {
  int fd;
  void (*on_readable)(void* context);
  void* context;
  struct list_head siblings;
};
static LIST_HEAD(fd_watches);

static void fd_ready(int fd, int events, void* data) {
  (void)fd;
  (void)events;
  struct fd_watch* watch = data;
  watch->on_readable(watch->context);
}

int lunar_watch_fd(int fd, void (*on_readable)(void*), void* context) {
  struct fd_watch* watch = calloc(1, sizeof(*watch));
  if (!watch) return -1;
  watch->fd = fd;
  watch->on_readable = on_readable;
  watch->context = context;
  if (tgt_event_add(fd, EPOLLIN, fd_ready, watch)) {
    free(watch);
    return -1;
  }
  list_add_tail(&watch->siblings, &fd_watches);
  return 0;
}

void lunar_unwatch_fd(int fd) {
  struct fd_watch *watch, *next;
  tgt_event_del(fd);
  list_for_each_entry_safe(watch, next, &fd_watches, siblings) {
    if (watch->fd != fd) continue;
    list_del(&watch->siblings);
    free(watch);
  }
}

// One scheduled event per context: tgtd runs it once before its loop next waits.
struct turn {
  struct event_data event;
  void (*on_turn)(void* context);
  void* context;
  struct list_head siblings;
};
static LIST_HEAD(turns);

static void run_turn(struct event_data* event) {
  struct turn* turn = event->data;
  turn->on_turn(turn->context);
}

void lunar_schedule_turn(void (*on_turn)(void*), void* context) {
  struct turn* turn;
  list_for_each_entry(turn, &turns, siblings) {
    if (turn->context == context) {
      tgt_add_sched_event(&turn->event);
      return;
    }
  }
  turn = calloc(1, sizeof(*turn));
  if (!turn) abort();  // a few bytes, once per cluster
  turn->on_turn = on_turn;
  turn->context = context;
  tgt_init_sched_event(&turn->event, run_turn, turn);
  list_add_tail(&turn->siblings, &turns);
  tgt_add_sched_event(&turn->event);
}
