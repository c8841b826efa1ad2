#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The main path under Debian's kernel: iscsiadm -> tgtd with bs_lunar.so -> three lunar-osd. Files
# outlive a logout, and a disk that grows online is seen to have grown.
. "$(dirname "$0")/lib.sh"

repo=$(cd "$(dirname "$0")/../../.." && pwd)
portal=127.0.0.1:3260
iqn=iqn.2025-01.test.lunar:main-path
cluster=/srv/cluster
dir=/mnt/lunar
lunar=("$LUNAR_BUILD_DIR/tools/lunar" -c "$cluster/lunar.conf")
export LTTNG_UST_REGISTER_TIMEOUT=0

step "cluster"
mount_scratch /srv
ip link set lo up
"$repo/tools/lunar-vstart" start -n 3 --dir "$cluster" --bin-dir "$LUNAR_BUILD_DIR" --pool lunar
"${lunar[@]}" create lunar/disk --size 192M

step "target"
install_plugin "$LUNAR_BUILD_DIR/bstore_plugin/bs_lunar.so"
start_tgtd "$portal" LUNAR_CONF="$cluster/lunar.conf"
export_lun 1 "$iqn" 1 lunar lunar/disk

step "login"
start_iscsid
iscsi_discover "$portal" | grep -q "$iqn" || fail "discovery does not show the target"
iscsi_login "$iqn" "$portal"
wait_disk "$iqn" 1
wait_disk_bytes "$DISK" $((192 << 20))

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

step "grow while mounted"
"${lunar[@]}" resize lunar/disk --size 256M
grown() { iscsi_rescan "$iqn" "$portal" && [ "$(disk_bytes "$DISK")" = $((256 << 20)) ]; }
wait_for 60 "new size of $DISK" grown
resize2fs "$DISK"
echo 1 >/proc/sys/vm/drop_caches
verify_files "$dir/data"

step "end"
umount "$dir"
iscsi_logout "$iqn" "$portal"
kill -0 "$TGTD_PID" || fail "tgtd is gone"
"${lunar[@]}" status
"$repo/tools/lunar-vstart" stop --dir "$cluster"
pass "files outlived logout and login, and the disk grew online"
