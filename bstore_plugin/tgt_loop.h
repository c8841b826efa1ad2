// SPDX-License-Identifier: GPL-2.0-only
// tgtd's loop for the C++ side (struct lunar_host in plugin_api.h says when each is called): its
// descriptors in tgtd's epoll, and its turns before tgtd waits. On tgtd's thread. A watch ends with
// lunar_unwatch_fd(), a turn never: there is one per context, and contexts live as long as tgtd.
#pragma once

// Nonzero if there is no memory, or tgtd does not take the descriptor. Calls `on_readable` as long
// as there is something to read. Borrows the descriptor and the context.
int lunar_watch_fd(int fd, void (*on_readable)(void* context), void* context);
void lunar_unwatch_fd(int fd);
// Calls `on_turn` once, before tgtd's loop next waits; once too if this is called again before.
void lunar_schedule_turn(void (*on_turn)(void* context), void* context);
