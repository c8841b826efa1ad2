# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash disable=SC2154  # $here is the includer's
# Functions of run_guest.sh and run_hosts.sh: guests under QEMU, their jobs, and the judgement of
# their results. Sourced, never run; needs tools/dev/lib.sh and $here, the folder of the scripts.

vm_pids=()

# Ends every guest that still runs, by TERM, which timeout passes on to its QEMU.
end_guests() {
  local pid
  for pid in "${vm_pids[@]}"; do kill "$pid" 2>/dev/null || :; done
}

# The emulated processor lacks two features that kernels expect to be fast and that are slow in
# emulation: QEMU executes "rep movsb" byte by byte and pclmulqdq bit by bit. With them rxe's copies
# and packet checksums would take two thirds of the time (docs/performance.md).
EMULATED_CPU=max,-erms,-pclmulqdq

# start_qemu SECONDS CONSOLE ACCEL APPEND [MORE...]: starts a guest in the background, which runs
# until it powers off or SECONDS are over; sets QEMU_PID. Without no_timer_check the kernel panics when its timer
# does not tick in time, as in a guest that waits for a processor.
start_qemu() {
  local seconds=$1 console=$2 accel=$3 append=$4 cpu=max
  shift 4
  [ "$accel" = kvm ] || cpu=$EMULATED_CPU
  timeout -k 5 "$seconds" qemu-system-x86_64 -accel "$accel" -cpu "$cpu" -smp "${LUNAR_VM_CPUS:-2}" \
    -m "${LUNAR_VM_MEMORY_MB:-2048}" -display none -monitor none -no-reboot \
    -serial "file:$console" -kernel "$vm/vmlinuz" -initrd "$vm/initrd.gz" \
    -append "console=ttyS0 panic=-1 quiet mitigations=off no_timer_check $append" "$@" </dev/null &
  QEMU_PID=$!
  vm_pids+=("$QEMU_PID")
}

# A KVM that exists is not always able to run a stock kernel (nested, or restricted), so one guest is
# started to find out. The answer is kept until this machine boots again.
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
    start_qemu 10 "$console" kvm lunar.probe 2>/dev/null
    if wait "$QEMU_PID" && grep -q 'init: started' "$console"; then
      answer=kvm
    fi
    rm -f "$console"
    printf '%s %s\n' "$boot" "$answer" >"$known.new.$$"
    mv "$known.new.$$" "$known"
  fi
  cut -d' ' -f2 "$known"
}

# prepare_vm: finds the kernel (sets $vm) and the accelerator (sets $accel).
prepare_vm() {
  command -v qemu-system-x86_64 >/dev/null || die "qemu-system-x86_64 is missing: run tools/dev/setup.sh"
  vm=$("$here/prepare.sh")
  accel=$(choose_accel)
  [ "$accel" = kvm ] || accel=tcg,thread=multi
}

# write_job OUT SECONDS EXPORTS SCRIPT [ARGS...]: writes the job for guest/boot.sh into OUT.
# EXPORTS: more NAME=VALUE words for the script's environment.
write_job() {
  local folder=$1 seconds=$2 exports=$3 script=$4
  shift 4
  cp "$here/guest/boot.sh" "$folder/boot.sh"
  {
    printf 'VM_MODULES=%q\nVM_SCRIPT=%q\nVM_TIMEOUT=%q\n' "$vm/lib/modules" "$script" "$seconds"
    printf 'VM_ARGS=('
    [ $# -eq 0 ] || printf '%q ' "$@"
    printf ')\nexport OUT=/run/lunar-vm LUNAR_ROOT=%q LUNAR_BUILD_DIR=%q %s\n' \
      "$LUNAR_ROOT" "${LUNAR_BUILD_DIR:-$LUNAR_ROOT/build/release}" "$exports"
  } >"$folder/job.sh"
}

# guest_devices OUT: sets $devices, QEMU's options for the disks and the network of every guest.
guest_devices() {
  # shellcheck disable=SC2054  # the commas are QEMU's
  devices=(
    -fsdev "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap"
    -device virtio-9p-pci,fsdev=root,mount_tag=hostroot
    -fsdev "local,id=out,path=$1,security_model=none"
    -device virtio-9p-pci,fsdev=out,mount_tag=out
    -netdev user,id=n0,restrict=on -device virtio-net-pci,netdev=n0
  )
  if [ -n "${LUNAR_VM_DISK_MB:-}" ]; then
    truncate -s "${LUNAR_VM_DISK_MB}M" "$1/scratch.img"
    devices+=(-drive "file=$1/scratch.img,if=virtio,format=raw,cache=writeback,discard=unmap")
  fi
  # shellcheck disable=SC2206  # words are wanted
  devices+=(${LUNAR_VM_QEMU_ARGS:-})
}

# problem_of OUT STATUS SECONDS: prints why the guest has failed, given QEMU's exit status; prints
# nothing if it has not.
problem_of() {
  local folder=$1 status=$2
  if [ "$status" = 124 ]; then
    echo "no end after $3 s"
  elif [ "$status" != 0 ]; then
    echo "QEMU ended with $status"
  elif [ ! -f "$folder/exit_code" ]; then
    echo "the guest died: it left no exit code"
  elif [ "$(cat "$folder/exit_code")" != 0 ]; then
    echo "the guest script ended with $(cat "$folder/exit_code")"
  elif [ ! -f "$folder/verdict" ]; then
    echo "the guest script gave no verdict"
  elif ! grep -q '^pass' "$folder/verdict"; then
    cat "$folder/verdict"
  fi
}

# show_guest OUT: shows the logs of a failed guest.
show_guest() {
  local file
  for file in guest.log console.log qemu.log; do
    [ -s "$1/$file" ] || continue
    printf -- '--- last lines of %s\n' "$1/$file"
    tail -n 60 "$1/$file"
  done
}
