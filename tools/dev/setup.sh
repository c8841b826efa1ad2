#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Installs what tools/dev/packages.txt lists and fetches the headers of the installed tgt.
# Works as root or with sudo, on a bare Debian 12, in a container too. A second run only checks.
#
#   tools/dev/setup.sh           bring this machine up to date
#   tools/dev/setup.sh --check   change nothing; exit 1 if something is missing
set -euo pipefail
# shellcheck source=tools/dev/lib.sh
. "$(dirname "$0")/lib.sh"

PACKAGES_FILE=$LUNAR_ROOT/tools/dev/packages.txt
# Units that the packages enable. The project starts private instances; the system's stay off
# unless they were here before us.
UNITS=(tgt.service lttng-sessiond.service iscsid.socket iscsid.service open-iscsi.service prometheus.service)

packages() { sed -E 's/#.*//; s/[[:space:]]+$//; /^$/d' "$PACKAGES_FILE"; }

missing_packages() {
  local installed
  # shellcheck disable=SC2046  # one argument per package
  installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' $(packages) 2>/dev/null |
    sed -n 's/^installed //p' | sort -u || :)
  comm -23 <(packages | sort -u) <(printf '%s\n' "$installed")
}

installed_tgt() { dpkg-query -W -f '${source:Version}' tgt 2>/dev/null; }
# 1:1.0.85-1+deb12u1 -> 1.0.85-1+deb12u1; then without Debian's revision
no_epoch() { printf '%s' "${1#*:}"; }
upstream() {
  local v=${1#*:}
  printf '%s' "${v%-*}"
}

tgt_dir() { printf '%s/tgt-%s' "$LUNAR_DEPS" "$(no_epoch "$(installed_tgt)")"; }
have_tgt_headers() {
  local dir
  dir=$(tgt_dir)
  [ -f "$dir/usr/bs_thread.h" ] && [ -f "$dir/UPSTREAM_VERSION" ] &&
    [ "$(readlink "$LUNAR_DEPS/tgt" 2>/dev/null)" = "$(basename "$dir")" ]
}

check_system() {
  local id version
  command -v apt-get >/dev/null ||
    die "this is not a Debian system (no apt-get): the project is built on Debian 12"
  id=$(. /etc/os-release && printf '%s' "${ID:-}")
  version=$(. /etc/os-release && printf '%s' "${VERSION_ID:-}")
  [ "$id $version" = "debian 12" ] ||
    say "warning: written for Debian 12, this is '$id $version'; package names may differ"
}

# Services must not start while packages are installed: there may be no init to start them, and
# nothing here uses them. An administrator's own policy is left in place.
POLICY=/usr/sbin/policy-rc.d
made_policy=0
forbid_services() {
  [ -e "$POLICY" ] && return
  made_policy=1
  trap allow_services EXIT
  as_root sh -c "printf '#!/bin/sh\nexit 101\n' >$POLICY && chmod 755 $POLICY"
}
allow_services() {
  trap - EXIT
  [ "$made_policy" = 0 ] || as_root rm -f "$POLICY"
  made_policy=0
}

install_packages() {
  local unit was_there=""
  for unit in "${UNITS[@]}"; do
    if [ -e "/lib/systemd/system/$unit" ]; then was_there+=" $unit "; fi
  done
  say "installing $# packages: $*"
  apt_as_root update || die "'apt-get update' failed: see above; is the network reachable?"
  forbid_services
  apt_as_root install -y --no-install-recommends "$@" ||
    die "'apt-get install' failed: see above; the list is tools/dev/packages.txt"
  allow_services
  command -v systemctl >/dev/null || return 0
  for unit in "${UNITS[@]}"; do
    case "$was_there" in *" $unit "*) continue ;; esac
    [ -e "/lib/systemd/system/$unit" ] || continue
    as_root systemctl --quiet disable "$unit" 2>/dev/null ||
      say "warning: could not disable $unit; it may start at the next boot"
  done
}

# tgt publishes no headers; they come from the source package of the version that is installed,
# since the plugin shares structures with that very program.
fetch_tgt_headers() {
  local version dir work
  version=$(installed_tgt)
  dir=$(tgt_dir)
  say "fetching the headers of tgt $version"
  mkdir -p "$LUNAR_DEPS"
  work=$(mktemp -d "$LUNAR_DEPS/.tgt.XXXXXX")
  # shellcheck disable=SC2064  # the folder of now
  trap "rm -rf '$work'" EXIT
  private_apt_setup "$work/apt" || die "reading the Debian source index failed: see above"
  (cd "$work" && private_apt "$work/apt" source --download-only "tgt=$version") ||
    die "tgt's source package $version is not in the archive: upgrade tgt, or unpack its source" \
      "yourself and configure with -DLUNAR_TGT_SOURCE_DIR=..."
  dpkg-source --no-check -x "$work"/tgt_*.dsc "$work/src" >/dev/null ||
    die "unpacking tgt's source package failed: see above"
  mkdir "$work/out"
  (cd "$work/src" && find usr -name '*.h' -exec cp --parents {} "$work/out" \;)
  [ -f "$work/out/usr/bs_thread.h" ] || die "tgt's source has no usr/bs_thread.h: not what we know"
  printf '%s\n' "$(upstream "$version")" >"$work/out/UPSTREAM_VERSION"
  rm -rf "$dir"
  mv "$work/out" "$dir"
  ln -sfn "$(basename "$dir")" "$LUNAR_DEPS/tgt"
  rm -rf "$work"
  trap - EXIT
}

main() {
  local missing
  case "${1:-}" in
    "" | --check) ;;
    *) die "unknown argument '$1'; usage: setup.sh [--check]" ;;
  esac
  check_system
  mapfile -t missing < <(missing_packages)
  if [ "${1:-}" = --check ]; then
    [ ${#missing[@]} -eq 0 ] || die "missing packages: ${missing[*]} (run tools/dev/setup.sh)"
    have_tgt_headers || die "missing tgt headers in $LUNAR_DEPS/tgt (run tools/dev/setup.sh)"
    return 0
  fi
  if [ ${#missing[@]} -eq 0 ] && have_tgt_headers; then return 0; fi

  mkdir -p "$LUNAR_DEPS"
  exec 9>"$LUNAR_DEPS/.setup.lock"
  flock 9  # two runs at once: the second finds the work done
  mapfile -t missing < <(missing_packages)
  if [ ${#missing[@]} -gt 0 ]; then
    install_packages "${missing[@]}"
    mapfile -t missing < <(missing_packages)
    [ ${#missing[@]} -eq 0 ] || die "still missing after installation: ${missing[*]}"
  fi
  have_tgt_headers || fetch_tgt_headers
}

main "$@"
