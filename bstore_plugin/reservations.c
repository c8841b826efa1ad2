// SPDX-License-Identifier: GPL-2.0-only
#include "bstore_plugin/reservations.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bstore_plugin/core_guard.h"

// clang-format off
#include "list.h"
#include "util.h"
#include "tgtd.h"
#include "scsi.h"
#include "spc.h"
#include "target.h"
#include "driver.h"
#include "tgtadm_error.h"
#include "iscsi/iscsid.h"
// clang-format on

#define OUT_ACTIONS 9  // REGISTER … REGISTER AND MOVE, and the end of the list
#define IN_ACTIONS 5
#define OUT_LIST_BYTES 24
#define SMALLEST_TRANSPORT_ID 24
#define ID_ROOM 320  // a name has at most 223 bytes

// In scsi_cmd.state, of which tgt uses the lowest bits.
#define AT_SERVERS (1UL << 16)
#define PREEMPTED (1UL << 17)

typedef int (*perform_fn)(int host_no, struct scsi_cmd* cmd);

// A tgtd without iSCSI has none.
extern struct iscsi_session* session_lookup_by_tsih(uint16_t tsih) __attribute__((weak));

// The same for all LUNs: tgt's list, with ours in their places.
static struct service_action out_actions[OUT_ACTIONS];
static struct service_action in_actions[IN_ACTIONS];

static perform_fn core_action(uint32_t action) {
  const struct service_action* found = find_service_action(persistent_reserve_out_actions, action);
  return found ? found->cmd_perform : spc_illegal_op;
}

static struct registration* registration_of(const struct scsi_cmd* cmd) {
  struct registration* each;
  list_for_each_entry(each, &cmd->dev->registration_list, registration_siblings) {
    if (each->nexus_id == cmd->it_nexus->itn_id && each->ctime == cmd->it_nexus->ctime) return each;
  }
  return NULL;
}

static int is_of_all_registrants(uint8_t type) {
  return type == PR_TYPE_WRITE_EXCLUSIVE_ALLREG || type == PR_TYPE_EXCLUSIVE_ACCESS_ALLREG;
}

static int is_of_registrants(uint8_t type) {
  return is_of_all_registrants(type) || type == PR_TYPE_WRITE_EXCLUSIVE_REGONLY ||
         type == PR_TYPE_EXCLUSIVE_ACCESS_REGONLY;
}

static int is_known(uint8_t type) {
  return is_of_registrants(type) || type == PR_TYPE_WRITE_EXCLUSIVE ||
         type == PR_TYPE_EXCLUSIVE_ACCESS;
}

static int has_list(struct scsi_cmd* cmd, uint32_t bytes) {
  return get_unaligned_be32(&cmd->scb[5]) >= bytes && scsi_get_out_length(cmd) >= bytes;
}

// -- PERSISTENT RESERVE OUT

// RELEASE, and REGISTER of key 0 by the holder. tgt tells that the reservation is released to all
// nexuses but one registrant, for each; so to the one that did it, and for the wrong types. Here
// tgt sees no registrant but that one, so that it tells nobody, and those are told whom SPC names.
static int release(int host_no, struct scsi_cmd* cmd, perform_fn action) {
  struct scsi_lu* const lu = cmd->dev;
  struct registration* const own = registration_of(cmd);
  struct registration *each, *next;
  LIST_HEAD(others);
  uint8_t type;
  int status;
  if (!own || !lu->pr_holder) return action(host_no, cmd);
  type = lu->pr_holder->pr_type;
  if (lu->pr_holder != own && !is_of_all_registrants(type)) return action(host_no, cmd);
  list_for_each_entry_safe(each, next, &lu->registration_list, registration_siblings) {
    if (each == own) continue;
    list_del(&each->registration_siblings);
    list_add_tail(&each->registration_siblings, &others);
  }
  status = action(host_no, cmd);
  list_for_each_entry_safe(each, next, &others, registration_siblings) {
    list_del(&each->registration_siblings);
    list_add_tail(&each->registration_siblings, &lu->registration_list);
    if (!lu->pr_holder && is_of_registrants(type))
      ua_sense_add_it_nexus(each->nexus_id, lu, ASC_RESERVATIONS_RELEASED);
  }
  return status;
}

