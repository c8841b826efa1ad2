/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

/* The C boundary between bs_lunar.c, which alone sees tgt's headers, and the C++ that knows SCSI.
 * Everything here runs on tgtd's one thread. Nothing throws. Pointers are borrowed for the call
 * unless said otherwise. */

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How a command ended. key 0 with status CHECK CONDITION does not occur. */
struct lunar_scsi_result {
  uint8_t status; /* SAM status */
  uint8_t sense_key;
  uint16_t asc_ascq;
  uint8_t has_info; /* INFORMATION field is valid */
  uint64_t info;
  uint32_t transferred_in; /* bytes the command wanted to send to the initiator */
  uint32_t transferred_out;
};

/* A command as tgt hands it over. cdb and buffers stay valid until complete(). */
struct lunar_scsi_command {
  void* handle; /* struct scsi_cmd */
  const uint8_t* cdb;
  uint32_t cdb_bytes;
  const void* data_out; /* from the initiator */
  uint32_t data_out_bytes;
  void* data_in; /* to the initiator */
  uint32_t data_in_bytes;
  uint8_t force_unit_access; /* the caching page says WCE=0 */
  uint8_t is_thin;           /* the LUN shows initiators what is not allocated */
};

/* What INQUIRY and the VPD pages say of a LUN. */
struct lunar_lun_info {
  uint64_t size;       /* bytes */
  char uuid_hex[33];   /* 32 hex digits */
  uint64_t numeric_id; /* 60 bits of the UUID, for the NAA designator */
  uint32_t max_compare_and_write_bytes;
  uint32_t max_transfer_bytes;
  uint64_t max_unmap_bytes;
  uint32_t max_unmap_descriptors;
  uint64_t max_write_same_bytes;
  uint32_t optimal_transfer_bytes; /* the object's size, at most max_transfer_bytes */
};

/* What bs_lunar.c does for the C++ side. */
struct lunar_host {
  /* Level-triggered read watch in tgtd's loop. 0, or -1. */
  int (*watch_fd)(int fd, void (*on_readable)(void* context), void* context);
  void (*unwatch_fd)(int fd);
  /* Runs on_turn(context) once before tgtd's loop next waits. Repeated calls count once. */
  void (*schedule)(void (*on_turn)(void* context), void* context);
  /* Ends a command. Only from an on_readable callback. It may free the command and may enter
   * lunar_lun_submit() again. */
  void (*complete)(void* handle, const struct lunar_scsi_result* result);
  /* True if the initiator wants the command ended (ABORT TASK, LUN RESET). */
  int (*is_aborted)(const void* handle);
  /* An image that lunar_lun_open() did not wait for is open now: tells initiators what the LUN is.
   * `info` is borrowed for the call. */
  void (*opened)(void* lu, const struct lunar_lun_info* info);
  /* The LUN has another size: tells initiators CAPACITY DATA HAS CHANGED. */
  void (*resized)(void* lu, uint64_t size);
  /* Has tgtd take its data buffers from lunar_plugin_alloc_buffer(). 0, or -1 if it cannot. */
  int (*take_data_buffers)(void);
  /* Has the plugin drive tgtd's iSCSI/TCP connections; counts into `registry`, a
   * lunar::PerfRegistry that is never destroyed. 0, or -1 if it cannot. */
  int (*take_tcp)(void* registry);
  /* One line to tgtd's log. */
  void (*log)(int is_error, const char* line);
};

struct lunar_lun;

/* A sentence why tgtadm is refused: for the log and last-error. */
void lunar_plugin_refuse(const char* sentence);

/* Once, when tgtd loads the plugin. Opens the cluster early if there is a configuration.
 * `tgt_version` is what the headers were. */
void lunar_plugin_init(const struct lunar_host* host, const char* tgt_version);

/* bs_init/bs_exit: parses bsopts ("conf=…;id=…;pool=…;OPTION=VALUE", may be NULL). `lu` is kept for
 * resized(). NULL after a sentence in the log and in last-error. */
struct lunar_lun* lunar_lun_create(void* lu, const char* bsopts);
void lunar_lun_destroy(struct lunar_lun* lun);

enum lunar_open_outcome {
  LUNAR_OPEN_DONE,    /* `info` is filled */
  LUNAR_OPEN_LATER,   /* host.opened() follows when the cluster has answered, unless the LUN is
                       * closed before, or what is wrong can be known only then */
  LUNAR_OPEN_REFUSED, /* after a sentence */
};

/* bs_open: waits at most lunar_lun_open_wait. `block_bytes` is the LUN's logical block length. */
enum lunar_open_outcome lunar_lun_open(struct lunar_lun* lun, const char* path,
                                       uint32_t block_bytes, struct lunar_lun_info* info);
/* 0 while the image is open; else the additional sense of NOT READY. */
uint16_t lunar_lun_unready(const struct lunar_lun* lun);
/* bs_close: returns at once; commands in flight end on their own. */
void lunar_lun_close(struct lunar_lun* lun);

/* Starts a command of a LUN that is ready; complete() follows, later, whatever it is. Of MODE
 * SELECT and START STOP UNIT it is what is left after tgt's part: to make durable what was written.
 */
void lunar_lun_submit(struct lunar_lun* lun, const struct lunar_scsi_command* command);
/* WCE is 0 by other means than a command: begins to make durable what was written before. */
void lunar_lun_write_back(struct lunar_lun* lun);

/* tgtd's data buffers from registered memory. NULL: none left, take plain memory. */
void* lunar_plugin_alloc_buffer(size_t bytes);
/* Nonzero if the buffer came from there. Takes any pointer. */
int lunar_plugin_free_buffer(void* buffer);

#ifdef __cplusplus
}
#endif
