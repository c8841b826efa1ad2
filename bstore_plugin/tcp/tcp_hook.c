// SPDX-License-Identifier: GPL-2.0-only
// tgt's side of the fast iSCSI/TCP. tgt's code for a connection stays as it is, with its login,
// its digests and its tasks; what is replaced is what drives it. Its transport "iscsi" is a table
// of function pointers: reading, writing, asking for events and data buffers are ours from
// lunar_take_tcp() on. A connection is taken over the first time that one of them is called for it,
// which gives it an event handler of ours too.
//
// tgt's handlers are called just when tgt's own event handler would call them: receiving while tgt
// asks for EPOLLIN, sending while it asks for EPOLLOUT. They end the process in any other case.

#include "bstore_plugin/tcp/tcp_hook.h"

#include <netdb.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "bstore_plugin/tcp/tcp_api.h"
#include "bstore_plugin/transport_hook.h"

// clang-format off
#include "iscsi/iscsid.h"
#include "work.h"
// clang-format on

// A tgtd without iSCSI has none of these.
extern void iscsi_rx_handler(struct iscsi_connection* connection) __attribute__((weak));
extern int iscsi_tx_handler(struct iscsi_connection* connection) __attribute__((weak));
extern void conn_close(struct iscsi_connection* connection) __attribute__((weak));

// tgt 1.0.85 keeps a connection of its TCP transport in such a struct, which no header has. Only fd
// is used, and compared with what tgt says of the connection before it is trusted.
struct tcp_private {
  int fd;
  struct list_head siblings;
  int nop[4];
  long ttt;
  struct iscsi_connection connection;
};

static struct iscsi_transport plain;  // what we replaced; its name is NULL until then
static struct event_data turn_event;
static struct tgt_work tick_work;

static int fd_of(const struct iscsi_connection* connection) {
  return ((const struct tcp_private*)((const char*)connection -
                                      offsetof(struct tcp_private, connection)))
      ->fd;
}

// -- what the C++ side asks of tgt

static void host_receive(void* connection) { iscsi_rx_handler(connection); }
static void host_send(void* connection) { iscsi_tx_handler(connection); }
static void host_close(void* connection) { conn_close(connection); }

static enum lunar_tcp_phase host_phase(const void* handle) {
  const struct iscsi_connection* connection = handle;
  switch (connection->state) {
    case STATE_SCSI:
      return LUNAR_TCP_FULL;
    case STATE_CLOSE:
      return LUNAR_TCP_CLOSING;
    default:
      return LUNAR_TCP_NEGOTIATING;
  }
}

static int host_has_output(const void* handle) {
  const struct iscsi_connection* connection = handle;
  return connection->tx_task || !list_empty(&connection->tx_clist);
}

static void host_set_closing(void* handle) {
  struct iscsi_connection* connection = handle;
  connection->state = STATE_CLOSE;
}

static void host_watch(int fd, int events) {
  if (tgt_event_modify(fd, events)) eprintf("lunar: cannot watch connection %d\n", fd);
}

static void run_turn(struct event_data* event) {
  (void)event;
  lunar_tcp_turn();
}
static void host_schedule_turn(void) { tgt_add_sched_event(&turn_event); }

static void run_tick(void* unused) {
  (void)unused;
  lunar_tcp_tick();
}
static void host_schedule_tick(void) { add_work(&tick_work, 1); }

static const struct lunar_tcp_host host = {
    .receive = host_receive,
    .send = host_send,
    .phase = host_phase,
    .has_output = host_has_output,
    .set_closing = host_set_closing,
    .close = host_close,
    .watch = host_watch,
    .schedule_turn = host_schedule_turn,
    .schedule_tick = host_schedule_tick,
};

// -- taking over a connection

static void on_ready(int fd, int events, void* connection) {
  struct lunar_tcp_connection* own = lunar_tcp_find(fd, connection);
  if (own) lunar_tcp_on_ready(own, events);
}

// Whether `fd` has the peer that tgt knows for the connection; then `host` is its address.
static int is_its_socket(struct iscsi_connection* connection, int fd, char host[NI_MAXHOST]) {
  struct sockaddr_storage known, found;
  socklen_t known_bytes = sizeof(known), found_bytes = sizeof(found);
  if (fd < 0 || plain.ep_getpeername(connection, (struct sockaddr*)&known, &known_bytes)) return 0;
  if (getpeername(fd, (struct sockaddr*)&found, &found_bytes) || known_bytes != found_bytes ||
      memcmp(&known, &found, known_bytes))
    return 0;
  return !getnameinfo((struct sockaddr*)&found, found_bytes, host, NI_MAXHOST, NULL, 0,
                      NI_NUMERICHOST);
}

