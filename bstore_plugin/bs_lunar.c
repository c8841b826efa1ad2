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

#include "bstore_plugin/core_guard.h"
#include "bstore_plugin/plugin_api.h"
#include "bstore_plugin/reservations.h"
#include "bstore_plugin/tcp/tcp_hook.h"
#include "bstore_plugin/tgt_loop.h"
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
#define ASC_INQUIRY_DATA_HAS_CHANGED 0x3f03
#define ASC_INTERNAL_FAILURE 0x4400
#define PR_READ_BITS (PR_EA_FA | PR_EA_FN)
#define PR_WRITE_BITS (PR_WE_FA | PR_EA_FA | PR_WE_FN | PR_EA_FN)
#define CACHING_PAGE 0x08
#define EVPD_BIT 0x01
#define PHYSICAL_BLOCK 4096u
#define WCE_BIT 0x04
#define SAME_UNMAP_BIT 0x08
#define STOP_POWER_CONDITION(cdb) ((cdb)[4] >> 4)
#define STOP_NO_FLUSH_BIT 0x04
#define STOP_START_BIT 0x01
#define POWER_STANDBY 0x3
#define QUALIFIER_CONNECTED 0x0
#define QUALIFIER_NOT_CONNECTED 0x1  // but the target can connect it: SPC-5 6.6.2
#define TYPE_UNKNOWN 0x1f

// What we have put where an administrator can put something else by --params, which then stays.
struct shown {
  char vendor_id[VENDOR_ID_LEN + 1];
  char product_id[PRODUCT_ID_LEN + 1];
  char scsi_id[SCSI_ID_LEN + 1];
  char scsi_sn[SCSI_SN_LEN + 1];
  uint8_t transfer_granularity[2];
  uint8_t optimal_transfer[4];
};

struct bs_lunar_lu {
  struct lunar_lun* lun;
  struct lunar_lun_info info;
  struct service_action service_actions[3];
  struct shown shown;
};

static struct bs_lunar_lu* lunar_of(struct scsi_lu* lu) {
  return (struct bs_lunar_lu*)((char*)lu + sizeof(*lu));
}

// -- what the C++ side asks of tgtd

static void host_complete(void* handle, const struct lunar_scsi_result* result) {
  struct scsi_cmd* cmd = handle;
  lunar_command_ended(cmd);
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
  return cmd->mreq != NULL || lunar_was_preempted(cmd);
}

static void set_num_blocks(struct scsi_lu* lu, uint64_t size) {
  const uint64_t blocks = size >> lu->blk_shift;
  put_unaligned_be32(blocks >> 32 ? 0xffffffff : (uint32_t)blocks, lu->mode_block_descriptor);
}

static void show_lun(struct scsi_lu* lu, const struct lunar_lun_info* info);

// What an initiator has seen of the LUN until now was not it.
static void announce_image(struct scsi_lu* lu) {
  ua_sense_add_other_it_nexus(0, lu, ASC_INQUIRY_DATA_HAS_CHANGED);
  ua_sense_add_other_it_nexus(0, lu, ASC_CAPACITY_DATA_HAS_CHANGED);
}

// The nexuses learn of it by whatever LUN of the target they use.
static void host_opened(void* handle, const struct lunar_lun_info* info) {
  struct scsi_lu* lu = handle;
  struct scsi_lu* other;
  lu->size = info->size;
  show_lun(lu, info);
  announce_image(lu);
  list_for_each_entry(other, &lu->tgt->device_list, device_siblings) {
    if (other != lu) ua_sense_add_other_it_nexus(0, other, ASC_REPORTED_LUNS_DATA_HAS_CHANGED);
  }
}

static void host_resized(void* handle, uint64_t size) {
  struct scsi_lu* lu = handle;
  lu->size = size;
  set_num_blocks(lu, size);
  ua_sense_add_other_it_nexus(0, lu, ASC_CAPACITY_DATA_HAS_CHANGED);
}

