# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Functions for the scripts of run_hosts.sh, sourced after lib.sh: the cable, and the communication
# of the two hosts. Host b runs host a's commands, so that a test reads as one script, that of a.

: "${VM_HOST:?run by tests/vm/run_hosts.sh}" "${SHARED:?}"
HOST_A=10.77.0.1
HOST_B=10.77.0.2
HOST_NETDEV=eth1

mkdir -p "$SHARED"
mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=none shared "$SHARED"

# setup_cable [MTU]: sets up eth1. With an MTU of 4500 an rxe device can use its largest packets.
setup_cable() {
  local address=$HOST_A
  [ "$VM_HOST" = a ] || address=$HOST_B
  setup_net "$HOST_NETDEV" "$address/24"
  ip link set "$HOST_NETDEV" mtu "${1:-4500}"
}

_peer_is_lost() { compgen -G "$SHARED/lost.*" >/dev/null; }
# wait_shared SECONDS FILE: waits until the other host has written it.
wait_shared() {
  local end=$((SECONDS + $1))
  until [ -e "$SHARED/$2" ]; do
    ! _peer_is_lost || fail "the other host has failed"
    [ $SECONDS -lt $end ] || fail "no $2 from the other host after $1 s"
    sleep 0.1
  done
}
# rendezvous NAME: both hosts wait here for each other.
rendezvous() {
  touch "$SHARED/at.$1.$VM_HOST"
  wait_shared 300 "at.$1.a"
  wait_shared 300 "at.$1.b"
}

# on_peer WORDS...: runs a function or program on host b (in its serve_peer) and prints its output.
# Fails if that fails.
on_peer() {
  local number
  # The counter is in a file because on_peer is also called in subshells.
  number=$(($(cat "$SHARED/commands" 2>/dev/null || echo 0) + 1))
  echo "$number" >"$SHARED/commands"
  printf '%q ' "$@" >"$SHARED/command.new"
  mv "$SHARED/command.new" "$SHARED/command.$number"
  wait_shared 120 "done.$number"
  cat "$SHARED/output.$number"
  [ "$(cat "$SHARED/done.$number")" = 0 ] || fail "on the other host: $* ($(cat "$SHARED/output.$number"))"
}

# serve_peer: the loop of host b, which ends when host a runs `on_peer end_serving`.
end_serving() { SERVING=; }
serve_peer() {
  local number=1 status
  SERVING=1
  while [ -n "$SERVING" ]; do
    wait_shared 600 "command.$number"
    step "for a: $(cat "$SHARED/command.$number")"
    status=0
    # Not in a subshell, because it can set variables. Host a judges a command that fails.
    eval "$(cat "$SHARED/command.$number")" >"$SHARED/output.$number" 2>&1 || status=$?
    echo $status >"$SHARED/done.new"
    mv "$SHARED/done.new" "$SHARED/done.$number"
    number=$((number + 1))
  done
}