// NULL if it stays tgt's.
static struct lunar_tcp_connection* take_over(struct iscsi_connection* connection, int wants_input,
                                              int wants_output) {
  const int fd = fd_of(connection);
  char host[NI_MAXHOST];
  int on = 0;
  if (connection->closed || connection->state == STATE_CLOSE) return NULL;
  if (!is_its_socket(connection, fd, host)) return NULL;  // has no peer any more: tgt will find out
  setsockopt(fd, IPPROTO_TCP, TCP_CORK, &on, sizeof(on));  // may be set, in the middle of a PDU
  tgt_event_del(fd);
  if (tgt_event_add(fd, EPOLLIN, on_ready, connection)) {
    eprintf("lunar: no memory to watch connection %d, which is closed\n", fd);
    connection->state = STATE_CLOSE;
    return NULL;
  }
  return lunar_tcp_adopt(fd, connection, wants_input, wants_output, host);
}

static struct lunar_tcp_connection* driven(const struct iscsi_connection* connection) {
  return lunar_tcp_find(fd_of(connection), connection);
}

// -- what tgt asks of the transport

static int is_within(const void* at, size_t bytes, const void* begin, size_t capacity) {
  const char* first = at;
  const char* lowest = begin;
  return first >= lowest && bytes <= capacity && (size_t)(first - lowest) <= capacity - bytes;
}

static size_t data_capacity(const struct iscsi_task* task) {
  const struct iscsi_cmd* command = (const struct iscsi_cmd*)&task->req;
  const size_t known = lunar_tcp_capacity(task->data);
  const size_t immediate = ntoh24(task->req.dlength), expected = ntohl(command->data_length);
  if (known) return known;
  if (task_opcode(task) != ISCSI_OP_SCSI_CMD || immediate > expected) return (immediate + 3) & ~3UL;
  return (expected + 3) & ~3UL;
}

// Whether what tgt wants to receive in full feature phase belongs where it would put it. tgt takes
// offset and length of a DATA-OUT, and whether there is room for AHS or data at all, from the PDU.
static int has_place(const struct iscsi_connection* connection, const void* to, size_t bytes) {
  const struct iscsi_task* task = connection->rx_task;
  const int opcode = connection->req.bhs.opcode & ISCSI_OPCODE_MASK;
  if (is_within(to, bytes, connection, sizeof(*connection))) return 1;  // header, digest
  if (!task) return 0;
  if (opcode == ISCSI_OP_SCSI_CMD && task->ahs &&
      is_within(to, bytes, task->ahs, connection->req.bhs.hlength * 4u))
    return 1;
  return task->data && is_within(to, bytes, task->data, data_capacity(task));
}

// tgt makes a buffer of the length that a command expects, whatever its CDB says, and only then
// looks at the CDB. No LUN of ours takes more than half of it (MAXIMUM TRANSFER LENGTH). Lengths of
// 2 GiB wrap in tgt, too, and would leave a command with a length and no buffer.
static int fits_tgt(uint32_t length) { return length <= 64u << 20; }

// Whether the additional header, which has arrived, is one that tgt can take: it subtracts 1 from
// the length of an extended CDB, and goes on behind that without alignment.
static int is_sound(const struct iscsi_task* task, size_t bytes) {
  const unsigned char* at = task->ahs;
  if (bytes >= 4 && at[2] == ISCSI_AHSTYPE_CDB) {
    const size_t length = (size_t)at[0] << 8 | at[1];
    if (length == 0 || length + 3 > bytes) return 0;
    at += length + 3;
    bytes -= length + 3;
  }
  if (bytes < 8 || at[2] != ISCSI_AHSTYPE_RLENGTH) return 1;
  return fits_tgt((uint32_t)at[4] << 24 | at[5] << 16 | at[6] << 8 | at[7]);
}

static int ends_unsound_header(const struct iscsi_connection* connection, const void* to,
                               size_t bytes) {
  const struct iscsi_task* task = connection->rx_task;
  const size_t whole = connection->req.bhs.hlength * 4u;
  return task && task->ahs && is_within(to, bytes, task->ahs, whole) &&
         (const char*)to + bytes == (const char*)task->ahs + whole && !is_sound(task, whole);
}

static int is_in_list(const struct list_head* entry, const struct list_head* list) {
  const struct list_head* each;
  for (each = list->next; each != list; each = each->next) {
    if (each == entry) return 1;
  }
  return 0;
}

