#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Recorded load on servers with their stores on /dev/vda, whose writes QEMU logs: tests/faults/power_points.py
# starts it, and cuts the power afterwards, in that log.
#
#   power_recording.sh FILE_SYSTEM SECONDS    ext4 or xfs
. "$(dirname "$0")/lib.sh"

file_system=$1
load_modules virtio_blk "$file_system"
wait_for 30 "disk of the recording" test -b /dev/vda
bytes=$(($(disk_bytes /dev/vda) - (1 << 20))) # the rest is for marks
case $file_system in
ext4) mkfs.ext4 -q /dev/vda $((bytes >> 10))k ;;
xfs) mkfs.xfs -q --unsupported -d size=$bytes /dev/vda ;;
*) fail "the file system is ext4 or xfs, not '$file_system'" ;;
esac
mkdir -p /srv/stores
mount /dev/vda /srv/stores
# What is not flushed reaches the disk soon, too, and in any order.
echo 20 >/proc/sys/vm/dirty_writeback_centisecs
echo 50 >/proc/sys/vm/dirty_expire_centisecs
step "load on $file_system"
PYTHONPATH=$LUNAR_ROOT/tests/e2e PYTHONDONTWRITEBYTECODE=1 \
  python3 "$LUNAR_ROOT/tests/faults/power_recording.py" /dev/vda /srv/stores "$OUT" "$2"
pass "recorded $2 s on $file_system"
