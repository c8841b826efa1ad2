// SPDX-License-Identifier: GPL-2.0-only
// The tgt side of the plugin, in C because tgt's headers are: the backing-store template, the
// command table of a LUN, the VPD pages, and what the C++ side asks of tgtd (plugin_api.h).
//
// tgt's core parses only READ and WRITE, refuses COMPARE AND WRITE, answers GET LBA STATUS from the
// backing file and lacks reservation bits for some writers. A LUN has its own copy of the
// device-type table, so every command that touches the medium is sent to perform() below instead:
// it makes tgt's checks (reservation, medium, write protection), marks the command asynchronous and
// hands it over.

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "bstore_plugin/plugin_api.h"
#include "bstore_plugin/tcp/tcp_hook.h"
#include "bstore_plugin/transport_hook.h"

// tgt's headers include nothing themselves: their order matters.
// clang-format off
#include "list.h"
#include "util.h"
#include "tgtd.h"
#include "scsi.h"
#include "spc.h"
#include "target.h"
#include "tgtadm_error.h"
// clang-format on

#define ASC_CAPACITY_DATA_HAS_CHANGED 0x2a09
#define ASC_INTERNAL_FAILURE 0x4400
#define PR_READ_BITS (PR_EA_FA | PR_EA_FN)
#define PR_WRITE_BITS (PR_WE_FA | PR_EA_FA | PR_WE_FN | PR_EA_FN)
#define CACHING_PAGE 0x08
#define WCE_BIT 0x04

struct bs_lunar_lu {
  struct lunar_lun* lun;
  struct lunar_lun_info info;
  struct service_action service_actions[3];
};

static struct bs_lunar_lu* lunar_of(struct scsi_lu* lu) {
  return (struct bs_lunar_lu*)((char*)lu + sizeof(*lu));
}

// -- what the C++ side asks of tgtd

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

