/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

/* Has tgtd's TCP transport take its data buffers from lunar_plugin_alloc_buffer(), from now on and
 * for good; repeated calls do nothing. 0, or -1 if this tgtd has no such transport: then payload
 * travels inline. On tgtd's thread. */
int lunar_take_data_buffers(void);

struct iscsi_transport;
/* tgtd's TCP transport, or NULL if it has none that has the functions we know. */
struct iscsi_transport* lunar_find_tcp_transport(void);
