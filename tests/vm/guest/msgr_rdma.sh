#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Tests of the messenger's RDMA transport on software RDMA: those of all transports, and its own.
#
#   msgr_rdma.sh [GTEST_FILTER]
. "$(dirname "$0")/lib.sh"

setup_net lo 127.0.0.1/8
setup_net
setup_rxe rxe0 eth0
ulimit -l unlimited
test=$LUNAR_BUILD_DIR/tests/msgr/msgr_rdma_test
[ -x "$test" ] || fail "no $test: build msgr_rdma_test"
status=0
"$test" --gtest_filter="${1:-*}" --gtest_output="xml:$OUT/msgr_rdma_test.xml" \
  >"$OUT/msgr_rdma_test.log" 2>&1 || status=$?
grep -E '^\[  (FAILED|PASSED|SKIPPED)' "$OUT/msgr_rdma_test.log" || :
dmesg | grep -iE 'rxe|infiniband' | tail -n 5 || :
[ $status -eq 0 ] || fail "msgr_rdma_test ended with $status: $(tail -n 3 "$OUT/msgr_rdma_test.log")"
! grep -q '^\[  SKIPPED' "$OUT/msgr_rdma_test.log" || fail "a test was skipped"
pass "$(grep '^\[  PASSED' "$OUT/msgr_rdma_test.log")"