// The command that tgt will take for that of a DATA-OUT.
static struct iscsi_task* find_command(const struct iscsi_connection* connection, uint32_t tag) {
  struct iscsi_task* each;
  if (!connection->session) return NULL;
  list_for_each_entry(each, &connection->session->cmd_list, c_hlist) {
    if (each->tag == tag) return each;
  }
  return NULL;
}

// Whether a DATA-OUT whose header has arrived brings what its command waits for. tgt takes one for
// any command, in any state, and hands the command to SCSI, or queues it for another R2T, once
// more. It counts bytes and does not look where they belong, so that a gap would be written as it
// was in memory. With tgt, data is always in order, after one R2T at a time.
static int is_awaited(struct iscsi_connection* connection, const struct lunar_tcp_connection* own) {
  const struct iscsi_data* header = (const struct iscsi_data*)&connection->req.bhs;
  const struct iscsi_task* task = find_command(connection, header->itt);
  if (!task || task->conn != connection || !(task->req.flags & ISCSI_FLAG_CMD_WRITE)) return 0;
  if (task_in_scsi(task) || task_pending(task)) return 0;
  if (is_in_list(&task->c_list, &connection->tx_clist)) return 0;  // its R2T is not yet sent
  if (ntohl(header->offset) != (uint32_t)task->offset) return 0;
  if ((int64_t)ntoh24(header->dlength) > task->r2t_count) return 0;
  // The initiator may have its R2T before tgt has noted that all of it is sent.
  while (own && connection->tx_task == task && connection->state == STATE_SCSI)
    iscsi_tx_handler(connection);
  return connection->tx_task != task;
}

static int ends_header(const struct iscsi_connection* connection, const void* to, size_t bytes) {
  const struct iscsi_hdr* header = &connection->req.bhs;
  return is_within(to, bytes, header, sizeof(*header)) &&
         (const char*)to + bytes == (const char*)(header + 1);
}

static size_t refuse(const struct iscsi_connection* connection, const char* what) {
  eprintf("lunar: connection %d is closed: %s (opcode %x)\n", fd_of(connection), what,
          connection->req.bhs.opcode & ISCSI_OPCODE_MASK);
  lunar_tcp_refused();
  return 0;
}

static size_t fast_read(struct iscsi_connection* connection, void* to, size_t bytes) {
  struct lunar_tcp_connection* own = driven(connection);
  const int is_full = connection->state == STATE_SCSI;
  size_t got;
  // Called because tgt waits for input; in negotiation it then waits for nothing else.
  if (!own) own = take_over(connection, 1, is_full && host_has_output(connection));
  if (is_full && !has_place(connection, to, bytes))
    return refuse(connection, "the data of a PDU has no place in its command's buffer");
  got = own ? (size_t)lunar_tcp_read(own, to, bytes) : plain.ep_read(connection, to, bytes);
  if (!is_full || got > bytes) return got;
  if (ends_unsound_header(connection, to, got))
    return refuse(connection, "the lengths in a PDU's additional header are wrong");
  if (ends_header(connection, to, got) &&
      (connection->req.bhs.opcode & ISCSI_OPCODE_MASK) == ISCSI_OP_SCSI_DATA_OUT &&
      !is_awaited(connection, own))
    return refuse(connection, "no command waits for the data of a PDU");
  return got;
}

static size_t fast_write_begin(struct iscsi_connection* connection, void* from, size_t bytes) {
  struct lunar_tcp_connection* own = driven(connection);
  const int is_full = connection->state == STATE_SCSI;
  const void* base = NULL;
  if (!own) own = take_over(connection, is_full, 1);
  if (!own) return plain.ep_write_begin(connection, from, bytes);
  if (is_full && connection->tx_task) {
    base = scsi_get_in_buffer(&connection->tx_task->scmd);
    if (!base) base = connection->tx_task->data;
  }
  return (size_t)lunar_tcp_write(own, from, bytes, base);
}

static void fast_write_end(struct iscsi_connection* connection) {
  if (!driven(connection)) plain.ep_write_end(connection);
}

static void fast_event_modify(struct iscsi_connection* connection, int events) {
  const int wants_input = !!(events & EPOLLIN), wants_output = !!(events & EPOLLOUT);
  struct lunar_tcp_connection* own = driven(connection);
  if (own) {
    lunar_tcp_set_wanted(own, wants_input, wants_output);
  } else if (!take_over(connection, wants_input, wants_output)) {
    plain.ep_event_modify(connection, events);
  }
}

