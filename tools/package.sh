#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Makes packages of this tree, in a copy of it.
#
#   tools/package.sh deb|rpm [--output DIR] [--built DIR] [--version VERSION] [--debug-symbols]
#
#   --output DIR       where the packages go (build/package/deb or rpm)
#   --built DIR        pack this finished build of the preset release, instead of building in the copy
#   --version VERSION  of the packages, instead of the changelog's
#   --debug-symbols    make packages of debug symbols too, which takes minutes
#
# A build takes what ccache has of the preset release. LUNAR_JOBS: number of parallel compilations.
set -euo pipefail
# shellcheck source=tools/dev/lib.sh
. "$(dirname "$0")/dev/lib.sh"

usage() { sed -n '/^#   tools\/package.sh/,/^# LUNAR_JOBS/s/^# \{0,1\}//p' "$0"; }
kind="" output="" built="" version="" symbols=0

# The tree, without what is made, at $1; with tgt's headers, which are in no package.
copy_tree() {
  local to=$1
  rm -rf "$to"
  mkdir -p "$to/build"
  (cd "$LUNAR_ROOT" && tools/dev/tracked.py | while IFS= read -r -d '' file; do
    [ ! -e "$file" ] || printf '%s\0' "$file"
  done | tar --null --files-from - --create) | tar --extract --directory "$to"
  cp -a "$(readlink -f "$LUNAR_DEPS")" "$to/build/deps"
}

show_sizes() {
  printf '%10s  %10s  %s\n' "KiB packed" "installed" package
  for package in "$output"/*.deb; do
    printf '%10s  %10s  %s\n' $(($(stat -c %s "$package") / 1024)) "$(dpkg-deb -f "$package" Installed-Size)" \
      "$(basename "$package")"
  done
}

make_deb() {
  local work=$output.work tree place options=1
  tree=$work/lunar-storage
  [ $symbols = 0 ] || options=""
  command -v dh >/dev/null || die "debhelper is not installed: install the package debhelper"
  say "copying the tree"
  copy_tree "$tree"
  cp -a "$tree/packaging/debian" "$tree/debian"
  for place in sysusers tmpfiles; do  # debhelper wants them beside the rest, before it begins
    cp "$tree/packaging/systemd/$place.conf" "$tree/debian/lunar-storage-common.$place"
  done
  if [ -n "$version" ]; then
    sed -i "1s/([^)]*)/($version)/" "$tree/debian/changelog"
  fi
  export CCACHE_BASEDIR=$tree CCACHE_NOHASHDIR=1 CCACHE_SLOPPINESS=pch_defines,time_macros
  DEB_BUILD_OPTIONS="${options:+noautodbgsym }nocheck parallel=$(nproc)"
  export DEB_BUILD_OPTIONS
  export LUNAR_BUILT=$built LUNAR_NINJA_OPTIONS=-j${LUNAR_JOBS:-$(nproc)}
  say "building; the log is $work/build.log"
  # Build-Depends name the packages of Debian; what is here from elsewhere does as well.
  (cd "$tree" && dpkg-buildpackage --build=binary --no-sign --no-check-builddeps) >"$work/build.log" 2>&1 || {
    tail -n 40 "$work/build.log" >&2
    die "the build failed: see $work/build.log"
  }
  mkdir -p "$output"
  rm -f "$output"/*.deb
  cp "$work/build.log" "$output/"
  mv "$work"/*.deb "$work"/*.changes "$work"/*.buildinfo "$output/"
  rm -rf "$tree"
  show_sizes
}

make_rpm() {
  local work=$output.work
  command -v rpmbuild >/dev/null || die "rpmbuild is not installed: install the package rpm or rpm-build"
  say "copying the tree"
  copy_tree "$work/BUILD/lunar-storage"
  export CCACHE_BASEDIR=$work/BUILD/lunar-storage CCACHE_NOHASHDIR=1 CCACHE_SLOPPINESS=pch_defines,time_macros
  export LUNAR_BUILT=$built LUNAR_NINJA_OPTIONS=-j${LUNAR_JOBS:-$(nproc)}
  say "building; the log is $work/build.log"
  rpmbuild -bb --nodeps --define "_topdir $work" --define "lunar_version ${version:-0.1.0}" \
    --define "tgt_upstream $(head -n 1 "$LUNAR_DEPS/tgt/UPSTREAM_VERSION")" \
    "$LUNAR_ROOT/packaging/lunar.spec" >"$work/build.log" 2>&1 || {
    tail -n 40 "$work/build.log" >&2
    die "the build failed: see $work/build.log"
  }
  mkdir -p "$output"
  rm -f "$output"/*.rpm
  mv "$work"/RPMS/*/*.rpm "$output/"
  rm -rf "$work/BUILD" "$work/BUILDROOT"
  ls -s "$output"
}

[ $# -gt 0 ] || { usage >&2 && exit 2; }
while [ $# -gt 0 ]; do
  case $1 in
    deb | rpm) kind=$1 ;;
    --debug-symbols) symbols=1 ;;
    --output | --built | --version)
      [ $# -gt 1 ] || die "$1 needs a value after it"
      declare "${1#--}=$2"
      shift
      ;;
    -h | --help) usage && exit 0 ;;
    *) usage >&2 && die "unknown argument '$1'" ;;
  esac
  shift
done
[ -n "$kind" ] || die "say deb or rpm"
output=$(realpath -m "${output:-$LUNAR_ROOT/build/package/$kind}")
[ -z "$built" ] || built=$(cd "$built" 2>/dev/null && pwd) || die "there is no such build"
[ -e "$LUNAR_DEPS/tgt/UPSTREAM_VERSION" ] || die "tgt's headers are not there: run tools/dev/setup.sh"
"make_$kind"
