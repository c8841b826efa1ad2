#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Host a of two: tgtd as a gateway, its object servers on host b (hosts_osds.sh). Tests the main path
# with the kernel's initiator, then faults between the hosts under verified load: IO goes on after
# each fault, nothing is left behind, and no program crashes.
#
#   hosts_gateway.sh TRANSPORT [MIB] [OPTION=VALUE...] [PHASE...]
#
# TRANSPORT is posix or rdma, MIB the least IO of each phase (4; time limits grow with it), OPTION
# an option of the configuration. Without a PHASE, all phases of the transport run (see the end).
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
. "$(dirname "$0")/faults.sh"
. "$(dirname "$0")/hosts_cluster.sh"
. "$(dirname "$0")/hosts_reasons.sh"

read_words "$@"
portal=127.0.0.1:3260
iqn=iqn.2025-01.test.lunar:hosts
disk_mib=96 load_mib=16 # the load is at the end of the disk, in few objects, so its cache is small
lunar=("$LUNAR_BUILD_DIR/tools/lunar" -c "$CLUSTER/lunar.conf")
perf_server=$HOST_B:7700
perf=("$LUNAR_BUILD_DIR/tools/lunar-perf-msgr" client "$perf_server" -c "$CLUSTER/lunar.conf" --warmup 0)

# --- the gateway's counters

read_perf() { # into $OUT/perf.json
  "${lunar[@]}" daemon "$CLUSTER/run/lunar-client.admin.$TGTD_PID.asok" perf dump >"$OUT/perf.json"
}
perf_value() { jq "$1" "$OUT/perf.json"; } # FILTER
moved_bytes() {
  read_perf
  perf_value '.gateway.rd_bytes + .gateway.wr_bytes'
}
has_moved() { [ "$(moved_bytes)" -ge "$1" ]; }
expect_perf() { # FILTER
  jq -e "$1" "$OUT/perf.json" >/dev/null || fail "not so: $1, in $(jq -c . "$OUT/perf.json")"
}

# --- load

# Runs verified loads, one after the other, until $OUT/load.stop exists; fails with the first one
# that fails.
load_until_stopped() { # FIRST_SEED
  local seed=$1
  while [ ! -e "$OUT/load.stop" ]; do
    "$LUNAR_BUILD_DIR/tests/e2e/iscsi_load/lunar-iscsi-load" verify --url "iscsi://$portal/$iqn/1" \
      --bytes 4M --span "${load_mib}M" --offset "$((disk_mib - load_mib))M" --max-op 8M --depth 4 \
      --initially-anything \
      --retry-seconds 300 --seed "$seed" --json >"$OUT/load.log" 2>&1 || return
    seed=$((seed + 1))
  done
}
start_load() {
  rm -f "$OUT/load.stop"
  load_until_stopped "$1" &
  LOAD_PID=$!
}
finish_load() {
  touch "$OUT/load.stop"
  wait_for 400 "end of the load" _has_ended "$LOAD_PID"
  wait "$LOAD_PID" || fail "the load ended with $?: $(tail -n 3 "$OUT/load.log")"
}
# wait_moved BYTES: waits until the load has moved that many more bytes.
wait_moved() {
  local goal=$(($(moved_bytes) + $1))
  wait_for $((300 + ($1 >> 17))) "load of $1 bytes" has_moved "$goal"
}

# under_load WHAT FUNCTION...: calls FUNCTION during the load, which must go on after it.
phase_number=0
under_load() {
  local what=$1 began=$SECONDS bytes=$((MIB << 20)) before
  shift
  phase_number=$((phase_number + 1))
  before=$(moved_bytes)
  start_load $((phase_number * 1000))
  wait_moved $((bytes / 4))
  "$@"
  step "$what: over"
  wait_moved $((bytes * 3 / 4))
  finish_load
  read_perf
  local moved=$((($(perf_value '.gateway.rd_bytes + .gateway.wr_bytes') - before) >> 20))
  step "$what: IO went on, $((SECONDS - began)) s, $moved MiB; $(told)"
}
# Prints the counters of the gateway and its device.
told() {
  local counters=/sys/class/infiniband/rxe0/ports/1/hw_counters name
  for name in sent_pkts duplicate_request rcvd_seq_err out_of_seq_request retry_exceeded_err \
    completer_retry_err rcvd_rnr_err; do
    [ ! -e "$counters/$name" ] || printf '%s %s, ' "$name" "$(cat "$counters/$name")"
  done
  perf_value '"links lost \(.msgr.links_lost), replays \(.msgr.replays), " +
    (.objecter | "ops resent \(.op_resend), timed out \(.op_timeout); " +
      "one-sided ops \(.one_sided), bytes \(.one_sided_bytes); inline: " +
      (with_entries(select((.key | startswith("inline_")) and .value > 0)) | tojson))' -r
}

