#!/bin/busybox sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=dash
# First program of a guest. Mounts the host's root, read-only over 9p, below a tmpfs for writes, and
# then executes the repository's tests/vm/guest/boot.sh from the folder of the job.
bb=/bin/busybox
PATH=/bin
export PATH
for tool in mount mkdir cat insmod switch_root echo sync; do $bb ln -s busybox /bin/$tool; done

mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
echo 0 >/proc/sys/kernel/printk_devkmsg 2>/dev/null

# Prints the reason on the console and stops, without a verdict for the host.
lost() {
  echo "lunar-vm: init: $*"
  sync
  echo o >/proc/sysrq-trigger
  $bb sleep 60
}

# The host only tests whether a guest can start.
case " $(cat /proc/cmdline) " in *" lunar.probe "*) lost "started" ;; esac

for module in $(cat /modules/order); do insmod /modules/"$module" || lost "insmod $module failed"; done
opts=trans=virtio,version=9p2000.L,msize=512000
mount -t 9p -o $opts,ro,cache=loose hostroot /lower || lost "cannot mount the host's root"
mount -t tmpfs -o size=60% tmpfs /upper
mkdir /upper/up /upper/work
mount -t overlay -o lowerdir=/lower,upperdir=/upper/up,workdir=/upper/work overlay /newroot ||
  lost "cannot overlay the host's root"
mkdir -p /newroot/run
mount -t tmpfs tmpfs /newroot/run
mkdir /newroot/run/lunar-vm /newroot/run/lock
mount -t 9p -o $opts,cache=none out /newroot/run/lunar-vm || lost "cannot mount the output folder"
for fs in proc sys dev; do mount --move /$fs /newroot/$fs; done
exec switch_root /newroot /bin/bash /run/lunar-vm/boot.sh
