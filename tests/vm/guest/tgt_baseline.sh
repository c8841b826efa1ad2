#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Tests the harness with Debian's tgt: if this fails, the fault is not Lunar's. A file is a LUN of the
# kernel's initiator, with a file system whose files survive a logout.
. "$(dirname "$0")/lib.sh"

portal=127.0.0.1:3260
iqn=iqn.2025-01.test.lunar:baseline
store=/run/store.img
dir=/mnt/lunar

step "target"
truncate -s 192M "$store"
start_tgtd "$portal"
export_lun 1 "$iqn" 1 rdwr "$store"

start_iscsid
files_outlive_a_logout "$iqn" "$portal" $((192 << 20)) "$dir" "${1:-48}"
leave_disk "$iqn" "$portal" "$dir"
kill -0 "$TGTD_PID" || fail "tgtd is gone"
pass "files outlived logout and login"
