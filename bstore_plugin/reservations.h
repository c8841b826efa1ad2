/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

struct scsi_lu;
struct scsi_cmd;

/* Persistent reservations are tgt's, in the memory of one tgtd. Replaces in this LUN's table the
 * service actions with which an initiator could make tgt use what it has freed, or nothing at all,
 * and those that tell the wrong nexuses; adds READ FULL STATUS. SPC-4 5.13, 6.15, 6.16. */
void lunar_guard_reservations(struct scsi_lu* lu);

/* As spc_access_check(), for a command that reads the medium, though its op code has others that
 * do not. Nonzero: RESERVATION CONFLICT. */
int lunar_may_not_read(struct scsi_cmd* cmd);
