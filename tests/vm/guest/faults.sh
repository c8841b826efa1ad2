# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Faults of networks and RDMA devices, and checks that nothing is left behind. Sourced after lib.sh.

# netem NETDEV WORDS...: sets the treatment of outgoing packets (tc-netem(8)); without words, none.
netem() {
  local netdev=$1
  shift
  load_modules sch_netem
  tc qdisc del dev "$netdev" root 2>/dev/null || :
  [ $# -eq 0 ] || tc qdisc add dev "$netdev" root netem limit 10000 "$@"
}
# netem_dropped NETDEV: number of packets dropped since netem was set. A loss test during which it
# does not grow proves nothing.
netem_dropped() { tc -s -j qdisc show dev "$1" | jq '[.[] | select(.kind == "netem") | .drops] | add // 0'; }

link_down() { ip link set "$1" down; } # NETDEV
link_up() { ip link set "$1" up; }     # NETDEV; its IPv4 addresses are kept

# delete_rxe NAME [SECONDS]: `rdma link delete` waits until no program has the device open. That must
# not take long, because programs close a device when they learn of its removal.
delete_rxe() {
  local deleting
  rdma link delete "$1" &
  deleting=$!
  wait_for "${2:-60}" "end of rdma link delete $1" _has_ended $deleting
  wait $deleting || fail "rdma link delete $1 ended with $?"
}

# count_rdma KIND... PID: number of objects of those kinds (qp, cq, mr, pd, srq) that a process has
# on all devices. The kernel shows the thread that made them, which lives as long as they do.
count_rdma() {
  local kinds=("${@:1:$#-1}") kind threads=("/proc/${!#}/task/"*)
  threads=("${threads[@]##*/}")
  for kind in "${kinds[@]}"; do rdma -j resource show "$kind"; done |
    jq -sr --argjson threads "[$(IFS=,; echo "${threads[*]}")]" \
      '[.[] | map(select(.pid as $pid | $threads | index($pid))) | length] | join(" ")'
}
# holdings PID: all these counts in one line that can be compared. Only fds of TCP and UDP sockets, channels and
# loops count: the store keeps files of objects open, and a load uses different objects in each run; and lttng-ust
# opens Unix sockets and pipes when it likes.
holdings() {
  local qp cq mr pd fds
  fds=$(find "/proc/$1/fd" -mindepth 1 -printf '%l\n' | grep -E '^(socket:|anon_inode:|/dev/infiniband/)' |
    awk 'FNR == NR {of_unix["socket:[" $7 "]"]; next} !($0 in of_unix)' "/proc/$1/net/unix" - | wc -l)
  read -r qp cq mr pd <<<"$(count_rdma qp cq mr pd "$1")"
  echo "qp $qp cq $cq mr $mr pd $pd fd $fds"
}
# expect_holdings SECONDS PID LINE WHO: waits until holdings prints that line again.
expect_holdings() {
  local end=$((SECONDS + $1)) now
  until now=$(holdings "$2") && [ "$now" = "$3" ]; do
    [ $SECONDS -lt $end ] || fail "$4 held '$3', and holds '$now' after $1 s: $(ls -l "/proc/$2/fd")"
    sleep 0.2
  done
}

# status_bytes FIELD PID: a line of /proc/PID/status such as VmPin or VmRSS, in bytes.
status_bytes() { awk -v field="$1:" '$1 == field {print $2 * 1024}' "/proc/$2/status"; }