static int host_watch_fd(int fd, void (*on_readable)(void*), void* context) {
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

static void host_unwatch_fd(int fd) {
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

static void host_schedule(void (*on_turn)(void*), void* context) {
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

static void host_complete(void* handle, const struct lunar_scsi_result* result) {
  struct scsi_cmd* cmd = handle;
  if (scsi_get_data_dir(cmd) == DATA_READ || scsi_get_data_dir(cmd) == DATA_BIDIRECTIONAL)
    scsi_set_in_resid_by_actual(cmd, result->transferred_in);
  else
    scsi_set_in_resid_by_actual(cmd, 0);
  scsi_set_out_resid_by_actual(cmd, result->transferred_out);
  if (result->status == SAM_STAT_CHECK_CONDITION) {
    if (result->has_info)
      sense_data_build_with_info(cmd, result->sense_key, result->asc_ascq, result->info);
    else
      sense_data_build(cmd, result->sense_key, result->asc_ascq);
  }
  target_cmd_io_done(cmd, result->status);
}

static int host_is_aborted(const void* handle) {
  const struct scsi_cmd* cmd = handle;
  return cmd->mreq != NULL;
}

static void host_resized(void* handle, uint64_t size) {
  struct scsi_lu* lu = handle;
  const uint64_t blocks = size >> lu->blk_shift;
  lu->size = size;
  put_unaligned_be32(blocks >> 32 ? 0xffffffff : (uint32_t)blocks, lu->mode_block_descriptor);
  ua_sense_add_other_it_nexus(0, lu, ASC_CAPACITY_DATA_HAS_CHANGED);
}

static void host_log(int is_error, const char* line) {
  if (is_error)
    eprintf("lunar: %s\n", line);
  else
    dprintf("lunar: %s\n", line);
}

static const struct lunar_host host = {
    .watch_fd = host_watch_fd,
    .unwatch_fd = host_unwatch_fd,
    .schedule = host_schedule,
    .complete = host_complete,
    .is_aborted = host_is_aborted,
    .resized = host_resized,
    .take_data_buffers = lunar_take_data_buffers,
    .take_tcp = lunar_take_tcp,
    .log = host_log,
};

// -- commands

static int changes_medium(const uint8_t* cdb) {
  switch (cdb[0]) {
    case WRITE_6:
    case WRITE_10:
    case WRITE_12:
    case WRITE_16:
    case WRITE_VERIFY:
    case WRITE_VERIFY_12:
    case WRITE_VERIFY_16:
    case WRITE_SAME:
    case WRITE_SAME_16:
    case UNMAP:
    case ORWRITE_16:
    case COMPARE_AND_WRITE:
      return 1;
    default:
      return 0;
  }
}

static int check_condition(struct scsi_cmd* cmd, uint8_t key, uint16_t asc) {
  scsi_set_in_resid_by_actual(cmd, 0);
  scsi_set_out_resid_by_actual(cmd, 0);
  sense_data_build(cmd, key, asc);
  return SAM_STAT_CHECK_CONDITION;
}

static int perform(int host_no, struct scsi_cmd* cmd) {
  struct scsi_lu* lu = cmd->dev;
  (void)host_no;
  if (device_reserved(cmd)) return SAM_STAT_RESERVATION_CONFLICT;
  if (!lu->attrs.online) return check_condition(cmd, NOT_READY, ASC_MEDIUM_NOT_PRESENT);
  if (changes_medium(cmd->scb)) {
    if (lu->attrs.readonly || lu->attrs.swp)
      return check_condition(cmd, DATA_PROTECT, ASC_WRITE_PROTECT);
    if (cmd->scb[0] == UNMAP && !lu->attrs.thinprovisioning)
      return check_condition(cmd, ILLEGAL_REQUEST, ASC_INVALID_OP_CODE);
  }
  const struct mode_pg* caching = find_mode_page(lu, CACHING_PAGE, 0);
  struct lunar_scsi_command command = {
      .handle = cmd,
      .cdb = cmd->scb,
      .cdb_bytes = cmd->scb_len,
      .data_out = scsi_get_out_buffer(cmd),
      .data_out_bytes = scsi_get_out_length(cmd),
      .data_in = scsi_get_in_buffer(cmd),
      .data_in_bytes = scsi_get_in_length(cmd),
      .force_unit_access = caching && !(caching->mode_data[0] & WCE_BIT),
  };
  set_cmd_async(cmd);
  lunar_lun_submit(lunar_of(lu)->lun, &command);
  return SAM_STAT_GOOD;
}

// tgt calls this for what its own handlers still send to the store. None does: see take_commands().
static int bs_lunar_cmd_submit(struct scsi_cmd* cmd) {
  sense_data_build(cmd, HARDWARE_ERROR, ASC_INTERNAL_FAILURE);
  return -EINVAL;
}

static void take_commands(struct scsi_lu* lu) {
  static const uint8_t readers[] = {
      READ_6,       READ_10,   READ_12,   READ_16,   PRE_FETCH_10,
      PRE_FETCH_16, VERIFY_10, VERIFY_12, VERIFY_16,
  };
  static const uint8_t writers[] = {
      WRITE_6,           WRITE_10,
      WRITE_12,          WRITE_16,
      WRITE_VERIFY,      WRITE_VERIFY_12,
      WRITE_VERIFY_16,   WRITE_SAME,
      WRITE_SAME_16,     UNMAP,
      ORWRITE_16,        COMPARE_AND_WRITE,
      SYNCHRONIZE_CACHE, SYNCHRONIZE_CACHE_16,
  };
  struct device_type_operations* ops = lu->dev_type_template.ops;
  struct service_action* own = lunar_of(lu)->service_actions;
  const struct service_action* tgt_own =
      find_service_action(ops[SERVICE_ACTION_IN].service_actions, SAI_READ_CAPACITY_16);
  size_t i;
  for (i = 0; i < ARRAY_SIZE(readers); i++) {
    ops[readers[i]].cmd_perform = perform;
    ops[readers[i]].pr_conflict_bits = PR_READ_BITS;
  }
  for (i = 0; i < ARRAY_SIZE(writers); i++) {
    ops[writers[i]].cmd_perform = perform;
    ops[writers[i]].pr_conflict_bits = PR_WRITE_BITS;
  }
  i = 0;
  if (tgt_own) own[i++] = *tgt_own;
  own[i].service_action = SAI_GET_LBA_STATUS;
  own[i++].cmd_perform = perform;
  memset(&own[i], 0, sizeof(own[i]));
  ops[SERVICE_ACTION_IN].service_actions = own;
}

// -- VPD pages. SBC-4 6.6.4; data[] begins behind the four bytes of page header.

static void update_vpd_b0(struct scsi_lu* lu, void* unused) {
  const struct lunar_lun_info* info = &lunar_of(lu)->info;
  uint8_t* data = lu->attrs.lu_vpd[PCODE_OFFSET(0xb0)]->data;
  const uint32_t shift = lu->blk_shift;
  const uint32_t caw_blocks = info->max_compare_and_write_bytes >> shift;
  (void)unused;
  if (!info->size) return;  // not open yet
  data[0] = 0x01;           // WSNZ: WRITE SAME of zero blocks is refused
  data[1] = caw_blocks > 255 ? 255 : (uint8_t)caw_blocks;
  put_unaligned_be16(1, data + 2);
  put_unaligned_be32(info->max_transfer_bytes >> shift, data + 4);
  put_unaligned_be32(info->optimal_transfer_bytes >> shift, data + 8);
  put_unaligned_be32(lu->attrs.thinprovisioning ? info->max_unmap_bytes >> shift : 0, data + 16);
  put_unaligned_be32(lu->attrs.thinprovisioning ? info->max_unmap_descriptors : 0, data + 20);
  put_unaligned_be32(4096 >> shift ? 4096 >> shift : 1, data + 24);
  put_unaligned_be64(info->max_write_same_bytes >> shift, data + 32);
}

static void update_vpd(struct scsi_lu* lu, int page, void* argument) {
  struct vpd* vpd = lu->attrs.lu_vpd[PCODE_OFFSET(page)];
  if (vpd) vpd->vpd_update(lu, argument);
}

static void show_identity(struct scsi_lu* lu) {
  const struct lunar_lun_info* info = &lunar_of(lu)->info;
  snprintf(lu->attrs.vendor_id, sizeof(lu->attrs.vendor_id), "LUNAR");
  snprintf(lu->attrs.product_id, sizeof(lu->attrs.product_id), "LUN");
  snprintf(lu->attrs.scsi_id, sizeof(lu->attrs.scsi_id), "LUNAR   %.28s", info->uuid_hex);
  snprintf(lu->attrs.scsi_sn, sizeof(lu->attrs.scsi_sn), "%s", info->uuid_hex);
  lu->attrs.numeric_id = info->numeric_id;
  lu->attrs.thinprovisioning = 1;
  if (!lu->attrs.no_auto_lbppbe) update_lbppbe(lu, 4096);
  update_vpd(lu, 0x80, lu->attrs.scsi_sn);
  update_vpd(lu, 0x83, lu->attrs.scsi_id);
  update_vpd(lu, 0xb0, NULL);
  update_vpd(lu, 0xb2, NULL);
}

// -- the backing store

static tgtadm_err bs_lunar_init(struct scsi_lu* lu, char* bsopts) {
  struct bs_lunar_lu* own = lunar_of(lu);
  own->lun = lunar_lun_create(lu, bsopts);
  if (!own->lun) return TGTADM_INVALID_REQUEST;
  take_commands(lu);
  if (lu->attrs.lu_vpd[PCODE_OFFSET(0xb0)])
    lu->attrs.lu_vpd[PCODE_OFFSET(0xb0)]->vpd_update = update_vpd_b0;
  return TGTADM_SUCCESS;
}

static void bs_lunar_exit(struct scsi_lu* lu) {
  struct bs_lunar_lu* own = lunar_of(lu);
  if (own->lun) lunar_lun_destroy(own->lun);
  own->lun = NULL;
}

static int bs_lunar_open(struct scsi_lu* lu, char* path, int* fd, uint64_t* size) {
  struct bs_lunar_lu* own = lunar_of(lu);
  *fd = -1;
  if (lunar_lun_open(own->lun, path, 1u << lu->blk_shift, &own->info)) return -1;
  *size = own->info.size;
  if (own->info.read_only) lu->attrs.readonly = 1;
  show_identity(lu);
  return 0;
}

static void bs_lunar_close(struct scsi_lu* lu) { lunar_lun_close(lunar_of(lu)->lun); }

static struct backingstore_template lunar_bst = {
    .bs_name = "lunar",
    .bs_datasize = sizeof(struct bs_lunar_lu),
    .bs_init = bs_lunar_init,
    .bs_exit = bs_lunar_exit,
    .bs_open = bs_lunar_open,
    .bs_close = bs_lunar_close,
    .bs_cmd_submit = bs_lunar_cmd_submit,
};

// tgtd's bs_init() finds this by name.
__attribute__((visibility("default"))) void register_bs_module(void) {
  static unsigned char opcodes[] = {
      ALLOW_MEDIUM_REMOVAL,
      COMPARE_AND_WRITE,
      FORMAT_UNIT,
      INQUIRY,
      MAINT_PROTOCOL_IN,
      MODE_SELECT,
      MODE_SELECT_10,
      MODE_SENSE,
      MODE_SENSE_10,
      ORWRITE_16,
      PERSISTENT_RESERVE_IN,
      PERSISTENT_RESERVE_OUT,
      PRE_FETCH_10,
      PRE_FETCH_16,
      READ_10,
      READ_12,
      READ_16,
      READ_6,
      READ_CAPACITY,
      RELEASE,
      REPORT_LUNS,
      REQUEST_SENSE,
      RESERVE,
      SEND_DIAGNOSTIC,
      SERVICE_ACTION_IN,
      START_STOP,
      SYNCHRONIZE_CACHE,
      SYNCHRONIZE_CACHE_16,
      TEST_UNIT_READY,
      UNMAP,
      VERIFY_10,
      VERIFY_12,
      VERIFY_16,
      WRITE_10,
      WRITE_12,
      WRITE_16,
      WRITE_6,
      WRITE_SAME,
      WRITE_SAME_16,
      WRITE_VERIFY,
      WRITE_VERIFY_12,
      WRITE_VERIFY_16,
  };
  lunar_plugin_init(&host, LUNAR_TGT_VERSION);
  bs_create_opcode_map(&lunar_bst, opcodes, ARRAY_SIZE(opcodes));
  register_backingstore_template(&lunar_bst);
}
