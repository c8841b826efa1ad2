#!/bin/bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# PID 1 of a guest when the host's root is mounted. Runs the job that tests/vm/run_guest.sh left in
# /run/lunar-vm, and always powers off at the end.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/run LC_ALL=C
OUT=/run/lunar-vm
# shellcheck source=/dev/null
. "$OUT/job.sh" # VM_MODULES VM_TIMEOUT VM_SCRIPT VM_ARGS

release=$(uname -r)
mkdir -p /dev/pts /dev/shm /lib/modules
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
rm -rf "/lib/modules/$release"
ln -sfn "$VM_MODULES/$release" "/lib/modules/$release"
hostname lunar-guest
ip link set lo up
ulimit -l unlimited
ulimit -c 0
echo "lunar-vm: up after $(cut -d' ' -f1 /proc/uptime) s"

cd /run || exit
timeout -k 10 "$VM_TIMEOUT" bash "$VM_SCRIPT" "${VM_ARGS[@]}" </dev/null >"$OUT/guest.log" 2>&1
status=$?
if [ $status -ne 0 ]; then
  dmesg >"$OUT/dmesg.log"
  ps -ef >"$OUT/ps.log" 2>&1
fi
echo "lunar-vm: $VM_SCRIPT ended with $status after $(cut -d' ' -f1 /proc/uptime) s"
# The exit code is written as a whole or not at all.
echo $status >"$OUT/exit_code.new" && mv "$OUT/exit_code.new" "$OUT/exit_code"
sync
echo o >/proc/sysrq-trigger
while :; do wait; done
