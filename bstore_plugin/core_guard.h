/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

/* What stands between initiators and tgt's core. tgt 1.0.85 runs commands of its own (MODE SENSE,
 * reservations, the queue of a LUN) with whatever an initiator sends, and some of that ends tgtd
 * with all its LUNs, or sends an initiator what was in memory. tgt is not patched: a LUN has its
 * own copy of the table of commands, and its own pointers to what performs and ends a command. */

#include <stdint.h>

struct scsi_lu;
struct scsi_cmd;

/* Commands of this LUN, which is of type disk, go through the guard from now on; so do those of
 * its target's controller (LUN 0, which also gets what is for no LUN). The LUN's entries for what
 * only we perform may be set afterwards. */
void lunar_guard_lun(struct scsi_lu* lu);

/* Ends a command with CHECK CONDITION before anything was transferred: the status. */
int lunar_check_condition(struct scsi_cmd* cmd, unsigned char key, unsigned short asc);

/* Lets `perform`, which is of tgt and does not care what room there is, answer into `answer`, and
 * sends as much of that as the command has room for: the status. */
int lunar_answer_within(int host_no, struct scsi_cmd* cmd,
                        int (*perform)(int host_no, struct scsi_cmd* cmd), void* answer,
                        uint32_t room);
