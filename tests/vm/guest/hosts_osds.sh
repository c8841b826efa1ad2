#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Host b of hosts_gateway.sh: two object servers, and the functions that host a calls.
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/hosts.sh"
. "$(dirname "$0")/faults.sh"
. "$(dirname "$0")/hosts_cluster.sh"

read_words "$@"
setup_host
mount_scratch /srv
vstart start --quiet -n 2 --dir "$CLUSTER" --bin-dir "$LUNAR_BUILD_DIR" --pool lunar \
  --address "$HOST_B" "${CLUSTER_OPTIONS[@]}"
cp "$CLUSTER/lunar.conf" "$CLUSTER/keyring" "$SHARED/"
step "cluster"
rendezvous cluster

# --- functions for host a

osd_pid() { cut -d' ' -f1 "$CLUSTER/run/osd.$1.pid"; }
# Without the MRs of chunks of 16 MiB, by which arenas grow on demand and which they keep.
osd_holdings() {
  local words
  read -ra words <<<"$(holdings "$(osd_pid "$1")")"
  [ "$TRANSPORT" = posix ] || words[5]=$((words[5] - ($(osd_perf "$1" .rdma.bytes_pinned) >> 24)))
  echo "${words[*]}"
}
osd_still_holds() { # SECONDS N LINE
  local end=$((SECONDS + $1)) now
  until now=$(osd_holdings "$2") && [ "$now" = "$3" ]; do
    [ $SECONDS -lt $end ] || fail "osd.$2 held '$3', and holds '$now' after $1 s"
    sleep 0.2
  done
}
restart_osds() {
  vstart start --quiet --dir "$CLUSTER" --bin-dir "$LUNAR_BUILD_DIR" --pool lunar --address "$HOST_B"
}
kill_osd() {
  local pid
  pid=$(osd_pid "$1")
  kill -KILL "$pid"
  wait_for 30 "end of osd.$1" _has_ended "$pid"
}
# A server of another cluster that cannot do one-sided delivery and accepts clients over TCP too.
start_old_cluster() {
  vstart start --quiet -n 1 --store mem --dir "$OLD_CLUSTER" --bin-dir "$LUNAR_BUILD_DIR" --pool lunar \
    --address "$HOST_B" "${CLUSTER_OPTIONS[@]}" -o ms_async_rdma_one_sided=false \
    -o ms_async_rdma_fallback=true
  cp "$OLD_CLUSTER/lunar.conf" "$SHARED/old.conf"
  cp "$OLD_CLUSTER/keyring" "$SHARED/old.keyring"
}
stop_old_cluster() { vstart stop --quiet --remove --dir "$OLD_CLUSTER"; }
osd_perf() { # N FILTER
  local socket
  socket=$CLUSTER/run/lunar-osd.$1.$(osd_pid "$1").asok
  "$LUNAR_BUILD_DIR/tools/lunar" -c "$CLUSTER/lunar.conf" daemon "$socket" perf dump | jq -c "$2"
}
osd_one_sided() { osd_perf "$1" '.osd_one_sided | with_entries(select(.value > 0))'; }
signal_osd() { kill -"$2" "$(osd_pid "$1")"; }
start_perf_server() { # ADDRESS WORDS...
  local address=$1
  shift
  rm -f "$OUT/perf_server.log" # an earlier server had printed the word too
  "$LUNAR_BUILD_DIR/tools/lunar-perf-msgr" server -c "$CLUSTER/lunar.conf" --bind "$address" "$@" \
    >"$OUT/perf_server.log" 2>&1 &
  PERF_PID=$!
  wait_for 30 "perf server" grep -q listening "$OUT/perf_server.log"
}
stop_perf_server() {
  kill "$PERF_PID"
  wait "$PERF_PID" || { cat "$OUT/perf_server.log"; return 1; }
}
perf_holdings() { holdings "$PERF_PID"; }
perf_is_idle() { [[ $(perf_holdings) == "qp 0 "* ]]; }
perf_still_holds() { expect_holdings "$1" "$PERF_PID" "$2" "the perf server"; }

serve_peer
for osd in 0 1; do
  ! _has_ended "$(osd_pid $osd)" || fail "osd.$osd has ended"
done
vstart stop --quiet --dir "$CLUSTER"
expect_no_crash "$CLUSTER"/log/*
pass "the servers have lived"
