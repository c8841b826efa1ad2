#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Power cuts at any point of a load: one guest records it, on ext4 and on xfs, and another one starts servers on what
# a cut leaves of its disk (tests/faults/power_points.py). As root, `tests/faults/run.py power-point` does many more.
#
#   tests/vm/power_points_test.sh [ROUNDS]    of each file system (default 2)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export PYTHONPATH=$here/../e2e PYTHONDONTWRITEBYTECODE=1 LUNAR_VM_TIMEOUT=600
for file_system in ext4 xfs; do
  mkdir "$folder/$file_system"
  "$here/../faults/power_points.py" "$file_system" "$folder/$file_system"
  "$here/run_guest.sh" "$here/guest/fault_rounds.sh" power-points "$folder/$file_system" "${1:-2}"
done
