// SPDX-License-Identifier: GPL-2.0-only
#include "bstore_plugin/core_guard.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "bstore_plugin/reservations.h"

// clang-format off
#include "list.h"
#include "util.h"
#include "tgtd.h"
#include "scsi.h"
#include "spc.h"
#include "target.h"
#include "tgtadm_error.h"
#include "iscsi/iscsid.h"
// clang-format on

typedef int (*perform_fn)(int host_no, struct scsi_cmd* cmd);

// A tgtd without iSCSI has none.
extern struct iscsi_session* session_lookup_by_tsih(uint16_t tsih) __attribute__((weak));
extern void session_get(struct iscsi_session* session) __attribute__((weak));
extern void session_put(struct iscsi_session* session) __attribute__((weak));

// tgt's own, the same for all LUNs.
static void (*core_cmd_done)(struct target* target, struct scsi_cmd* cmd);
static perform_fn core_mode_sense;
static perform_fn core_mode_select;

int lunar_check_condition(struct scsi_cmd* cmd, unsigned char key, unsigned short asc) {
  scsi_set_in_resid_by_actual(cmd, 0);
  scsi_set_out_resid_by_actual(cmd, 0);
  sense_data_build(cmd, key, asc);
  return SAM_STAT_CHECK_CONDITION;
}

int lunar_answer_within(int host_no, struct scsi_cmd* cmd, perform_fn perform, void* answer,
                        uint32_t room) {
  void* const buffer = scsi_get_in_buffer(cmd);
  const uint32_t length = scsi_get_in_length(cmd);
  uint32_t bytes;
  int status;
  scsi_set_in_buffer(cmd, answer);
  scsi_set_in_length(cmd, room);
  status = perform(host_no, cmd);
  bytes = status == SAM_STAT_GOOD ? scsi_get_in_transfer_len(cmd) : 0;
  scsi_set_in_buffer(cmd, buffer);
  scsi_set_in_length(cmd, length);
  scsi_set_in_resid_by_actual(cmd, bytes);
  if (buffer) memcpy(buffer, answer, bytes < length ? bytes : length);
  return status;
}

// -- every command

static int guarded_perform(int tid, struct scsi_cmd* cmd) {
  // tgt's iSCSI rounds lengths up in 32 bits, so a length can be there without the buffer, or with
  // one that is far smaller (the second length of a bidirectional command, of which we have none).
  if (!scsi_get_in_buffer(cmd) || scsi_get_data_dir(cmd) == DATA_BIDIRECTIONAL)
    scsi_set_in_length(cmd, 0);
  if (!scsi_get_out_buffer(cmd)) scsi_set_out_length(cmd, 0);
  // tgt begins with "all of the buffer is sent", which is so for commands that end early (unit
  // attention, reservation conflict) or have no data: the initiator would get what another one's
  // command left in that memory. What has data says so.
  scsi_set_in_resid_by_actual(cmd, 0);
  return target_cmd_perform(tid, cmd);
}

// A session that stays until tgt's loop goes round.
struct held {
  struct iscsi_session* session;
  struct list_head siblings;
};
static LIST_HEAD(all_held);
static struct event_data release_event;

static void release_held(struct event_data* unused) {
  struct held *each, *next;
  (void)unused;
  list_for_each_entry_safe(each, next, &all_held, siblings) {
    list_del(&each->siblings);
    session_put(each->session);
    free(each);
  }
}

// tgt aborts a command in a walk through the nexuses of the target. Where the connection is closed
// the command is freed, and with the last one of its session the nexus at which the walk is.
static void hold_session(uint64_t nexus_id) {
  struct iscsi_session* const session =
      session_lookup_by_tsih ? session_lookup_by_tsih((uint16_t)nexus_id) : NULL;
  struct held* held;
  if (!session) return;
  list_for_each_entry(held, &all_held, siblings) {
    if (held->session == session) return;
  }
  held = malloc(sizeof(*held));
  if (!held) abort();  // a few bytes
  held->session = session;
  session_get(session);
  list_add_tail(&held->siblings, &all_held);
  if (!release_event.sched_handler) tgt_init_sched_event(&release_event, release_held, NULL);
  tgt_add_sched_event(&release_event);
}

