#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Gets Debian's own Ceph (not installed: unpacked into build/deps/ceph) with those of its libraries
# that this machine lacks. Prints the folder, whose usr/ is as in the packages. A second run only prints.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tools/dev/lib.sh
. "$here/../../../tools/dev/lib.sh"

CEPH_DIR=$LUNAR_DEPS/ceph
# Of what apt would install: the servers, the rados tool, its Python binding, and all libraries.
WANTED='^(lib.*|ceph-(mon|osd|base|common)|python3-rados)$'

# download DIR APT...: with APT as the command that knows the package lists.
download() {
  local dir=$1 packages
  shift
  packages=$("$@" -s install --no-install-recommends ceph-mon ceph-osd ceph-common 2>/dev/null |
    awk '$1 == "Inst" {print $2}' | grep -E "$WANTED") || return 1
  # shellcheck disable=SC2086  # names without spaces
  (cd "$dir" && "$@" download $packages)
}

unpack() {
  local ready=$1 work deb libraries missing
  work=$(mktemp -d "$CEPH_DIR/.work.XXXXXX")
  # shellcheck disable=SC2064  # the folder of now
  trap "rm -rf '$work'" EXIT
  # -s prints nothing under -qq.
  if ! download "$work" apt-get -q -o APT::Sandbox::User="$(id -un)" >/dev/null 2>&1; then
    say "this machine's package lists are missing or old; reading the archive's"
    private_apt_setup "$work/apt" || die "reading the Debian package index failed: see above"
    download "$work" private_apt "$work/apt" -q=1 >&2 || die "downloading Debian's ceph packages failed"
  fi
  for deb in "$work"/*.deb; do dpkg -x "$deb" "$work/out"; done
  cp -a "$work/out/lib/." "$work/out/usr/lib/"
  rm -rf "$work/out/lib" "$work/out/usr/share"
  ls "$work"/out/usr/bin/{ceph-mon,ceph-osd,rados,monmaptool} >/dev/null ||
    die "some of Ceph's packages are installed here: remove them, or unpack them into $ready yourself"
  libraries=$(dirname "$work"/out/usr/lib/*/rados-classes)
  missing=$(LD_LIBRARY_PATH=$libraries:$libraries/ceph \
    ldd "$work"/out/usr/bin/{ceph-mon,ceph-osd,rados,monmaptool} | grep 'not found' | sort -u) || :
  [ -z "$missing" ] || die "libraries that Ceph needs are in no package: $missing"
  mv "$work/out" "$ready"
}

main() {
  local ready=$CEPH_DIR/root
  if [ ! -e "$ready/usr/bin/ceph-osd" ]; then
    mkdir -p "$CEPH_DIR"
    exec 9>"$CEPH_DIR/.lock"
    flock 9 # two runs at once: the second finds it there
    [ -e "$ready/usr/bin/ceph-osd" ] || unpack "$ready"
  fi
  printf '%s\n' "$ready"
}

main
