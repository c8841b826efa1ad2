#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# All checks that need no build: one function per rule. Whole in CI, --staged in the commit hook.
#
#   tools/dev/check.sh [--staged]
set -uo pipefail
# shellcheck source=tools/dev/lib.sh
. "$(dirname "$0")/lib.sh"
cd "$LUNAR_ROOT" || exit 1
dev=tools/dev

scope=${1:-}
case "$scope" in
  "") list() { $dev/tracked.py "$@"; } ;;
  --staged) list() { git diff --cached --name-only --diff-filter=ACMR -z -- "$@"; } ;;
  *) die "unknown argument '$1'; usage: check.sh [--staged]" ;;
esac

# with_files PATTERN... -- CMD...: CMD over the files that are there; of --staged there may be none.
# A file may be tracked and gone: somebody is moving it.
with_files() {
  local file specs=() files=()
  while [ "$1" != -- ]; do specs+=("$1") && shift; done
  shift
  while IFS= read -r -d '' file; do
    [ -f "$file" ] && files+=("$file")
  done < <(list "${specs[@]}")
  if [ ${#files[@]} -eq 0 ]; then
    [ "$scope" = --staged ] || { echo "no file is like ${specs[*]}" && return 1; }
    return 0
  fi
  printf '%s\0' "${files[@]}" | xargs -0 "$@"
}

# What was well laid out stays so: remembered by a hash of the text and of .clang-format.
check_format() {
  local cache=build/cache/format style hash file todo=()
  style=$({ clang-format --version && cat .clang-format; } | sha256sum | cut -c1-16) || return
  mkdir -p "$cache"
  while read -r hash file; do
    [ -e "$cache/$style-$hash" ] || todo+=("$cache/$style-$hash" "$file")
  done < <(with_files '*.h' '*.c' '*.cc' -- sha256sum)
  [ ${#todo[@]} -eq 0 ] && return
  # shellcheck disable=SC2016  # expanded by the inner shell
  printf '%s\0' "${todo[@]}" | xargs -0 -n 2 -P "$(nproc)" sh -c \
    'clang-format --dry-run -Werror "$1" 2>/dev/null && : >"$0" ||
     { echo "clang-format -i $1"; exit 1; }' | sort
}

check_layers() { python3 $dev/check_layers.py; }
check_tracepoints() { python3 $dev/check_tracepoints.py; }
check_coroutines() { python3 $dev/check_coroutines.py; }
check_headers() { python3 $dev/check_headers.py; }
check_spdx() { python3 $dev/check_text.py spdx; }
check_machine_paths() { python3 $dev/check_text.py machine; }
check_columns() { python3 $dev/check_text.py columns; }
check_names() { python3 $dev/check_names.py; }
check_comments() { python3 $dev/check_comments.py; }
check_unused() { python3 $dev/check_unused.py; }
check_classes() { python3 $dev/check_classes.py; }
check_one_place() { python3 $dev/check_one_place.py; }
check_shell() {
  command -v shellcheck >/dev/null || { echo "shellcheck is not installed"; return 1; }
  with_files '*.sh' .ci/run .githooks/pre-commit -- shellcheck -x -S warning
}

failed=()
for rule in spdx machine_paths columns layers names classes comments unused one_place coroutines tracepoints shell \
            format headers; do
  start=$(date +%s%N)
  if out=$(check_$rule 2>&1); then verdict=ok; else verdict=FAILED && failed+=("$rule"); fi
  printf '%-14s %-7s %5d ms\n' "$rule" "$verdict" $((($(date +%s%N) - start) / 1000000))
  [ "$verdict" = ok ] || printf '%s\n' "$out"
done
[ ${#failed[@]} -eq 0 ] || die "failed: ${failed[*]}"
