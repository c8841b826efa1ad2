#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Tests the harness: a guest boots, has software RDMA, and gets its arguments unchanged.
. "$(dirname "$0")/lib.sh"

[ "$*" = "one two  words" ] && [ $# -eq 2 ] || fail "arguments arrived as: $(printf '<%s>' "$@")"
[ -f "$LUNAR_ROOT/tests/vm/guest/smoke.sh" ] || fail "the repository is not visible"

setup_net
setup_rxe rxe0 eth0
ibv_devinfo -d rxe0 | tee "$OUT/ibv_devinfo.txt"
grep -q 'hca_id:.*rxe0' "$OUT/ibv_devinfo.txt" || fail "ibv_devinfo does not show rxe0"
grep -q PORT_ACTIVE "$OUT/ibv_devinfo.txt" || fail "the port of rxe0 is not active"
pass "booted $(uname -r) with rxe"
