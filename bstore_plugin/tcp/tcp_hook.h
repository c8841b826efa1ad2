/* SPDX-License-Identifier: GPL-2.0-only */
#pragma once

/* Has the plugin drive tgtd's iSCSI/TCP connections, those that there are and those to come, from
 * now on and for good; repeated calls do nothing. `registry` is a lunar::PerfRegistry that is never
 * destroyed. 0, or -1 if this tgtd has no such transport. REQUIRES: this tgtd is exactly of the
 * version whose headers the plugin was built with. On tgtd's thread. */
int lunar_take_tcp(void* registry);