static void host_log(int is_error, const char* line) {
  if (is_error)
    eprintf("lunar: %s\n", line);
  else
    dprintf("lunar: %s\n", line);
}

static const struct lunar_host host = {
    .watch_fd = lunar_watch_fd,
    .unwatch_fd = lunar_unwatch_fd,
    .schedule = lunar_schedule_turn,
    .complete = host_complete,
    .is_aborted = host_is_aborted,
    .opened = host_opened,
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

// WRITE SAME asks for what only a thin LUN does.
static int wants_unmap(const uint8_t* cdb) {
  return (cdb[0] == WRITE_SAME || cdb[0] == WRITE_SAME_16) && (cdb[1] & SAME_UNMAP_BIT);
}

// The additional sense of NOT READY; 0 if the LUN is ready. Offline is said as by tgt of its own.
static uint16_t unready(const struct scsi_lu* lu) {
  const int is_removable = lu->attrs.removable;
  if (!lu->attrs.online) return is_removable ? ASC_MEDIUM_NOT_PRESENT : ASC_BECOMING_READY;
  return lunar_lun_unready(lunar_of((struct scsi_lu*)lu)->lun);
}

static int is_write_through(struct scsi_lu* lu) {
  const struct mode_pg* caching = find_mode_page(lu, CACHING_PAGE, 0);
  return caching && caching->pcode_size > 0 && !(caching->mode_data[0] & WCE_BIT);
}

static int submit(struct scsi_cmd* cmd) {
  struct scsi_lu* lu = cmd->dev;
  struct lunar_scsi_command command = {
      .handle = cmd,
      .cdb = cmd->scb,
      .cdb_bytes = cmd->scb_len,
      .data_out = scsi_get_out_buffer(cmd),
      .data_out_bytes = scsi_get_out_length(cmd),
      .data_in = scsi_get_in_buffer(cmd),
      .data_in_bytes = scsi_get_in_length(cmd),
      .force_unit_access = is_write_through(lu),
      .is_thin = !!lu->attrs.thinprovisioning,
  };
  set_cmd_async(cmd);
  lunar_command_began(cmd);
  lunar_lun_submit(lunar_of(lu)->lun, &command);
  return SAM_STAT_GOOD;
}

static int perform(int host_no, struct scsi_cmd* cmd) {
  struct scsi_lu* lu = cmd->dev;
  (void)host_no;
  if (device_reserved(cmd)) return SAM_STAT_RESERVATION_CONFLICT;
  if (lunar_was_preempted(cmd)) return SAM_STAT_TASK_ABORTED;
  if (unready(lu)) return lunar_check_condition(cmd, NOT_READY, unready(lu));
  if (changes_medium(cmd->scb)) {
    if (lu->attrs.readonly || lu->attrs.swp)
      return lunar_check_condition(cmd, DATA_PROTECT, ASC_WRITE_PROTECT);
    if (cmd->scb[0] == UNMAP && !lu->attrs.thinprovisioning)
      return lunar_check_condition(cmd, ILLEGAL_REQUEST, ASC_INVALID_OP_CODE);
    if (wants_unmap(cmd->scb) && !lu->attrs.thinprovisioning)
      return lunar_check_condition(cmd, ILLEGAL_REQUEST, ASC_INVALID_FIELD_IN_CDB);
  }
  return submit(cmd);
}

// -- the cache turned off, or stopped: what it has is written first, SBC-4 6.5.6 and 5.25

static int (*core_mode_select)(int host_no, struct scsi_cmd* cmd);
static int (*core_start_stop)(int host_no, struct scsi_cmd* cmd);
static tgtadm_err (*core_config)(struct scsi_lu* lu, char* params);

// After tgt's part, so that commands that come meanwhile are written through. An image that is not
// open has nothing in a cache of ours.
static int write_back(struct scsi_cmd* cmd) {
  return lunar_lun_unready(lunar_of(cmd->dev)->lun) ? SAM_STAT_GOOD : submit(cmd);
}

// WCE stays 0 if that fails: the next change of the medium writes back before it is done.
static int mode_select(int host_no, struct scsi_cmd* cmd) {
  const int status = core_mode_select(host_no, cmd);
  return status == SAM_STAT_GOOD && is_write_through(cmd->dev) ? write_back(cmd) : status;
}

static int start_stop(int host_no, struct scsi_cmd* cmd) {
  const uint8_t* const cdb = cmd->scb;
  const int power = STOP_POWER_CONDITION(cdb);
  const int stops = power == POWER_STANDBY || (power == 0 && !(cdb[4] & STOP_START_BIT));
  const int status = core_start_stop(host_no, cmd);
  return status == SAM_STAT_GOOD && stops && !(cdb[4] & STOP_NO_FLUSH_BIT) ? write_back(cmd)
                                                                           : status;
}

// tgtadm is answered at once, and so does not hear how it ends.
static tgtadm_err config(struct scsi_lu* lu, char* params) {
  const tgtadm_err answer = core_config(lu, params);
  if (is_write_through(lu)) lunar_lun_write_back(lunar_of(lu)->lun);
  return answer;
}

// tgt asks about reservations by op code, and READ CAPACITY(16), which has the same, is not
// refused.
static int perform_get_lba_status(int host_no, struct scsi_cmd* cmd) {
  if (lunar_may_not_read(cmd)) return SAM_STAT_RESERVATION_CONFLICT;
  return perform(host_no, cmd);
}

// tgt calls this for what its own handlers still send to the store. None does: see take_commands().
static int bs_lunar_cmd_submit(struct scsi_cmd* cmd) {
  sense_data_build(cmd, HARDWARE_ERROR, ASC_INTERNAL_FAILURE);
  return -EINVAL;
}

// tgt calculates the last block of a LUN that is not open: of 2^64. And READ CAPACITY(10) writes
// nothing where there is no room for all, and says that it has filled it.
static int (*core_read_capacity)(int host_no, struct scsi_cmd* cmd);
static int (*core_read_capacity_16)(int host_no, struct scsi_cmd* cmd);

static int read_capacity(int host_no, struct scsi_cmd* cmd) {
  uint32_t answer[2];
  if (!cmd->dev->size) return lunar_check_condition(cmd, NOT_READY, unready(cmd->dev));
  return lunar_answer_within(host_no, cmd, core_read_capacity, answer, sizeof(answer));
}

static int read_capacity_16(int host_no, struct scsi_cmd* cmd) {
  if (!cmd->dev->size) return lunar_check_condition(cmd, NOT_READY, unready(cmd->dev));
  return core_read_capacity_16(host_no, cmd);
}

// Serial number and designators are known when the image is. Until then tgt has some of its own,
// which another target has too: two hosts would take two disks for one.
static int (*core_inquiry)(int host_no, struct scsi_cmd* cmd);

static int inquiry(int host_no, struct scsi_cmd* cmd) {
  const struct scsi_lu* const lu = cmd->dev;
  const uint8_t page = cmd->scb[1] & EVPD_BIT ? cmd->scb[2] : 0;
  const int asks_who = page == 0x80 || page == 0x83;
  const int is_unknown = lu->attrs.qualifier == QUALIFIER_NOT_CONNECTED && cmd->dev_id == lu->lun;
  int status;
  if (asks_who && is_unknown) return lunar_check_condition(cmd, NOT_READY, unready(lu));
  status = core_inquiry(host_no, cmd);
  // Of a disk that is not connected Linux keeps what it has seen, and never looks again; of a
  // device of unknown type it makes nothing, and finds the disk when it scans later.
  if (status == SAM_STAT_GOOD && is_unknown && scsi_get_in_transfer_len(cmd))
    *(uint8_t*)scsi_get_in_buffer(cmd) = QUALIFIER_NOT_CONNECTED << 5 | TYPE_UNKNOWN;
  return status;
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
  ops[TEST_UNIT_READY].cmd_perform = perform;
  core_mode_select = ops[MODE_SELECT].cmd_perform;
  ops[MODE_SELECT].cmd_perform = ops[MODE_SELECT_10].cmd_perform = mode_select;
  core_start_stop = ops[START_STOP].cmd_perform;
  ops[START_STOP].cmd_perform = start_stop;
  core_config = lu->dev_type_template.lu_config;
  lu->dev_type_template.lu_config = config;
  core_inquiry = ops[INQUIRY].cmd_perform;
  ops[INQUIRY].cmd_perform = inquiry;
  i = 0;
  core_read_capacity = ops[READ_CAPACITY].cmd_perform;
  ops[READ_CAPACITY].cmd_perform = read_capacity;
  if (tgt_own) {
    core_read_capacity_16 = tgt_own->cmd_perform;
    own[i] = *tgt_own;
    own[i++].cmd_perform = read_capacity_16;
  }
  own[i].service_action = SAI_GET_LBA_STATUS;
  own[i++].cmd_perform = perform_get_lba_status;
  memset(&own[i], 0, sizeof(own[i]));
  ops[SERVICE_ACTION_IN].service_actions = own;
}

// -- VPD pages. SBC-4 6.6.4; data[] begins behind the four bytes of page header.

// Puts `value` into a field of `bytes` bytes unless somebody else has since we did it last, which
// `shown` tells.
static void show(void* field, void* shown, const void* value, size_t bytes) {
  if (memcmp(field, shown, bytes)) return;
  memcpy(field, value, bytes);
  memcpy(shown, value, bytes);
}

// QEMU 7.2 ends in an assertion on READs of 31 KiB and more if there is a granularity and a block
// has more than 512 bytes. Linux takes the larger of it and the physical block, which is the same.
static uint32_t unmap_granularity(const struct scsi_lu* lu) {
  return lu->blk_shift == 9 ? PHYSICAL_BLOCK >> 9 : 0;
}

static void update_vpd_b0(struct scsi_lu* lu, void* unused) {
  struct bs_lunar_lu* own = lunar_of(lu);
  const struct lunar_lun_info* info = &own->info;
  uint8_t* data = lu->attrs.lu_vpd[PCODE_OFFSET(0xb0)]->data;
  const uint32_t shift = lu->blk_shift;
  const uint32_t caw_blocks = info->max_compare_and_write_bytes >> shift;
  uint8_t granularity[2], optimal[4];
  (void)unused;
  if (!info->size) return;  // not open yet
  put_unaligned_be16(1, granularity);
  put_unaligned_be32(info->optimal_transfer_bytes >> shift, optimal);
  data[0] = 0x01;  // WSNZ: WRITE SAME of zero blocks is refused
  data[1] = caw_blocks > 255 ? 255 : (uint8_t)caw_blocks;
  show(data + 2, own->shown.transfer_granularity, granularity, sizeof(granularity));
  put_unaligned_be32(info->max_transfer_bytes >> shift, data + 4);
  show(data + 8, own->shown.optimal_transfer, optimal, sizeof(optimal));
  put_unaligned_be32(lu->attrs.thinprovisioning ? info->max_unmap_bytes >> shift : 0, data + 16);
  put_unaligned_be32(lu->attrs.thinprovisioning ? info->max_unmap_descriptors : 0, data + 20);
  put_unaligned_be32(lu->attrs.thinprovisioning ? unmap_granularity(lu) : 0, data + 24);
  put_unaligned_be64(info->max_write_same_bytes >> shift, data + 32);
}

static void update_vpd(struct scsi_lu* lu, int page, void* argument) {
  struct vpd* vpd = lu->attrs.lu_vpd[PCODE_OFFSET(page)];
  if (vpd) vpd->vpd_update(lu, argument);
}

static void show_text(char* field, char* shown, size_t bytes, const char* text) {
  char value[SCSI_SN_LEN + 1] = "";
  snprintf(value, sizeof(value), "%s", text);
  show(field, shown, value, bytes);
}

static void show_identity(struct scsi_lu* lu) {
  const struct lunar_lun_info* info = &lunar_of(lu)->info;
  struct shown* shown = &lunar_of(lu)->shown;
  struct lu_phy_attr* attrs = &lu->attrs;
  char id[SCSI_ID_LEN + 1];
  snprintf(id, sizeof(id), "LUNAR   %.28s", info->uuid_hex);
  show_text(attrs->vendor_id, shown->vendor_id, sizeof(shown->vendor_id), "LUNAR");
  show_text(attrs->product_id, shown->product_id, sizeof(shown->product_id), "LUN");
  show_text(attrs->scsi_id, shown->scsi_id, sizeof(shown->scsi_id), id);
  show_text(attrs->scsi_sn, shown->scsi_sn, sizeof(shown->scsi_sn), info->uuid_hex);
  attrs->numeric_id = info->numeric_id;
  if (!attrs->no_auto_lbppbe) update_lbppbe(lu, PHYSICAL_BLOCK);
  update_vpd(lu, 0x80, attrs->scsi_sn);
  update_vpd(lu, 0x83, attrs->scsi_id);
  update_vpd(lu, 0xb0, NULL);
  update_vpd(lu, 0xb2, NULL);
}

// What tgt has begun a LUN with.
static void remember_shown(struct scsi_lu* lu) {
  struct shown* shown = &lunar_of(lu)->shown;
  const uint8_t* data = lu->attrs.lu_vpd[PCODE_OFFSET(0xb0)]->data;
  memcpy(shown->vendor_id, lu->attrs.vendor_id, sizeof(shown->vendor_id));
  memcpy(shown->product_id, lu->attrs.product_id, sizeof(shown->product_id));
  memcpy(shown->scsi_id, lu->attrs.scsi_id, sizeof(shown->scsi_id));
  memcpy(shown->scsi_sn, lu->attrs.scsi_sn, sizeof(shown->scsi_sn));
  memcpy(shown->transfer_granularity, data + 2, sizeof(shown->transfer_granularity));
  memcpy(shown->optimal_transfer, data + 8, sizeof(shown->optimal_transfer));
}

// -- the backing store

static void show_lun(struct scsi_lu* lu, const struct lunar_lun_info* info) {
  lunar_of(lu)->info = *info;
  set_num_blocks(lu, info->size);
  lu->attrs.qualifier = QUALIFIER_CONNECTED;
  show_identity(lu);
  if (is_write_through(lu)) lunar_lun_write_back(lunar_of(lu)->lun);
}

static tgtadm_err bs_lunar_init(struct scsi_lu* lu, char* bsopts) {
  struct bs_lunar_lu* own = lunar_of(lu);
  if (lu->dev_type_template.type != TYPE_DISK) {  // the others have other tables, or none
    lunar_plugin_refuse("--bstype lunar is for disks: leave out --device-type, or give disk");
    return TGTADM_INVALID_REQUEST;
  }
  own->lun = lunar_lun_create(lu, bsopts);
  if (!own->lun) return TGTADM_INVALID_REQUEST;
  lunar_guard_lun(lu);
  take_commands(lu);
  remember_shown(lu);
  lu->attrs.thinprovisioning = 1;  // until an administrator says otherwise
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
  struct lunar_lun_info info;
  int is_other;
  *fd = -1;
  *size = 0;
  switch (lunar_lun_open(own->lun, path, 1u << lu->blk_shift, &info)) {
    case LUNAR_OPEN_REFUSED:
      return -1;
    case LUNAR_OPEN_LATER:  // no initiator makes a disk of it before it has its identity
      lu->attrs.qualifier = QUALIFIER_NOT_CONNECTED;
      set_num_blocks(lu, 0);
      return 0;
    case LUNAR_OPEN_DONE:
      *size = info.size;
      is_other = lu->attrs.qualifier == QUALIFIER_NOT_CONNECTED ||
                 strcmp(own->info.uuid_hex, info.uuid_hex) != 0 || own->info.size != info.size;
      show_lun(lu, &info);
      if (is_other) announce_image(lu);  // to nexuses that knew the one before
      return 0;
  }
  return -1;
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
