#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Compares inline and one-sided IO over the object path with perftest: bandwidth, latency, copies and
# user-space instructions, as a table (one_sided_table.py --help). Needs LUNAR_VM_MEMORY_MB=3072.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/faults.sh"

setup_net
ip link set eth0 mtu 4500 # for rxe's largest packets
setup_rxe
export LTTNG_UST_REGISTER_TIMEOUT=0
python3 -u "$(dirname "$0")/one_sided_table.py" 10.0.2.15 "$LUNAR_BUILD_DIR" "$OUT" \
  "${PATIENCE[@]/#/--option=}" "$@" ||
  fail "a bound does not hold: see above"
delete_rxe rxe0
pass "the bounds hold"
