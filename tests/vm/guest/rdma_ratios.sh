#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Compares the RDMA transport with perftest in the same guest.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/faults.sh"

setup_net
setup_rxe
export LTTNG_UST_REGISTER_TIMEOUT=0
python3 "$(dirname "$0")/rdma_ratios.py" 10.0.2.15 "$LUNAR_BUILD_DIR/tools/lunar-perf-msgr" "$@" ||
  fail "a bound does not hold: see above"
delete_rxe rxe0
pass "the bounds hold"