// Two faults of tgt's queue. A command that is aborted while it waits in the queue stays there when
// it is freed, and is counted as one that ended. And ending a command runs those that wait behind
// it; if one of these ends at once, which frees it, as its connection is closed, the same happens
// within, and the outer run goes on with what the inner one has freed.
static void guarded_done(struct target* target, struct scsi_cmd* cmd) {
  static struct scsi_lu* running;  // its queue is being run
  struct scsi_lu* const lu = cmd->dev;
  struct scsi_lu* const outer = running;
  if (!cmd_processed(cmd)) {
    list_del(&cmd->qlist);
    cmd->attribute = MSG_SIMPLE_TAG;  // it has blocked nobody
    set_cmd_processed(cmd);
    lu->cmd_queue.active_cmd++;  // comes again when it is answered
    hold_session(cmd->cmd_itn_id);
    return;
  }
  if (outer == lu) {
    list_del(&cmd->c_hlist);
    lu->cmd_queue.active_cmd--;
    if (cmd->attribute != MSG_SIMPLE_TAG) clear_queue_blocked(&lu->cmd_queue);
    return;
  }
  running = lu;
  core_cmd_done(target, cmd);
  running = outer;
}

static void guard_queue(struct scsi_lu* lu) {
  if (lu->cmd_perform != target_cmd_perform) return;
  core_cmd_done = lu->cmd_done;
  lu->cmd_perform = guarded_perform;
  lu->cmd_done = guarded_done;
}

// -- MODE SENSE, MODE SELECT

static int mode_sense(int host_no, struct scsi_cmd* cmd) {
  static uint8_t answer[1 << 16];  // the allocation length has 16 bits
  if (device_reserved(cmd)) return SAM_STAT_RESERVATION_CONFLICT;
  return lunar_answer_within(host_no, cmd, core_mode_sense, answer, sizeof(answer));
}

// tgt takes a block descriptor as it comes, even from behind the end of what was sent, and shows it
// to everybody from then on. Ours cannot be changed: what would change it is refused.
static int check_block_descriptor(struct scsi_cmd* cmd) {
  const uint8_t* data = scsi_get_out_buffer(cmd);
  const uint8_t* const ours = cmd->dev->mode_block_descriptor;
  const uint8_t* const cdb = cmd->scb;
  const int is_six = cdb[0] == MODE_SELECT;
  const uint32_t announced = is_six ? cdb[4] : get_unaligned_be16(cdb + 7);
  const uint32_t given = scsi_get_out_length(cmd);
  const uint32_t length = announced < given ? announced : given;
  const uint32_t header = is_six ? 4 : 8;
  uint32_t descriptor;
  if (length < header) return SAM_STAT_GOOD;  // tgt refuses it
  descriptor = is_six ? data[3] : get_unaligned_be16(data + 6);
  if (descriptor != BLOCK_DESCRIPTOR_LEN) return SAM_STAT_GOOD;  // none, or tgt refuses it
  if (length < header + descriptor)
    return lunar_check_condition(cmd, ILLEGAL_REQUEST, ASC_PARAMETER_LIST_LENGTH_ERR);
  data += header;
  if (memcmp(data + 4, ours + 4, 4) || (get_unaligned_be32(data) && memcmp(data, ours, 4)))
    return lunar_check_condition(cmd, ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_PARMS);
  return SAM_STAT_GOOD;
}

static int mode_select(int host_no, struct scsi_cmd* cmd) {
  uint8_t ours[BLOCK_DESCRIPTOR_LEN];
  int status;
  if (device_reserved(cmd)) return SAM_STAT_RESERVATION_CONFLICT;
  status = check_block_descriptor(cmd);
  if (status != SAM_STAT_GOOD) return status;
  memcpy(ours, cmd->dev->mode_block_descriptor, sizeof(ours));
  status = core_mode_select(host_no, cmd);
  memcpy(cmd->dev->mode_block_descriptor, ours, sizeof(ours));
  return status;
}

void lunar_guard_lun(struct scsi_lu* lu) {
  struct device_type_operations* const ops = lu->dev_type_template.ops;
  struct scsi_lu* controller;
  core_mode_sense = ops[MODE_SENSE].cmd_perform;
  core_mode_select = ops[MODE_SELECT].cmd_perform;
  ops[MODE_SENSE].cmd_perform = ops[MODE_SENSE_10].cmd_perform = mode_sense;
  ops[MODE_SELECT].cmd_perform = ops[MODE_SELECT_10].cmd_perform = mode_select;
  lunar_guard_reservations(lu);
  guard_queue(lu);
  list_for_each_entry(controller, &lu->tgt->device_list, device_siblings) {
    if (controller->attrs.device_type == TYPE_RAID) guard_queue(controller);
  }
}
