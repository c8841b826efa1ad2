#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Runs two guests as two hosts, a and b, whose eth1 are connected. The environment is that of
# run_guest.sh; the output folder gets a/, b/, and shared/, which both hosts see as $SHARED.
#
#   tests/vm/run_hosts.sh SCRIPT_A SCRIPT_B [ARGS...]
#
# Each host runs its own script with ARGS; $VM_HOST is a or b, and guest/hosts.sh has the functions
# by which they communicate. Passes only if both gave the verdict "pass". If one fails, the other
# is ended.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tools/dev/lib.sh
. "$here/../../tools/dev/lib.sh"
# shellcheck source=tests/vm/machine.sh
. "$here/machine.sh"

[ $# -ge 2 ] || die "usage: run_hosts.sh SCRIPT_A SCRIPT_B [ARGS...]"
declare -A script pid problem
script[a]=$(realpath -e -- "$1") || die "no such guest script: $1"
script[b]=$(realpath -e -- "$2") || die "no such guest script: $2"
shift 2
name=$(basename "${script[a]}" .sh)
out=${LUNAR_VM_OUT:-$LUNAR_ROOT/build/vm/$name}
limit=${LUNAR_VM_TIMEOUT:-300}
cable=$(mktemp -d /tmp/lunar-vm.XXXXXX) # unix sockets need short paths

cleanup() {
  end_guests
  rm -rf "$cable"
  rm -f "$out"/[ab]/scratch.img
}
trap cleanup EXIT
trap 'exit 143' TERM INT HUP

prepare_vm
rm -rf "$out"
mkdir -p "$out"/{a,b,shared}
out=$(realpath "$out")
start_host() { # HOST PEER ARGS...
  local host=$1 peer=$2
  shift 2
  write_job "$out/$host" "${LUNAR_VM_SCRIPT_TIMEOUT:-$((limit - 20))}" \
    "VM_HOST=$host SHARED=/run/lunar-shared" "${script[$host]}" "$@"
  guest_devices "$out/$host"
  # shellcheck disable=SC2054  # the commas are QEMU's
  devices+=(
    -fsdev "local,id=shared,path=$out/shared,security_model=none"
    -device virtio-9p-pci,fsdev=shared,mount_tag=shared
    -netdev "dgram,id=n1,local.type=unix,local.path=$cable/$host,remote.type=unix,remote.path=$cable/$peer"
    -device "virtio-net-pci,netdev=n1,mac=52:54:00:00:01:0$host"
  )
  start_qemu "$limit" "$out/$host/console.log" "$accel" "" "${devices[@]}" 2>"$out/$host/qemu.log"
  pid[$host]=$QEMU_PID
}
start_host a b "$@"
start_host b a "$@"

judge() { # HOST STATUS
  problem[$1]=$(problem_of "$out/$1" "$2" "$limit")
}
status=0
wait -n -p ended "${pid[a]}" "${pid[b]}" || status=$?
[ "$ended" = "${pid[a]}" ] && order=(a b) || order=(b a)
judge "${order[0]}" $status
# Makes the other host end its waits (guest/hosts.sh) and fail.
[ -z "${problem[${order[0]}]}" ] || touch "$out/shared/lost.${order[0]}"
status=0
wait "${pid[${order[1]}]}" || status=$?
judge "${order[1]}" $status
vm_pids=()

failed=0
for host in "${order[@]}"; do
  if [ -n "${problem[$host]}" ]; then
    say "$name, host $host: ${problem[$host]}"
    show_guest "$out/$host"
    failed=1
  fi
done
[ $failed = 0 ] || exit 1
for host in a b; do
  sed "s/^/$host /" "$out/$host/guest.log"
  say "$name, host $host: $(cat "$out/$host/verdict")"
done
