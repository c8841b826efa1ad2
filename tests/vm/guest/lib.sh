# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2034  # variables are for the scripts that source this
# Functions for guest scripts, to be sourced first. The guest's root is the host's, writable in
# memory, so built programs and plugins are used where they are. The host sees $OUT.

set -euo pipefail
: "${OUT:?guest scripts are run by tests/vm/run_guest.sh}"

step() { printf '[%6.1f s] %s\n' "$(cut -d' ' -f1 /proc/uptime)" "$*"; }

# A script ends with one of these; without a verdict it has failed. The first verdict counts.
pass() {
  [ -f "$OUT/verdict" ] || printf 'pass %s\n' "$*" >"$OUT/verdict"
  step "pass $*"
  exit 0
}
# After a failure the host also gets the files and folders in KEEP.
KEEP=()
fail() {
  local path
  for path in "${KEEP[@]}"; do cp -r "$path" "$OUT/" 2>/dev/null || :; done
  [ -f "$OUT/verdict" ] || printf 'fail %s\n' "$*" >"$OUT/verdict"
  step "FAIL $*"
  exit 1
}
# A command that fails unexpectedly is a verdict too, with its line number.
trap 'fail "line $LINENO: $BASH_COMMAND"' ERR
set -E

# wait_for SECONDS WHAT CMD...: waits until CMD succeeds; fails after SECONDS. CMD is silent.
wait_for() {
  local seconds=$1 what=$2 end
  shift 2
  end=$((SECONDS + seconds))
  until "$@" >/dev/null 2>&1; do
    [ $SECONDS -lt $end ] || fail "no $what after $seconds s"
    sleep 0.1
  done
}

# Options with longer time limits for emulated processors. ACK_PATIENCE is for tests in which no link
# must be lost: an emulated device can take half a second to answer.
PATIENCE=(lunar_open_timeout=20s lunar_lun_open_wait=20s ms_async_rdma_fallback_timeout=10s)
ACK_PATIENCE=ms_async_rdma_ack_timeout=500ms

# --- devices -----------------------------------------------------------------------------------

load_modules() {
  local module
  for module in "$@"; do modprobe "$module" || fail "modprobe $module failed"; done
}

# setup_net [NETDEV [CIDR]]: gives a network device an address. QEMU's own network is 10.0.2.0/24.
setup_net() {
  load_modules virtio_net
  wait_for 30 "network device ${1:-eth0}" ip link show "${1:-eth0}"
  ip addr replace "${2:-10.0.2.15/24}" dev "${1:-eth0}"
  ip link set "${1:-eth0}" up
}

# setup_rxe [NAME [NETDEV]]: a software RDMA device on a network device that has an address.
setup_rxe() {
  local name=${1:-rxe0} netdev=${2:-eth0}
  load_modules rdma_rxe ib_uverbs rdma_ucm
  rdma link add "$name" type rxe netdev "$netdev"
  wait_for 30 "active port of $name" grep -q ACTIVE "/sys/class/infiniband/$name/ports/1/state"
  wait_for 30 "device node of $name" test -e /dev/infiniband/uverbs0
}

# mount_scratch DIR: the disk that LUNAR_VM_DISK_MB asked for, as a fresh ext4.
mount_scratch() {
  load_modules virtio_blk ext4
  wait_for 30 "scratch disk (LUNAR_VM_DISK_MB)" test -b /dev/vda
  mkfs.ext4 -q -F /dev/vda
  mkdir -p "$1"
  mount /dev/vda "$1"
}

# --- target ------------------------------------------------------------------------------------

# install_plugin FILE: makes it a backing store of every tgtd started from now on.
install_plugin() {
  mkdir -p /usr/lib/tgt/backing-store
  cp "$1" /usr/lib/tgt/backing-store/
}

# start_tgtd PORTAL [ENV=VALUE... CMD...]: starts tgtd in the background, with its log in
# $OUT/tgtd.log; sets TGTD_PID. Words after the portal are its environment, or a wrapper.
start_tgtd() {
  local portal=$1
  shift
  env "$@" tgtd -f --iscsi "portal=$portal" >"$OUT/tgtd.log" 2>&1 &
  TGTD_PID=$!
  wait_for 30 "answer from tgtd" tgtadm --lld iscsi --mode target --op show
}

# Ends tgtd by a command, because it ignores SIGTERM.
stop_tgtd() {
  tgtadm --lld iscsi --mode target --op delete --tid 1 --force
  tgtadm --op delete --mode system
  wait_for 30 "end of tgtd" _has_ended "$TGTD_PID"
}
_has_ended() { ! kill -0 "$1" 2>/dev/null; }

# export_lun TID IQN LUN BSTYPE STORE [OPTION...]: makes the target, if need be, and the LUN.
export_lun() {
  local tid=$1 iqn=$2 lun=$3 bstype=$4 store=$5
  shift 5
  if ! tgtadm --lld iscsi --mode target --op show | grep -q "^Target $tid:"; then
    tgtadm --lld iscsi --mode target --op new --tid "$tid" --targetname "$iqn"
    tgtadm --lld iscsi --mode target --op bind --tid "$tid" --initiator-address ALL
  fi
  tgtadm --lld iscsi --mode logicalunit --op new --tid "$tid" --lun "$lun" \
    --bstype "$bstype" --backing-store "$store" "$@"
}

