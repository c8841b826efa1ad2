# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Shared by the scripts of tools/dev and tests: where things are, how to fail, and an apt that
# needs no root and leaves the machine's own configuration alone. Sourced, never run.

LUNAR_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
LUNAR_DEPS=${LUNAR_DEPS:-$LUNAR_ROOT/build/deps}

say() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; }
die() {
  say "error: $*"
  exit 1
}

# as_root CMD...: runs it as root, by sudo when we are not root ourselves.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null; then
    sudo -- "$@"
  else
    die "need root for: $* (run as root, or install sudo)"
  fi
}

# env(1) because sudo drops the environment.
apt_as_root() {
  as_root env DEBIAN_FRONTEND=noninteractive apt-get -o Dpkg::Use-Pty=0 \
    -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -qq "$@"
}

# The signing options of the entry that `apt-get indextargets` calls FILE:N, as [signed-by=... ].
# Keys written inside a .sources file are left to apt's trusted keyrings.
_entry_options() {
  local file=${1%:*} opts=() key
  [ -r "$file" ] || return 0
  key=$(sed -nE 's/^Signed-By:[[:space:]]*(\/[^[:space:]]+).*/\1/p; s/^deb[[:space:]].*signed-by=([^] ]+).*/\1/p' \
    "$file" | head -n 1)
  [ -n "$key" ] && opts+=("signed-by=$key")
  grep -qiE '^Trusted:[[:space:]]*yes|trusted=yes' "$file" && opts+=("trusted=yes")
  [ ${#opts[@]} -eq 0 ] || printf '[%s] ' "${opts[*]}"
}

# Prints one-line entries (deb and deb-src) for each Debian archive this machine is configured
# with. apt itself reads the configuration, so both sources.list and deb822 .sources are understood.
debian_sources() {
  local repo release component entry
  # shellcheck disable=SC2016  # apt's variables
  apt-get indextargets --format \
    '$(CREATED_BY)|$(ORIGIN)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(SOURCESENTRY)' |
    sed -n 's/^Packages|Debian|//p' | sort -u |
    while IFS='|' read -r repo release component entry; do
      printf 'deb %s%s %s %s\n' "$(_entry_options "$entry")" "$repo" "$release" "$component"
      printf 'deb-src %s%s %s %s\n' "$(_entry_options "$entry")" "$repo" "$release" "$component"
    done
}

# private_apt DIR ARGS...: apt-get with lists, cache and sources of its own in DIR, after
# private_apt_setup DIR. Installed packages are still the machine's.
private_apt() {
  local dir=$1
  shift
  apt-get -qq -o Dir::State::lists="$dir/lists" -o Dir::Cache="$dir/cache" \
    -o Dir::Etc::sourcelist="$dir/sources.list" -o Dir::Etc::sourceparts=/dev/null \
    -o APT::Sandbox::User="$(id -un)" -o Acquire::Languages=none -o Acquire::Retries=3 "$@"
}
private_apt_setup() {
  local dir=$1
  mkdir -p "$dir/lists/partial" "$dir/cache/archives/partial" || return 1
  # Which archive is Debian's is known from the lists alone.
  # shellcheck disable=SC2016  # apt's variables
  apt-get indextargets --format '$(ORIGIN)' | grep -qx Debian || apt_as_root update || return 1
  debian_sources >"$dir/sources.list" || return 1
  [ -s "$dir/sources.list" ] || {
    say "no Debian archive among the configured package sources (see 'apt-get indextargets')"
    return 1
  }
  private_apt "$dir" update
}
