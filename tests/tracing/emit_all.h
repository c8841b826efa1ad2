/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#ifdef __cplusplus
extern "C" {
#endif

/* Emits every event of every provider once, with the values that record_test.py expects. Any
 * thread. */
__attribute__((visibility("default"))) void lunar_emit_all_events(void);

/* Whether a session records our events now. */
__attribute__((visibility("default"))) int lunar_is_recorded(void);

#ifdef __cplusplus
}
#endif
