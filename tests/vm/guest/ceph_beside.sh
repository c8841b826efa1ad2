#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Measures Ceph's own OSD and Lunar's over software RDMA and over TCP and prints one table, without a
# verdict on it. It runs only when called:
#
#   tests/bench/ceph/prepare.sh
#   LUNAR_VM_TIMEOUT=900 LUNAR_VM_MEMORY_MB=4096 tests/vm/run_guest.sh tests/vm/guest/ceph_beside.sh
#
# Arguments after the script go to tests/bench/ceph/ceph_beside.py.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/faults.sh"

ceph=$LUNAR_ROOT/build/deps/ceph/root
[ -x "$ceph/usr/bin/ceph-osd" ] || fail "no Ceph in $ceph: run tests/bench/ceph/prepare.sh on the host"
setup_net lo 127.0.0.1/8
setup_net
setup_rxe
ulimit -l unlimited
export LTTNG_UST_REGISTER_TIMEOUT=0
gids=$(head -qn 1 /sys/class/infiniband/rxe0/ports/1/gids/[01] | xargs)
step "MTU of eth0 $(cat /sys/class/net/eth0/mtu); GIDs $gids"
python3 "$LUNAR_ROOT/tests/bench/ceph/ceph_beside.py" --ceph "$ceph" --build "$LUNAR_BUILD_DIR" \
  --address 10.0.2.15 --logs "$OUT/servers" "$@" || fail "see above, and the servers' logs"
delete_rxe rxe0
pass "measured"