static int pr_release(int host_no, struct scsi_cmd* cmd) {
  return release(host_no, cmd, core_action(PR_OUT_RELEASE));
}

static int pr_register(int host_no, struct scsi_cmd* cmd) {
  const perform_fn action = core_action(cmd->scb[1] & 0x1f);
  const struct registration* const holder = cmd->dev->pr_holder;
  // Of all registrants, another one holds it when one goes; tgt does that.
  if (!holder || is_of_all_registrants(holder->pr_type)) return action(host_no, cmd);
  return release(host_no, cmd, action);
}

static int pr_preempt(int host_no, struct scsi_cmd* cmd) {
  struct scsi_lu* const lu = cmd->dev;
  struct registration* const own = registration_of(cmd);
  struct registration* const holder = lu->pr_holder;
  if (own && holder && has_list(cmd, OUT_LIST_BYTES)) {
    const uint8_t* const list = scsi_get_out_buffer(cmd);
    const uint64_t key = get_unaligned_be64(list + 8);
    const int is_of_all = is_of_all_registrants(holder->pr_type);
    const int takes = is_of_all ? !key : holder->key == key;
    if (takes && !is_known(cmd->scb[2] & 0x0f))
      return lunar_check_condition(cmd, ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_CDB);
    // tgt would free a registration that it goes on to call the holder. All are: take ours.
    if (is_of_all && key && holder != own && holder->key == key) {
      own->pr_type = holder->pr_type;
      own->pr_scope = holder->pr_scope;
      lu->pr_holder = own;
    }
  }
  return core_action(PR_OUT_PREEMPT)(host_no, cmd);
}

// PREEMPT AND ABORT waits for a command: one of these for each.
struct awaited {
  struct scsi_cmd* command;
  struct scsi_cmd* preempting;
  struct list_head siblings;
};
static LIST_HEAD(all_awaited);

static int awaits_any(const struct scsi_cmd* preempting) {
  const struct awaited* each;
  list_for_each_entry(each, &all_awaited, siblings) {
    if (each->preempting == preempting) return 1;
  }
  return 0;
}

void lunar_command_began(struct scsi_cmd* cmd) { cmd->state |= AT_SERVERS; }

void lunar_command_ended(struct scsi_cmd* cmd) {
  struct awaited *each, *next;
  cmd->state &= ~AT_SERVERS;
  list_for_each_entry_safe(each, next, &all_awaited, siblings) {
    struct scsi_cmd* const preempting = each->preempting;
    if (each->command != cmd) continue;
    list_del(&each->siblings);
    free(each);
    if (!awaits_any(preempting)) target_cmd_io_done(preempting, SAM_STAT_GOOD);
  }
}

int lunar_was_preempted(const struct scsi_cmd* cmd) { return !!(cmd->state & PREEMPTED); }

static void abort_commands(struct scsi_cmd* preempting, const struct registration* of) {
  struct it_nexus* const nexus = it_nexus_lookup(preempting->c_target->tid, of->nexus_id);
  struct scsi_cmd* each;
  if (!nexus || nexus == preempting->it_nexus) return;
  if (nexus->ctime != of->ctime) return;  // a later one, which has got its number
  list_for_each_entry(each, &nexus->cmd_list, c_hlist) {
    struct awaited* awaited;
    if (each->dev != preempting->dev) continue;
    each->state |= PREEMPTED;
    if (!(each->state & AT_SERVERS)) continue;  // waits in tgt's queue, or has ended
    awaited = calloc(1, sizeof(*awaited));
    if (!awaited) abort();  // a few bytes
    awaited->command = each;
    awaited->preempting = preempting;
    list_add_tail(&awaited->siblings, &all_awaited);
  }
}

// What the preempted nexuses have at the servers is cancelled, and has ended when this is answered.
// A write that a server may yet carry out is ahead of all that comes later, on the same session.
static int pr_preempt_and_abort(int host_no, struct scsi_cmd* cmd) {
  struct scsi_lu* const lu = cmd->dev;
  struct registration *each, *next;
  LIST_HEAD(before);
  int status;
  // Copies, as tgt frees those that it takes out.
  list_for_each_entry(each, &lu->registration_list, registration_siblings) {
    struct registration* const copy = malloc(sizeof(*copy));
    if (!copy) abort();
    *copy = *each;
    list_add_tail(&copy->registration_siblings, &before);
  }
  status = pr_preempt(host_no, cmd);
  list_for_each_entry_safe(each, next, &before, registration_siblings) {
    const struct registration* left = NULL;
    list_for_each_entry(left, &lu->registration_list, registration_siblings) {
      if (left->nexus_id == each->nexus_id && left->ctime == each->ctime) break;
    }
    if (status == SAM_STAT_GOOD && &left->registration_siblings == &lu->registration_list)
      abort_commands(cmd, each);
    free(each);
  }
  if (awaits_any(cmd)) set_cmd_async(cmd);
  return status;
}

