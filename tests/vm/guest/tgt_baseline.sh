#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The harness against stock tgt: if this fails, the fault is not Lunar's. A file as a LUN, the
# kernel initiator, and a file system whose contents outlive a logout.
. "$(dirname "$0")/lib.sh"

portal=127.0.0.1:3260
iqn=iqn.2025-01.test.lunar:baseline
store=/run/store.img
dir=/mnt/lunar

step "target"
truncate -s 192M "$store"
start_tgtd "$portal"
export_lun 1 "$iqn" 1 rdwr "$store"

step "login"
start_iscsid
iscsi_discover "$portal" | grep -q "$iqn" || fail "discovery does not show the target"
iscsi_login "$iqn" "$portal"
wait_disk "$iqn" 1
[ "$(disk_bytes "$DISK")" = $((192 << 20)) ] || fail "the disk has $(disk_bytes "$DISK") bytes"

step "file system on $DISK"
make_ext4 "$DISK" "$dir"
write_files "$dir/data" "${1:-48}"
umount "$dir"

step "logout and login"
iscsi_logout "$iqn" "$portal"
wait_disk_gone "$DISK"
iscsi_login "$iqn" "$portal"
wait_disk "$iqn" 1
mount "$DISK" "$dir"
verify_files "$dir/data"
umount "$dir"
iscsi_logout "$iqn" "$portal"
kill -0 "$TGTD_PID" || fail "tgtd is gone"
pass "files outlived logout and login"
