#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Rounds of tests/faults that need root, for machines on which a test is not root.
#
#   fault_rounds.sh ROUNDS KIND...                 rounds of run.py
#   fault_rounds.sh ROUNDS power-points FOLDER     power cuts in a recording: check_power_points.py
. "$(dirname "$0")/lib.sh"

export PYTHONPATH=$LUNAR_ROOT/tests/e2e PYTHONDONTWRITEBYTECODE=1
load_modules loop ext4 xfs
for number in 0 1 2 3; do wait_for 30 "loop device $number" test -b "/dev/loop$number"; done
if [ "$2" = power-points ]; then
  python3 "$LUNAR_ROOT/tests/faults/check_power_points.py" "$3" "$1"
else
  python3 "$LUNAR_ROOT/tests/faults/run.py" --rounds "$@"
fi
pass "$*"
