/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The probes of provider lunar_gateway, once per program or shared object that links them. */
#define LTTNG_UST_TRACEPOINT_CREATE_PROBES
#define LTTNG_UST_TRACEPOINT_DEFINE
#include "tracing/lunar_gateway_tp.h"
