/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

/* The C boundary between tcp_hook.c, which sees tgt's iSCSI structures, and the C++ that drives
 * connections (fast_transport.h). Everything here runs on tgtd's one thread. `connection` is tgt's
 * struct iscsi_connection. */

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum lunar_tcp_phase { LUNAR_TCP_NEGOTIATING, LUNAR_TCP_FULL, LUNAR_TCP_CLOSING };

/* What tcp_hook.c does for the C++ side: see TgtConnection and TgtLoop. */
struct lunar_tcp_host {
  void (*receive)(void* connection);
  void (*send)(void* connection);
  enum lunar_tcp_phase (*phase)(const void* connection);
  int (*has_output)(const void* connection);
  void (*set_closing)(void* connection);
  void (*close)(void* connection);
  void (*watch)(int fd, int events);
  void (*schedule_turn)(void);
  void (*schedule_tick)(void);
};

/* A connection that the plugin drives; valid until lunar_tcp_forget(). */
struct lunar_tcp_connection;

/* By the plugin, once. `registry` is a lunar::PerfRegistry. The host is kept. */
void lunar_tcp_start(const struct lunar_tcp_host* host, void* registry);

/* The connection that was adopted for this fd and tgt connection; NULL if none was. */
struct lunar_tcp_connection* lunar_tcp_find(int fd, const void* connection);
/* When tgt first waits for a socket: from now on the plugin receives and sends for it. `wants_…`:
 * whether tgt waits for input, and for room for output, as EPOLLIN and EPOLLOUT say. `initiator` is
 * the address of the host at the other end. */
struct lunar_tcp_connection* lunar_tcp_adopt(int fd, void* connection, int wants_input,
                                             int wants_output, const char* initiator);
/* When tgt closes it. What can be sent at once still is. */
void lunar_tcp_forget(struct lunar_tcp_connection* self);
/* As read(2) and write(2); `base` is the beginning of the data buffer that the bytes may be in. */
long lunar_tcp_read(struct lunar_tcp_connection* self, void* to, size_t bytes);
long lunar_tcp_write(struct lunar_tcp_connection* self, const void* from, size_t bytes,
                     const void* base);
/* When tgt changes what it waits for; see lunar_tcp_adopt(). */
void lunar_tcp_set_wanted(struct lunar_tcp_connection* self, int wants_input, int wants_output);
/* When tgt begins and ends a task of the connection: how many it has decides whether it is read. */
void lunar_tcp_add_task(struct lunar_tcp_connection* self);
void lunar_tcp_remove_task(struct lunar_tcp_connection* self);
/* A PDU of this connection was refused: counts it. */
void lunar_tcp_refused(void);

/* From tgtd's loop: the socket is ready (`events` of epoll); the turn that schedule_turn() asked
 * for; and the tick, a second after schedule_tick(). They call tgt's code by lunar_tcp_host. */
void lunar_tcp_on_ready(struct lunar_tcp_connection* self, int events);
void lunar_tcp_turn(void);
void lunar_tcp_tick(void);

/* Whether a WRITE may have a buffer of so many bytes: what those of an initiator hold is bounded by
 * its share. */
int lunar_tcp_may_hold(struct lunar_tcp_connection* self, size_t bytes);
/* A data buffer, charged to `self` unless that is NULL. NULL if there is no memory. */
void* lunar_tcp_allocate(struct lunar_tcp_connection* self, size_t bytes, int is_for_read);
/* Nonzero if it was such a buffer. Takes any pointer. */
int lunar_tcp_release(void* buffer);
/* How large the buffer is that begins there; 0 if none of ours does. */
size_t lunar_tcp_capacity(const void* buffer);

#ifdef __cplusplus
}
#endif