// SPC-4 7.6.4.6. Its length; the whole is at least 24 bytes and a multiple of 4.
static uint32_t encode_transport_id(uint64_t nexus, uint8_t* out, size_t room) {
  const struct iscsi_session* session =
      session_lookup_by_tsih ? session_lookup_by_tsih((uint16_t)nexus) : NULL;
  int text = 0;
  uint32_t bytes;
  memset(out, 0, room);
  out[0] = 0x45;  // iSCSI, with the session's ISID
  if (session && session->initiator) {
    const uint8_t* const isid = session->isid;
    text = snprintf((char*)out + 4, room - 8, "%s,i,0x%02x%02x%02x%02x%02x%02x", session->initiator,
                    isid[0], isid[1], isid[2], isid[3], isid[4], isid[5]);
  }
  if (text < 0 || (size_t)text >= room - 8) text = 0;
  bytes = (4 + (uint32_t)text + 1 + 3) & ~3u;
  if (bytes < SMALLEST_TRANSPORT_ID) bytes = SMALLEST_TRANSPORT_ID;
  put_unaligned_be16((uint16_t)(bytes - 4), out + 2);
  return bytes;
}

// tgt wants the TransportID as it writes it itself, in a form that is not SPC's; whoever sends the
// right one of the nexus means it.
static void translate_transport_id(struct scsi_cmd* cmd, const struct registration* to) {
  uint8_t* const list = scsi_get_out_buffer(cmd);
  const uint32_t given = get_unaligned_be32(list + 20);
  uint8_t right[ID_ROOM];
  char theirs[ID_ROOM] = "";
  int length;
  if (given > sizeof(right) || !has_list(cmd, OUT_LIST_BYTES + given)) return;
  if (encode_transport_id(to->nexus_id, right, sizeof(right)) != given ||
      memcmp(right, list + OUT_LIST_BYTES, given))
    return;
  length = tgt_drivers[cmd->c_target->lid]->transportid(cmd->dev->tgt->tid, to->nexus_id, theirs,
                                                        sizeof(theirs));
  if (length < SMALLEST_TRANSPORT_ID || (uint32_t)length > given) return;
  memcpy(list + OUT_LIST_BYTES, theirs, (size_t)length);
  put_unaligned_be32((uint32_t)length, list + 20);
}

// The one that tgt would take, too.
static struct registration* first_with_key(struct scsi_lu* lu, uint64_t key) {
  struct registration* each;
  list_for_each_entry(each, &lu->registration_list, registration_siblings) {
    if (each->key == key) return each;
  }
  return NULL;
}

static int pr_register_and_move(int host_no, struct scsi_cmd* cmd) {
  struct scsi_lu* const lu = cmd->dev;
  struct registration* const own = registration_of(cmd);
  struct registration* to;
  uint8_t type, scope;
  int status;
  if (!own) return SAM_STAT_RESERVATION_CONFLICT;
  if (!lu->pr_holder) return lunar_check_condition(cmd, ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_CDB);
  if (lu->pr_holder != own || is_of_all_registrants(own->pr_type))
    return SAM_STAT_RESERVATION_CONFLICT;
  if (!has_list(cmd, OUT_LIST_BYTES))
    return lunar_check_condition(cmd, ILLEGAL_REQUEST, ASC_PARAMETER_LIST_LENGTH_ERR);
  to = first_with_key(lu, get_unaligned_be64((uint8_t*)scsi_get_out_buffer(cmd) + 8));
  if (!to || to == own)  // tgt would free the holder
    return lunar_check_condition(cmd, ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_PARMS);
  type = own->pr_type;
  scope = own->pr_scope;
  translate_transport_id(cmd, to);
  status = core_action(PR_OUT_REGISTER_AND_MOVE)(host_no, cmd);
  if (status == SAM_STAT_GOOD && lu->pr_holder == to) {  // tgt leaves it without a type
    to->pr_type = type;
    to->pr_scope = scope;
  }
  return status;
}

