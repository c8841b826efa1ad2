// SPDX-License-Identifier: GPL-2.0-only
// tgtd's iSCSI data buffers, from registered memory instead of the heap, so that an object server
// can move them by RDMA. tgt is not patched: its TCP transport allocates one buffer per command
// through two function pointers, which are replaced here. The list of transports is static, but
// what is registered is appended to it; so a node of our own shows where the others are.
//
// iSER has buffers and a protection domain of its own and does not use these pointers.

#include "bstore_plugin/transport_hook.h"

#include <stdlib.h>
#include <string.h>

#include "bstore_plugin/plugin_api.h"

// clang-format off
#include "list.h"
#include "iscsi/transport.h"
// clang-format on

// A tgtd without iSCSI has none.
extern int iscsi_transport_register(struct iscsi_transport* transport) __attribute__((weak));

static void* (*plain_alloc)(struct iscsi_connection* connection, size_t bytes);
static void (*plain_free)(struct iscsi_connection* connection, void* buffer);

static void* alloc_data_buf(struct iscsi_connection* connection, size_t bytes) {
  void* buffer = lunar_plugin_alloc_buffer(bytes);
  return buffer ? buffer : plain_alloc(connection, bytes);
}

// Buffers from before the hook come here too, and NULL.
static void free_data_buf(struct iscsi_connection* connection, void* buffer) {
  if (!lunar_plugin_free_buffer(buffer)) plain_free(connection, buffer);
}

struct iscsi_transport* lunar_find_tcp_transport(void) {
  static struct iscsi_transport own;
  struct iscsi_transport* found = NULL;
  struct list_head *head, *at;
  if (!iscsi_transport_register) return NULL;
  own.name = "lunar";
  iscsi_transport_register(&own);
  head = own.iscsi_transport_siblings.next;  // ours is the last, so this is the bare head
  for (at = own.iscsi_transport_siblings.prev; at != head && !found; at = at->prev) {
    struct iscsi_transport* transport =
        list_entry(at, struct iscsi_transport, iscsi_transport_siblings);
    if (!strcmp(transport->name, "iscsi") && transport->alloc_data_buf && transport->free_data_buf)
      found = transport;
  }
  list_del(&own.iscsi_transport_siblings);
  return found;
}

int lunar_take_data_buffers(void) {
  struct iscsi_transport* transport;
  if (plain_alloc) return 0;
  transport = lunar_find_tcp_transport();
  if (!transport) return -1;
  plain_alloc = transport->alloc_data_buf;
  plain_free = transport->free_data_buf;
  transport->alloc_data_buf = alloc_data_buf;
  transport->free_data_buf = free_data_buf;
  return 0;
}
