#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Gets Debian's own kernel (not installed: unpacked into build/deps/vm) and packs the initramfs
# that mounts this machine's root in a guest. Prints the folder: vmlinuz, initrd.gz, release and
# lib/modules. A second run only prints.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tools/dev/lib.sh
. "$here/../../tools/dev/lib.sh"

VM_DIR=$LUNAR_DEPS/vm
# Modules to mount the host's root. All others are loaded from the guest's /lib/modules.
INITRD_MODULES=(virtio_pci 9pnet_virtio 9p overlay)

# The stock kernel: the -cloud- flavour has no rdma_rxe.
kernel_package() {
  apt-cache depends linux-image-amd64 2>/dev/null |
    sed -nE 's/^ *Depends: (linux-image-[0-9].*)$/\1/p' | head -n 1
}

download_kernel() {
  local work=$1 package
  if package=$(kernel_package) && [ -n "$package" ] &&
    (cd "$work" && apt-get -qq -o APT::Sandbox::User="$(id -un)" download "$package" 2>/dev/null); then
    return
  fi
  say "this machine's package lists are missing or old; reading the archive's"
  private_apt_setup "$work/apt" || die "reading the Debian package index failed: see above"
  # apt-cache takes the same options as apt-get.
  package=$(apt-cache -o Dir::State::lists="$work/apt/lists" -o Dir::Cache="$work/apt/cache" \
    -o Dir::Etc::sourcelist="$work/apt/sources.list" -o Dir::Etc::sourceparts=/dev/null \
    depends linux-image-amd64 | sed -nE 's/^ *Depends: (linux-image-[0-9].*)$/\1/p' | head -n 1)
  [ -n "$package" ] || die "the archive has no linux-image-amd64: the VM lane needs an amd64 Debian"
  (cd "$work" && private_apt "$work/apt" download "$package") || die "downloading $package failed"
}

pack_initrd() {
  local dir=$1 release=$2 root=$1/initrd file
  rm -rf "$root"
  mkdir -p "$root"/{bin,modules,proc,sys,dev,lower,upper,newroot}
  cp /bin/busybox "$root/bin/busybox"
  cp "$here/init.sh" "$root/init"
  chmod 755 "$root/init"
  for module in "${INITRD_MODULES[@]}"; do
    modprobe -d "$dir" -S "$release" --show-depends "$module" || return 1
  done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | awk '!seen[$0]++' |
    while read -r file; do
      cp "$file" "$root/modules/" && basename "$file"
    done >"$root/modules/order"
  (cd "$root" && find . | cpio -o -H newc --quiet | gzip -1) >"$dir/initrd.new"
  mv "$dir/initrd.new" "$dir/initrd.gz"
  rm -rf "$root"
}

unpack_kernel() {
  local ready=$1 work release
  work=$(mktemp -d "$VM_DIR/.work.XXXXXX")
  # shellcheck disable=SC2064  # the folder of now
  trap "rm -rf '$work'" EXIT
  download_kernel "$work"
  dpkg -x "$work"/linux-image-*.deb "$work/out"
  release=$(basename "$work"/out/lib/modules/*)
  mv "$work/out/boot/vmlinuz-$release" "$work/out/vmlinuz"
  printf '%s\n' "$release" >"$work/out/release"
  rm -rf "$work/out/boot" "$work/out/usr"
  depmod -b "$work/out" "$release"
  mv "$work/out" "$ready"
}

main() {
  local ready=$VM_DIR/kernel stamp
  stamp=$(cat "$0" "$here/init.sh" /bin/busybox | sha256sum)
  if [ "$(cat "$ready/initrd.stamp" 2>/dev/null)" != "$stamp" ]; then
    [ -x /bin/busybox ] || die "busybox is missing: run tools/dev/setup.sh"
    mkdir -p "$VM_DIR"
    exec 9>"$VM_DIR/.lock"
    flock 9 # of two runs at the same time the second finds the kernel in place
    [ -e "$ready/release" ] || unpack_kernel "$ready"
    pack_initrd "$ready" "$(cat "$ready/release")" ||
      die "a module that the initramfs needs is not in Linux $(cat "$ready/release")"
    printf '%s\n' "$stamp" >"$ready/initrd.stamp"
  fi
  printf '%s\n' "$ready"
}

main
