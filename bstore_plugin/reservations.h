/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

struct scsi_lu;
struct scsi_cmd;

/* Persistent reservations are tgt's, in the memory of one tgtd. Replaces in this LUN's table the
 * service actions with which an initiator could make tgt use what it has freed, or nothing at all,
 * and those that tell the wrong nexuses; adds PREEMPT AND ABORT and READ FULL STATUS. SPC-4 5.13,
 * 6.15, 6.16. */
void lunar_guard_reservations(struct scsi_lu* lu);

/* As spc_access_check(), for a command that reads the medium, though its op code has others that
 * do not. Nonzero: RESERVATION CONFLICT. */
int lunar_may_not_read(struct scsi_cmd* cmd);

/* A command goes to the servers, or has ended there and is about to be handed to tgt: PREEMPT AND
 * ABORT waits for those of the nexuses that it preempts. The latter from an fd handler only. */
void lunar_command_began(struct scsi_cmd* cmd);
void lunar_command_ended(struct scsi_cmd* cmd);
/* Nonzero: its nexus was preempted since it was sent, and it is to end soon, or not to begin. */
int lunar_was_preempted(const struct scsi_cmd* cmd);