static size_t fast_close(struct iscsi_connection* connection) {
  struct lunar_tcp_connection* own = driven(connection);
  if (own) lunar_tcp_forget(own);
  // tgt frees it next, even a command that SCSI has or that one of its lists has, from which it is
  // freed as well. It is one of the connection's tasks, which tgt goes through at the end.
  connection->rx_task = NULL;
  return plain.ep_close(connection);
}

static void fast_release(struct iscsi_connection* connection) {
  struct lunar_tcp_connection* own = driven(connection);
  if (own) lunar_tcp_forget(own);  // only if tgt has not closed it
  plain.ep_release(connection);
}

// RFC 7143, 4.2.2.1: the initiator may send up to MaxCmdSN. tgt keeps whatever comes, and looks
// through all of it for each more.
static int is_in_window(const struct iscsi_connection* connection) {
  const struct iscsi_cmd* command = (const struct iscsi_cmd*)&connection->req.bhs;
  const struct iscsi_session* session = connection->session;
  const struct iscsi_task* each;
  if (!session || (command->opcode & ISCSI_OP_IMMEDIATE)) return 1;
  if (ntohl(command->cmdsn) == session->exp_cmd_sn) return 1;
  list_for_each_entry(each, &session->pending_cmd_list, c_list) {
    if (each->req.statsn == command->cmdsn) return 0;  // tgt's name for that field
  }
  return (int32_t)(ntohl(command->cmdsn) - session->exp_cmd_sn) <= (int32_t)session->max_queue_cmd;
}

static struct iscsi_task* fast_alloc_task(struct iscsi_connection* connection, size_t ext_bytes) {
  const struct iscsi_cmd* command = (const struct iscsi_cmd*)&connection->req.bhs;
  struct lunar_tcp_connection* own = driven(connection);
  struct iscsi_task* task;
  if ((command->opcode & ISCSI_OPCODE_MASK) == ISCSI_OP_SCSI_CMD &&
      !fits_tgt(ntohl(command->data_length))) {
    refuse(connection, "a command expects more than 64 MiB");
    return NULL;  // which tgt takes for a lack of memory, and closes the connection
  }
  if (connection->state == STATE_SCSI && !is_in_window(connection)) {
    refuse(connection, "a command is beyond MaxCmdSN, or its number came twice");
    return NULL;
  }
  task = plain.alloc_task(connection, ext_bytes);
  if (task && own) lunar_tcp_add_task(own);
  return task;
}

static void fast_free_task(struct iscsi_task* task) {
  struct lunar_tcp_connection* own = task->conn ? driven(task->conn) : NULL;
  if (own) lunar_tcp_remove_task(own);
  plain.free_task(task);
}

static void* fast_alloc_data_buf(struct iscsi_connection* connection, size_t bytes) {
  const struct iscsi_hdr* header = &connection->req.bhs;
  const int is_for_read = (header->opcode & ISCSI_OPCODE_MASK) != ISCSI_OP_SCSI_CMD ||
                          !(header->flags & ISCSI_FLAG_CMD_WRITE);
  struct lunar_tcp_connection* own = driven(connection);
  if (!is_for_read && own && !lunar_tcp_may_hold(own, bytes)) {
    refuse(connection, "the WRITEs of its initiator hold too much memory");
    return NULL;  // which tgt takes for a lack of memory, and closes the connection
  }
  return lunar_tcp_allocate(own, bytes, is_for_read);
}

// Buffers from before the take-over come here too, and NULL.
static void fast_free_data_buf(struct iscsi_connection* connection, void* buffer) {
  if (buffer && !lunar_tcp_release(buffer)) plain.free_data_buf(connection, buffer);
}

int lunar_take_tcp(void* registry) {
  struct iscsi_transport* transport;
  if (plain.name) return 0;
  if (!iscsi_rx_handler || !iscsi_tx_handler || !conn_close) return -1;
  transport = lunar_find_tcp_transport();
  if (!transport) return -1;
  tgt_init_sched_event(&turn_event, run_turn, NULL);
  tick_work.func = run_tick;
  lunar_tcp_start(&host, registry);
  plain = *transport;
  transport->ep_read = fast_read;
  transport->ep_write_begin = fast_write_begin;
  transport->ep_write_end = fast_write_end;
  transport->ep_event_modify = fast_event_modify;
  transport->ep_close = fast_close;
  transport->ep_release = fast_release;
  transport->alloc_task = fast_alloc_task;
  transport->free_task = fast_free_task;
  transport->alloc_data_buf = fast_alloc_data_buf;
  transport->free_data_buf = fast_free_data_buf;
  return 0;
}
