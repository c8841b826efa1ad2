# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2034  # variables are for the scripts that source this
# Settings of both hosts of hosts_gateway.sh. Sourced after hosts.sh.

CLUSTER=/srv/cluster
OLD_CLUSTER=/srv/old
KEEP=("$CLUSTER/log")
export LTTNG_UST_REGISTER_TIMEOUT=0

vstart() { "$LUNAR_ROOT/tools/lunar-vstart" "$@"; }

# read_words TRANSPORT [WORD...]: sets TRANSPORT, MIB of IO for each phase, OPTIONS (NAME=VALUE...)
# and PHASES, and the configuration as CLUSTER_OPTIONS. A dead link is noticed after
# KEEPALIVE_SECONDS; an op that waits for longer than OP_SECONDS fails, and the initiator repeats it.
KEEPALIVE_SECONDS=8
OP_SECONDS=15
read_words() {
  local word
  TRANSPORT=$1 MIB=4 OPTIONS=() PHASES=()
  shift
  for word in "$@"; do
    case $word in
    *=*) OPTIONS+=("$word") ;;
    [0-9]*) MIB=$word ;;
    *) PHASES+=("$word") ;;
    esac
  done
  CLUSTER_OPTIONS=(-o ms_keepalive_interval=1s -o "ms_keepalive_timeout=${KEEPALIVE_SECONDS}s"
    -o ms_max_backoff=2s -o "objecter_op_timeout=${OP_SECONDS}s")
  case $TRANSPORT in
  posix) CLUSTER_OPTIONS+=(-o ms_type=async+posix) ;;
  # A link that stays on TCP is then an error.
  rdma) CLUSTER_OPTIONS+=(-o ms_type=async+rdma -o ms_async_rdma_fallback=false) ;;
  *) fail "the transport is posix or rdma, not '$TRANSPORT'" ;;
  esac
  for word in "${PATIENCE[@]}" "${OPTIONS[@]}"; do CLUSTER_OPTIONS+=(-o "$word"); done
}

setup_host() {
  setup_cable
  [ "$TRANSPORT" = posix ] || setup_rxe rxe0 "$HOST_NETDEV"
  rendezvous cable
}

# expect_no_crash LOG...: none of the programs that wrote these logs has crashed.
expect_no_crash() {
  ! grep -hE 'LUNAR_CHECK|terminate called|Assertion|Sanitizer' "$@" || fail "a program died of a bug"
}
