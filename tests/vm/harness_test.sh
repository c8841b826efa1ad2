#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# run_guest.sh must fail unless the guest ended well and gave the verdict "pass"; run_hosts.sh must
# fail unless both guests did.
set -uo pipefail
cd "$(dirname "$0")" || exit 1
# shellcheck source=tools/dev/lib.sh
. ../../tools/dev/lib.sh

failed=0
# expect_failure FIXTURE WORDS [ENV=VALUE...]: run_guest.sh ends with 1 and its report has the words.
expect_failure() {
  local fixture=$1 words=$2 report status=0
  shift 2
  report=$(env "$@" LUNAR_VM_OUT="$LUNAR_ROOT/build/vm/harness_$fixture" \
    ./run_guest.sh "fixtures/$fixture.sh" 2>&1) || status=$?
  if [ $status = 1 ] && [[ $report == *"$words"* ]]; then
    say "$fixture: refused as it should be"
  else
    say "$fixture: ended with $status; expected 1 and '$words' in:"
    printf '%s\n' "$report"
    failed=1
  fi
}

expect_failure silent "gave no verdict"
expect_failure breaks "ended with 1"
expect_failure panics "left no exit code"
expect_failure hangs "ended with 124" LUNAR_VM_SCRIPT_TIMEOUT=2
# Two hosts: when one of them fails, the test fails at once, although the other one is well.
report=$(LUNAR_VM_OUT="$LUNAR_ROOT/build/vm/harness_hosts" ./run_hosts.sh fixtures/meets.sh fixtures/breaks.sh 2>&1)
if [ $? = 1 ] && [[ $report == *"host b: the guest script ended with 1"*"the other host has failed"* ]]; then
  say "hosts: refused as they should be"
else
  say "hosts: expected a failure of b, and a's word of it, in:"
  printf '%s\n' "$report"
  failed=1
fi
./run_guest.sh fixtures/no_such.sh 2>/dev/null && { say "a missing script was accepted"; failed=1; }
exit $failed