// -- PERSISTENT RESERVE IN

static int pr_read_full_status(int host_no, struct scsi_cmd* cmd) {
  static uint8_t answer[1 << 16];  // the allocation length has 16 bits
  struct scsi_lu* const lu = cmd->dev;
  const struct registration* const holder = lu->pr_holder;
  const uint32_t allocated = get_unaligned_be16(&cmd->scb[7]);
  uint32_t room = allocated, at = 8, whole = 8;
  struct registration* each;
  (void)host_no;
  memset(answer, 0, 8);
  put_unaligned_be32(lu->prgeneration, answer);
  list_for_each_entry(each, &lu->registration_list, registration_siblings) {
    uint8_t descriptor[24 + ID_ROOM] = {0};
    const uint32_t id_bytes = encode_transport_id(each->nexus_id, descriptor + 24, ID_ROOM);
    put_unaligned_be64(each->key, descriptor);
    if (holder && (holder == each || is_of_all_registrants(holder->pr_type))) {
      descriptor[12] = 0x01;
      descriptor[13] = (uint8_t)(holder->pr_scope << 4 | holder->pr_type);
    }
    put_unaligned_be16(1, descriptor + 18);  // the relative port: a target has one
    put_unaligned_be32(id_bytes, descriptor + 20);
    whole += 24 + id_bytes;
    if (at + 24 + id_bytes > sizeof(answer)) continue;
    memcpy(answer + at, descriptor, 24 + id_bytes);
    at += 24 + id_bytes;
  }
  put_unaligned_be32(whole - 8, answer + 4);
  if (room > scsi_get_in_length(cmd)) room = scsi_get_in_length(cmd);
  if (room) memcpy(scsi_get_in_buffer(cmd), answer, room < at ? room : at);
  scsi_set_in_resid_by_actual(cmd, allocated < at ? allocated : at);
  return SAM_STAT_GOOD;
}

// -- the tables

static int copy_actions(struct service_action* to, int room, const struct service_action* from) {
  int count = 0;
  for (; from->cmd_perform && count < room - 1; ++from) to[count++] = *from;
  return count;
}

static void replace(struct service_action* actions, uint32_t action, perform_fn by) {
  struct service_action* const found = find_service_action(actions, action);
  if (found) found->cmd_perform = by;
}

void lunar_guard_reservations(struct scsi_lu* lu) {
  struct device_type_operations* const ops = lu->dev_type_template.ops;
  if (!out_actions[0].cmd_perform) {
    const int num_in = copy_actions(in_actions, IN_ACTIONS, persistent_reserve_in_actions);
    const int num_out = copy_actions(out_actions, OUT_ACTIONS, persistent_reserve_out_actions);
    out_actions[num_out].service_action = PR_OUT_PREEMPT_AND_ABORT;
    out_actions[num_out].cmd_perform = pr_preempt_and_abort;
    replace(out_actions, PR_OUT_REGISTER, pr_register);
    replace(out_actions, PR_OUT_REGISTER_AND_IGNORE_EXISTING_KEY, pr_register);
    replace(out_actions, PR_OUT_RELEASE, pr_release);
    replace(out_actions, PR_OUT_PREEMPT, pr_preempt);
    replace(out_actions, PR_OUT_REGISTER_AND_MOVE, pr_register_and_move);
    in_actions[num_in].service_action = PR_IN_READ_FULL_STATUS;
    in_actions[num_in].cmd_perform = pr_read_full_status;
  }
  ops[PERSISTENT_RESERVE_OUT].service_actions = out_actions;
  ops[PERSISTENT_RESERVE_IN].service_actions = in_actions;
}

int lunar_may_not_read(struct scsi_cmd* cmd) {
  struct device_type_operations* const op = &cmd->dev->dev_type_template.ops[cmd->scb[0]];
  const uint8_t before = op->pr_conflict_bits;
  int is_refused;
  op->pr_conflict_bits = PR_EA_FA | PR_EA_FN;
  is_refused = spc_access_check(cmd);
  op->pr_conflict_bits = before;
  return is_refused;
}