# --- faults

nothing() { :; }

netem_words=(delay 2ms loss 2% reorder 25% 50%)
bad_network() {
  netem "$HOST_NETDEV" "${netem_words[@]}"
  on_peer netem "$HOST_NETDEV" "${netem_words[@]}"
  wait_for 180 "packets dropped by netem on both hosts" both_have_dropped
  step "netem dropped $(netem_dropped "$HOST_NETDEV") packets here and $(on_peer netem_dropped "$HOST_NETDEV") there"
  netem "$HOST_NETDEV"
  on_peer netem "$HOST_NETDEV"
}
both_have_dropped() {
  [ "$(netem_dropped "$HOST_NETDEV")" -ge 5 ] && [ "$(on_peer netem_dropped "$HOST_NETDEV")" -ge 5 ]
}

cable_out() {
  link_down "$HOST_NETDEV"
  sleep $((KEEPALIVE_SECONDS + 2))
  link_up "$HOST_NETDEV"
}

own_device_removed() {
  delete_rxe rxe0
  [ "$(count_rdma qp "$TGTD_PID")" = 0 ] || fail "tgtd has queue pairs of a device that is gone"
  setup_rxe rxe0 "$HOST_NETDEV"
}
their_device_removed() {
  on_peer delete_rxe rxe0
  on_peer setup_rxe rxe0 "$HOST_NETDEV"
}

server_killed() {
  on_peer kill_osd 1
  on_peer restart_osds
}

server_stopped() {
  on_peer signal_osd 0 STOP
  sleep $((OP_SECONDS + 5))
  on_peer signal_osd 0 CONT
}

# --- setups that cannot work

# refused WORDS CMD...: the client must end with an error whose sentence has the words.
refused() {
  local words=$1 said status=0
  shift
  on_peer start_perf_server "$perf_server"
  said=$(timeout 60 "$@" 2>&1) || status=$?
  [ $status != 0 ] && [ $status -lt 124 ] || fail "ended with $status, not an error: $* ($said)"
  [[ $said == *$words* ]] || fail "'$words' is not in: $said"
  on_peer stop_perf_server
  step "refused as it should be: $said"
}
# fell_back WORDS CMD...: the client must work over TCP and give the reason in a sentence with the
# words.
fell_back() {
  local words=$1 said
  shift
  on_peer start_perf_server "$perf_server" --ms-async-rdma-fallback=true
  said=$(timeout 60 "$@" --ms-async-rdma-fallback=true 2>&1) || fail "no fallback to TCP: $* ($said)"
  [[ $said == *$words* ]] || fail "'$words' is not in: $said"
  on_peer stop_perf_server
  step "fell back to TCP: $said"
}

# Runs as root without the capability that overrides the limit.
little_memory=(prlimit --memlock=65536:65536 setpriv --bounding-set -ipc_lock --inh-caps -ipc_lock)
no_device=(--ms-async-rdma-device-name nosuch)
memlock_too_small() {
  refused LimitMEMLOCK "${little_memory[@]}" "${perf[@]}" --ops 10
  fell_back LimitMEMLOCK "${little_memory[@]}" "${perf[@]}" --ops 10
}
device_absent() {
  refused nosuch "${perf[@]}" --ops 10 "${no_device[@]}"
  fell_back nosuch "${perf[@]}" --ops 10 "${no_device[@]}"
}

connections_leave_nothing() {
  local held cycles=$((MIB < 64 ? 60 : 200)) began
  on_peer start_perf_server "$perf_server"
  "${perf[@]}" --cycles 5 >/dev/null # makes what is made only once
  on_peer wait_for 30 "end of the first connections" perf_is_idle
  held=$(on_peer perf_holdings)
  began=$SECONDS
  "${perf[@]}" --cycles $cycles
  on_peer perf_still_holds 30 "$held"
  on_peer stop_perf_server
  step "after $cycles connections in $((SECONDS - began)) s the server holds what it held before: $held"
}

# --- the main path

# Files survive a logout. The kernel's initiator is here, the servers are on the other host.
main_path() {
  local dir=/mnt/lunar
  start_iscsid
  files_outlive_a_logout "$iqn" "$portal" $((disk_mib << 20)) "$dir" "$MIB"
  leave_disk "$iqn" "$portal" "$dir"
  read_perf
  [ "$TRANSPORT" = posix ] || expect_perf '.rdma.links_tcp == 0 and .objecter.one_sided_bytes > 0'
  step "files outlived a logout; $(told)"
}

