#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Boots Debian's own kernel in QEMU over this machine's root (read-only, writes go to memory), runs
# one script in it and brings back what it left in $OUT.
#
#   tests/vm/run_guest.sh GUEST_SCRIPT [ARGS...]
#
# Passes only if the script ended with 0 *and* gave the verdict "pass" (guest/lib.sh): a guest that
# dies, hangs or says nothing fails. Environment:
#   LUNAR_VM_OUT        output folder, emptied first (default build/vm/<script's name>)
#   LUNAR_VM_TIMEOUT    seconds for everything (default 300)
#   LUNAR_VM_SCRIPT_TIMEOUT  seconds for the script alone (default 20 less than that)
#   LUNAR_VM_MEMORY_MB  guest memory, of which files may take 60 % (default 2048)
#   LUNAR_VM_CPUS       default 2
#   LUNAR_VM_DISK_MB    size of a scratch disk, /dev/vda in the guest (default none)
#   LUNAR_VM_ACCEL      kvm or tcg (default: kvm if a guest starts under it)
#   LUNAR_VM_QEMU_ARGS  more words for QEMU's command line
#   LUNAR_BUILD_DIR     handed to the script: where the built programs are (default build/release)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tools/dev/lib.sh
. "$here/../../tools/dev/lib.sh"

[ $# -ge 1 ] || die "usage: run_guest.sh GUEST_SCRIPT [ARGS...]"
script=$(realpath -e -- "$1") || die "no such guest script: $1"
shift
name=$(basename "$script" .sh)
out=${LUNAR_VM_OUT:-$LUNAR_ROOT/build/vm/$name}
limit=${LUNAR_VM_TIMEOUT:-300}
qemu_pid=

cleanup() {
  [ -z "$qemu_pid" ] || kill -KILL "$qemu_pid" 2>/dev/null || :
  rm -f "$out/scratch.img"
}
trap cleanup EXIT
trap 'exit 143' TERM INT HUP

command -v qemu-system-x86_64 >/dev/null || die "qemu-system-x86_64 is missing: run tools/dev/setup.sh"

# run_qemu SECONDS CONSOLE ACCEL APPEND [MORE...]: until the guest powers off, or out of time.
run_qemu() {
  local seconds=$1 console=$2 accel=$3 append=$4
  shift 4
  timeout -k 5 "$seconds" qemu-system-x86_64 -accel "$accel" -cpu max -smp "${LUNAR_VM_CPUS:-2}" \
    -m "${LUNAR_VM_MEMORY_MB:-2048}" -display none -monitor none -no-reboot \
    -serial "file:$console" -kernel "$vm/vmlinuz" -initrd "$vm/initrd.gz" \
    -append "console=ttyS0 panic=-1 quiet mitigations=off $append" "$@" </dev/null &
  qemu_pid=$!
  local status=0
  wait $qemu_pid || status=$?
  qemu_pid=
  return $status
}

# KVM may be there and yet not run a stock kernel (nested, or cut down), so one guest is started to
# see. The answer holds until this machine boots again.
choose_accel() {
  local known=$LUNAR_DEPS/vm/accel boot console answer
  if [ -n "${LUNAR_VM_ACCEL:-}" ]; then
    case $LUNAR_VM_ACCEL in kvm | tcg) printf '%s' "$LUNAR_VM_ACCEL" ;;
    *) die "LUNAR_VM_ACCEL is '$LUNAR_VM_ACCEL'; it takes kvm or tcg" ;; esac
    return
  fi
  [ -w /dev/kvm ] || { printf tcg; return; }
  boot=$(cat /proc/sys/kernel/random/boot_id)
  if [ "$(cut -d' ' -f1 "$known" 2>/dev/null)" != "$boot" ]; then
    console=$(mktemp)
    answer=tcg
    if run_qemu 10 "$console" kvm lunar.probe 2>/dev/null && grep -q 'init: started' "$console"; then
      answer=kvm
    fi
    rm -f "$console"
    printf '%s %s\n' "$boot" "$answer" >"$known.new.$$"
    mv "$known.new.$$" "$known"
  fi
  cut -d' ' -f2 "$known"
}

tell() { # prints what there is to see of a failed guest
  say "$1"
  local file
  for file in guest.log console.log qemu.log; do
    [ -s "$out/$file" ] || continue
    printf -- '--- last lines of %s\n' "$out/$file"
    tail -n 60 "$out/$file"
  done
  exit 1
}

vm=$("$here/prepare.sh")
accel=$(choose_accel)
[ "$accel" = kvm ] || accel=tcg,thread=multi

rm -rf "$out"
mkdir -p "$out"
out=$(realpath "$out")
cp "$here/guest/boot.sh" "$out/boot.sh"
{
  printf 'VM_MODULES=%q\nVM_SCRIPT=%q\nVM_TIMEOUT=%q\n' "$vm/lib/modules" "$script" "${LUNAR_VM_SCRIPT_TIMEOUT:-$((limit - 20))}"
  printf 'VM_ARGS=('
  [ $# -eq 0 ] || printf '%q ' "$@"
  printf ')\nexport OUT=/run/lunar-vm LUNAR_ROOT=%q LUNAR_BUILD_DIR=%q\n' \
    "$LUNAR_ROOT" "${LUNAR_BUILD_DIR:-$LUNAR_ROOT/build/release}"
} >"$out/job.sh"

# shellcheck disable=SC2054  # the commas are QEMU's
args=(
  -fsdev "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap"
  -device virtio-9p-pci,fsdev=root,mount_tag=hostroot
  -fsdev "local,id=out,path=$out,security_model=none"
  -device virtio-9p-pci,fsdev=out,mount_tag=out
  -netdev user,id=n0,restrict=on -device virtio-net-pci,netdev=n0
)
if [ -n "${LUNAR_VM_DISK_MB:-}" ]; then
  truncate -s "${LUNAR_VM_DISK_MB}M" "$out/scratch.img"
  args+=(-drive "file=$out/scratch.img,if=virtio,format=raw,cache=writeback,discard=unmap")
fi
# shellcheck disable=SC2206  # words are wanted
args+=(${LUNAR_VM_QEMU_ARGS:-})

status=0
run_qemu "$limit" "$out/console.log" "$accel" "" "${args[@]}" 2>"$out/qemu.log" || status=$?

[ "$status" != 124 ] || tell "$name: no end after $limit s"
[ "$status" = 0 ] || tell "$name: QEMU ended with $status"
[ -f "$out/exit_code" ] || tell "$name: the guest died: it left no exit code"
[ "$(cat "$out/exit_code")" = 0 ] || tell "$name: the guest script ended with $(cat "$out/exit_code")"
[ -f "$out/verdict" ] || tell "$name: the guest script gave no verdict"
grep -q '^pass' "$out/verdict" || tell "$name: $(cat "$out/verdict")"
cat "$out/guest.log"
say "$name: $(cat "$out/verdict")"
