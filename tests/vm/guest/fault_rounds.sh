#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Rounds of tests/faults that need root, for machines on which a test is not root.
#
#   fault_rounds.sh power-points FOLDER ROUNDS    power cuts in a recording: check_power_points.py
#   fault_rounds.sh ARGUMENTS...                  of tests/faults/run.py
. "$(dirname "$0")/lib.sh"

export PYTHONPATH=$LUNAR_ROOT/tests/e2e PYTHONDONTWRITEBYTECODE=1
load_modules loop ext4 xfs dm_mod dm_flakey
for number in 0 1 2 3; do wait_for 30 "loop device $number" test -b "/dev/loop$number"; done
if [ "$1" = power-points ]; then
  python3 "$LUNAR_ROOT/tests/faults/check_power_points.py" "$2" "$3"
elif ! python3 "$LUNAR_ROOT/tests/faults/run.py" "$@"; then
  cp -r /tmp/lunar-*/round-* "$OUT"   # the guest's own files go with it
  fail "run.py found something"
fi
pass "$*"