# --- run

# Objects are placed by their names, which begin with the random id of the image. A fault of one
# server tests nothing if all objects of the load are on the other, so such an image is not used.
create_disk() {
  local tries
  for tries in {1..40}; do
    "${lunar[@]}" create lunar/disk --size "${disk_mib}M"
    [ "$(servers_of_load)" = "0 1" ] && return
    "${lunar[@]}" rm lunar/disk
  done
  fail "$tries images, and none of them has its load on both servers"
}
servers_of_load() {
  local info id object object_mib
  info=$("${lunar[@]}" --format json info lunar/disk)
  id=$(jq -r .id <<<"$info") object_mib=$(($(jq .object_size <<<"$info") >> 20))
  for ((object = (disk_mib - load_mib) / object_mib; object < disk_mib / object_mib; object++)); do
    "${lunar[@]}" --format json osd map lunar "$id.$(printf %016x "$object")"
  done | jq -s 'map(.osd) | unique | join(" ")' -r
}

start_gateway() {
  mkdir -p "$CLUSTER/run" "$CLUSTER/log"
  cp "$SHARED/lunar.conf" "$SHARED/keyring" "$CLUSTER/"
  chmod 600 "$CLUSTER/keyring"
  create_disk
  install_plugin "$LUNAR_BUILD_DIR/bstore_plugin/bs_lunar.so"
  start_tgtd "$portal" LUNAR_CONF="$CLUSTER/lunar.conf"
  export_lun 1 "$iqn" 1 lunar lunar/disk
}

# The load without faults, to learn what the programs hold.
warm_up() {
  under_load "nothing wrong" nothing
  if [ "$TRANSPORT" = rdma ]; then
    [ "$(count_rdma qp "$TGTD_PID")" -ge 2 ] || fail "tgtd has not two queue pairs: $(rdma resource show qp)"
    expect_perf '.objecter.one_sided_bytes > 0 and .rdma.links_tcp == 0'
  fi
  gateway_held=$(holdings "$TGTD_PID")
  server_held=$(on_peer osd_holdings 0)
  step "gateway holds $gateway_held; osd.0 holds $server_held"
}
nothing_left_behind() {
  under_load "nothing wrong any more" nothing
  [ "$TRANSPORT" = posix ] || expect_perf '.rdma.links_tcp == 0'
  expect_holdings 30 "$TGTD_PID" "$gateway_held" tgtd
  on_peer osd_still_holds 30 0 "$server_held"
  step "the gateway and osd.0 hold what they held at first"
  if [[ " ${OPTIONS[*]}" == *" osd_direct_io_bytes="* ]]; then
    fixed=$(on_peer osd_perf 0 .osd_store.ring_fixed_bytes)
    [ "$fixed" -gt 0 ] || fail "osd.0 has stored nothing straight from where it was pulled to"
    step "osd.0 has moved $fixed bytes between registered memory and its disk past the page cache"
  fi
}

run_phase() {
  local began=$SECONDS
  case $1 in
  main) main_path ;;
  loss) under_load "loss and reordering" bad_network ;;
  link) under_load "link down" cable_out ;;
  own-device) under_load "device of the gateway removed" own_device_removed ;;
  their-device) under_load "device of the servers removed" their_device_removed ;;
  kill) under_load "server killed" server_killed ;;
  stop) under_load "server stopped" server_stopped ;;
  reasons) every_reason ;;
  late) late_server ;;
  connections) connections_leave_nothing ;;
  memlock) memlock_too_small ;;
  no-device) device_absent ;;
  *) fail "there is no phase '$1'" ;;
  esac
  ! _has_ended "$TGTD_PID" || fail "tgtd is gone after: $1"
  step "phase $1 took $((SECONDS - began)) s"
}

if [ ${#PHASES[@]} = 0 ]; then
  PHASES=(main loss link kill stop connections)
  [ "$TRANSPORT" = posix ] || PHASES+=(reasons late own-device their-device memlock no-device)
fi
setup_host
rendezvous cluster
start_gateway
warm_up
for phase in "${PHASES[@]}"; do run_phase "$phase"; done
nothing_left_behind
stop_tgtd
expect_no_crash "$OUT/tgtd.log"
on_peer end_serving
pass "IO went on after ${PHASES[*]}, and nothing was left behind"