# --- kernel initiator --------------------------------------------------------------------------

start_iscsid() {
  load_modules iscsi_tcp sd_mod
  mkdir -p /run/lock /etc/iscsi
  rm -rf /etc/iscsi/nodes /etc/iscsi/send_targets /var/lib/iscsi
  echo "InitiatorName=iqn.2025-01.test.lunar:guest" >/etc/iscsi/initiatorname.iscsi
  iscsid -f >"$OUT/iscsid.log" 2>&1 &
  ISCSID_PID=$!
  # Its command socket is abstract; when it is listed here, it is listening.
  wait_for 30 "iscsid" grep -q ISCSIADM_ABSTRACT_NAMESPACE /proc/net/unix
}

iscsi_discover() { iscsiadm -m discovery -t sendtargets -p "$1"; } # PORTAL
iscsi_login() { iscsiadm -m node -T "$1" -p "$2" --login; }        # IQN PORTAL
iscsi_logout() { iscsiadm -m node -T "$1" -p "$2" --logout; }      # IQN PORTAL
iscsi_rescan() { iscsiadm -m node -T "$1" -p "$2" --rescan; }      # IQN PORTAL

# find_disk IQN LUN: prints /dev/sdX of a logged-in LUN; fails if there is none (yet).
find_disk() {
  local session block
  for session in /sys/class/iscsi_session/session*; do
    [ "$(cat "$session/targetname" 2>/dev/null)" = "$1" ] || continue
    for block in "$session"/device/target*/*:"$2"/block/sd*; do
      [ -b "/dev/${block##*/}" ] || continue
      echo "/dev/${block##*/}"
      return 0
    done
  done
  return 1
}
# wait_disk IQN LUN: waits for it, sets DISK.
wait_disk() {
  wait_for 30 "disk of $1 LUN $2" find_disk "$1" "$2"
  DISK=$(find_disk "$1" "$2")
}
_is_gone() { ! test -e "$1"; }
wait_disk_gone() { wait_for 30 "end of $1" _is_gone "$1"; } # DISK

# DISK; 0 while its driver has it not ready, as soon after a login.
disk_bytes() { blockdev --getsize64 "$1" 2>/dev/null || echo 0; }
_has_bytes() { [ "$(disk_bytes "$1")" = "$2" ]; }
wait_disk_bytes() { wait_for 30 "size $2 of $1 (it is $(disk_bytes "$1"))" _has_bytes "$1" "$2"; }

# make_ext4 DISK DIR: makes and mounts a file system.
make_ext4() {
  load_modules ext4
  mkfs.ext4 -q -F "$1"
  mkdir -p "$2"
  mount "$1" "$2"
}

# write_files DIR MIB: random files of many sizes, MIB in all, flushed. Their checksums go to
# $OUT/checksums, outside the file system.
write_files() {
  local dir=$1 left=$(($2 * 1024)) kib sizes=(1 4 63 512 1024 4096 8192) i=0
  mkdir -p "$dir"
  while [ $left -gt 0 ]; do
    kib=${sizes[i % ${#sizes[@]}]}
    [ "$kib" -le $left ] || kib=$left
    dd if=/dev/urandom of="$dir/file.$i" bs="${kib}K" count=1 iflag=fullblock status=none
    left=$((left - kib)) i=$((i + 1))
  done
  sync -f "$dir"
  (cd "$dir" && sha256sum file.*) >"$OUT/checksums"
  step "wrote $i files, $2 MiB"
}
# files_outlive_a_logout IQN PORTAL BYTES DIR MIB: discovers and logs in to LUN 1, a disk of BYTES;
# makes a file system and fills it; logs out and in again. Leaves DISK mounted at DIR, and its files
# verified.
files_outlive_a_logout() {
  local iqn=$1 portal=$2 bytes=$3 dir=$4 mib=$5
  iscsi_discover "$portal" | grep -q "$iqn" || fail "discovery does not show the target"
  iscsi_login "$iqn" "$portal"
  wait_disk "$iqn" 1
  wait_disk_bytes "$DISK" "$bytes"
  step "file system on $DISK"
  make_ext4 "$DISK" "$dir"
  write_files "$dir/data" "$mib"
  step "logout and login"
  leave_disk "$iqn" "$portal" "$dir"
  iscsi_login "$iqn" "$portal"
  wait_disk "$iqn" 1
  mount "$DISK" "$dir"
  verify_files "$dir/data"
}
# leave_disk IQN PORTAL DIR: unmounts the disk and logs out.
leave_disk() {
  umount "$3"
  iscsi_logout "$1" "$2"
  wait_disk_gone "$DISK"
}

# verify_files DIR: every file that write_files wrote exists and is unchanged.
verify_files() {
  (cd "$1" && sha256sum --quiet -c "$OUT/checksums") || fail "files in $1 differ from what was written"
  step "verified $(wc -l <"$OUT/checksums") files"
}
