#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# The main path under Debian's kernel: iscsiadm -> tgtd with bs_lunar.so -> three lunar-osd. Files
# survive a logout, and a disk that grows while in use is seen to have grown.
#
#   lunar.sh TRANSPORT [MIB [VARIANT...]]    posix, or rdma: after `lunar rdma info`, in one boot,
#       connections made over TCP and by rdma_cm (tcp, cm), with shared receive buffers and without
#       (-srq, -plain)
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/faults.sh"

transport=$1
mib=${2:-48}
variants=("${@:3}")
[ ${#variants[@]} -gt 0 ] || variants=(tcp-srq tcp-plain cm-srq cm-plain)
dir=/mnt/lunar
export LTTNG_UST_REGISTER_TIMEOUT=0

# start_cluster NAME ADDRESS [OPTION=VALUE...]: starts a cluster, and a tgtd with an image as a LUN.
start_cluster() {
  local name=$1 address=$2 option options=()
  shift 2
  for option in "${PATIENCE[@]}" "$ACK_PATIENCE" "$@"; do options+=(-o "$option"); done
  cluster=/srv/$name
  portal=127.0.0.1:3260
  iqn=iqn.2025-01.test.lunar:$name
  # shellcheck disable=SC2034  # lib.sh's
  KEEP=("$cluster/log")
  lunar=("$LUNAR_BUILD_DIR/tools/lunar" -c "$cluster/lunar.conf")
  step "$name: cluster"
  "$LUNAR_ROOT/tools/lunar-vstart" start --quiet -n 3 --dir "$cluster" --bin-dir "$LUNAR_BUILD_DIR" \
    --pool lunar --address "$address" "${options[@]}"
  "${lunar[@]}" create lunar/disk --size 192M
  step "$name: target"
  start_tgtd "$portal" LUNAR_CONF="$cluster/lunar.conf"
  export_lun 1 "$iqn" 1 lunar lunar/disk
}

stop_cluster() {
  kill -0 "$TGTD_PID" || fail "tgtd is gone"
  stop_tgtd
  "$LUNAR_ROOT/tools/lunar-vstart" stop --quiet --dir "$cluster" --remove
}

grow_while_mounted() {
  step "grow while mounted"
  "${lunar[@]}" resize lunar/disk --size 256M
  grown() { iscsi_rescan "$iqn" "$portal" && [ "$(disk_bytes "$DISK")" = $((256 << 20)) ]; }
  wait_for 60 "new size of $DISK" grown
  resize2fs "$DISK"
  echo 1 >/proc/sys/vm/drop_caches
  verify_files "$dir/data"
}

# --- RDMA

rdma_packets() { cat /sys/class/infiniband/rxe0/ports/1/hw_counters/sent_pkts; }

# expect_rdma PACKETS_BEFORE MIB: sessions and data went over queue pairs, by the counters of the
# kernel and of the gateway. Each byte was written once and read at least once, in packets of 4 KiB at most.
expect_rdma() {
  local packets
  wait_for 30 "three queue pairs of tgtd, one for each server" has_three_qps
  packets=$(($(rdma_packets) - $1))
  [ "$packets" -ge $(($2 * 2 * 256)) ] || fail "only $packets packets left the RDMA device"
  gateway_perf >"$OUT/perf.json"
  expect_counter '.rdma.links_rdma >= 3'
  expect_counter '.rdma.links_tcp == 0'
  expect_counter '.msgr.links_lost == 0'
  expect_counter '.objecter.one_sided_bytes > 0'
  step "tgtd: $(holdings "$TGTD_PID"), $(($(status_bytes VmPin "$TGTD_PID") >> 20)) MiB pinned; $packets packets"
}
has_three_qps() { [ "$(count_rdma qp "$TGTD_PID")" -ge 3 ]; }
expect_counter() { # FILTER of jq, on the gateway's perf dump
  jq -e "$1" "$OUT/perf.json" >/dev/null || fail "not so: $1, in $(jq -c . "$OUT/perf.json")"
}
gateway_perf() { "${lunar[@]}" daemon "$cluster"/run/lunar-client.admin.*.asok perf dump; }

# over_rdma NAME MIB OPTION=VALUE...: tests the main path, then ends everything. If GROW is set, the
# image grows too.
over_rdma() {
  local name=$1 mib=$2 packets began=$SECONDS
  shift 2
  start_cluster "$name" 10.0.2.15 ms_type=async+rdma ms_async_rdma_fallback=false "$@"
  packets=$(rdma_packets)
  files_outlive_a_logout "$iqn" "$portal" $((192 << 20)) "$dir" "$mib"
  [ -z "${GROW:-}" ] || grow_while_mounted
  expect_rdma "$packets" "$mib"
  leave_disk "$iqn" "$portal" "$dir"
  stop_cluster
  step "$name took $((SECONDS - began)) s"
}

# --- output of `lunar rdma info`

# expect_info STATUS SENTENCE...: it ends with STATUS (19 is ENODEV) and prints all the sentences.
# INFO_PREFIX is put before the command.
INFO_PREFIX=()
expect_info() {
  local wanted=$1 said sentence status=0
  shift
  said=$("${INFO_PREFIX[@]}" "$LUNAR_BUILD_DIR/tools/lunar" rdma info --ms-type=async+rdma 2>&1) || status=$?
  [ "$status" = "$wanted" ] || fail "lunar rdma info ended with $status, not $wanted: $said"
  for sentence in "$@"; do
    [[ $said == *$sentence* ]] || fail "'$sentence' is not in what lunar rdma info says: $said"
  done
  printf '%s\n' "$said"
}
info_without_device() {
  expect_info 19 "ib_uverbs not loaded" "modprobe ib_uverbs" "no RDMA device" \
    "rdma link add rxe0 type rxe netdev" "RDMA does not work here"
}
info_with_device() {
  expect_info 0 "device rxe0" "port 1: active, Ethernet" "GID 1: ::ffff:10.0.2.15 RoCE v2, eth0" \
    "chosen for any address: device rxe0, port 1, GID" "SRQ yes" "memory windows yes" "RDMA works here"
}
# Runs as root without the capability that overrides the limit.
info_with_little_memory() {
  INFO_PREFIX=(prlimit --memlock=8388608:8388608 setpriv --bounding-set -ipc_lock --inh-caps -ipc_lock)
  expect_info 19 "memory that may be pinned: 8 MiB;" "RLIMIT_MEMLOCK lets this process pin 8 MiB" \
    "LimitMEMLOCK=infinity"
  INFO_PREFIX=()
}

# --- runs

step "start"
mount_scratch /srv
install_plugin "$LUNAR_BUILD_DIR/bstore_plugin/bs_lunar.so"
start_iscsid
case $transport in
posix)
  start_cluster main-path 127.0.0.1 ms_type=async+posix
  files_outlive_a_logout "$iqn" "$portal" $((192 << 20)) "$dir" "$mib"
  grow_while_mounted
  leave_disk "$iqn" "$portal" "$dir"
  "${lunar[@]}" status
  stop_cluster
  ;;
rdma)
  setup_net
  info_without_device
  setup_rxe
  info_with_device
  info_with_little_memory
  for variant in "${variants[@]}"; do
    cm=false srq=false grow=
    [[ $variant != cm-* ]] || cm=true
    [[ $variant != *-srq ]] || srq=true
    [ "$variant" != tcp-srq ] || grow=1
    GROW=$grow over_rdma "$variant" "$((grow ? mib : 8))" ms_async_rdma_cm=$cm ms_async_rdma_support_srq=$srq
  done
  delete_rxe rxe0 # no program has it open any more
  ;;
*) fail "the transport is posix or rdma, not '$transport'" ;;
esac
pass "files outlived logout and login, and the disk grew online"
