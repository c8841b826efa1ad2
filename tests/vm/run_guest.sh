#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Boots Debian's own kernel in QEMU over this machine's root (read-only, writes go to memory), runs
# one script in it and keeps what the script left in $OUT.
#
#   tests/vm/run_guest.sh GUEST_SCRIPT [ARGS...]
#
# Passes only if the script ended with 0 *and* gave the verdict "pass" (guest/lib.sh). A guest that
# dies, hangs or gives no verdict fails. Environment:
#   LUNAR_VM_OUT        output folder, which is emptied first (default build/vm/<script's name>)
#   LUNAR_VM_TIMEOUT    time limit of the whole run in seconds (default 300)
#   LUNAR_VM_SCRIPT_TIMEOUT  time limit of the script in seconds (default 20 less than that)
#   LUNAR_VM_MEMORY_MB  guest memory, of which files can take 60 % (default 2048)
#   LUNAR_VM_CPUS       processors of the guest (default 2)
#   LUNAR_VM_DISK_MB    size of a scratch disk, /dev/vda in the guest (default none)
#   LUNAR_VM_ACCEL      kvm or tcg (default: kvm if a guest starts under it)
#   LUNAR_VM_QEMU_ARGS  more arguments for QEMU
#   LUNAR_BUILD_DIR     folder of the built programs, for the script (default build/release)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tools/dev/lib.sh
. "$here/../../tools/dev/lib.sh"
# shellcheck source=tests/vm/machine.sh
. "$here/machine.sh"

[ $# -ge 1 ] || die "usage: run_guest.sh GUEST_SCRIPT [ARGS...]"
script=$(realpath -e -- "$1") || die "no such guest script: $1"
shift
name=$(basename "$script" .sh)
out=${LUNAR_VM_OUT:-$LUNAR_ROOT/build/vm/$name}
limit=${LUNAR_VM_TIMEOUT:-300}

cleanup() {
  end_guests
  rm -f "$out/scratch.img"
}
trap cleanup EXIT
trap 'exit 143' TERM INT HUP

prepare_vm
rm -rf "$out"
mkdir -p "$out"
out=$(realpath "$out")
write_job "$out" "${LUNAR_VM_SCRIPT_TIMEOUT:-$((limit - 20))}" "" "$script" "$@"
guest_devices "$out"

status=0
start_qemu "$limit" "$out/console.log" "$accel" "" "${devices[@]}" 2>"$out/qemu.log"
wait "$QEMU_PID" || status=$?
vm_pids=()

problem=$(problem_of "$out" "$status" "$limit")
if [ -n "$problem" ]; then
  say "$name: $problem"
  show_guest "$out"
  exit 1
fi
cat "$out/guest.log"
say "$name: $(cat "$out/verdict")"
