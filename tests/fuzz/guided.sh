#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Fuzzers guided by coverage (libFuzzer, with ASan and UBSan), one after the other, each for so many
# seconds. What they find lies in build/fuzz-findings, and is run again by
# `build/fuzz/tests/fuzz/NAME_libfuzzer FILE`.
#
#   tests/fuzz/guided.sh [SECONDS [NAME...]]      1800 s, all
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
# shellcheck source=tools/dev/lib.sh
. tools/dev/lib.sh

seconds=${1:-1800}
[ $# -eq 0 ] || shift
programs=build/fuzz/tests/fuzz
findings=$LUNAR_ROOT/build/fuzz-findings
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cmake --preset fuzz >"$work/log" 2>&1 && ninja -C build/fuzz guided_fuzzers >>"$work/log" 2>&1 ||
  { tail -n 40 "$work/log" && die "the fuzzers do not build"; }
names=("$@")
[ $# -gt 0 ] || mapfile -t names < <(cd "$programs" && printf '%s\n' *_fuzz)
mkdir -p "$findings"

failed=()
for name in "${names[@]}"; do
  corpus=$work/$name
  mkdir "$corpus"
  "$programs/$name" --write-seeds "$corpus" || die "$name has no seeds"
  seeds=$(find "$corpus" -type f | wc -l)
  "$programs/${name}_libfuzzer" -max_total_time="$seconds" -rss_limit_mb=4096 -timeout=20 -max_len=65536 \
    -print_final_stats=1 -artifact_prefix="$findings/$name-" "$corpus" >"$work/$name.log" 2>&1
  status=$?
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$work/$name.log")
  covered=$(grep -oE 'cov: [0-9]+' "$work/$name.log" | tail -n 1)
  printf '%-26s %10s runs, %s edges, corpus %s to %s: %s\n' "$name" "${runs:-?}" "${covered#cov: }" \
    "$seeds" "$(find "$corpus" -type f | wc -l)" "$([ $status = 0 ] && echo clean || echo "FOUND (status $status)")"
  [ $status = 0 ] || { failed+=("$name") && tail -n 60 "$work/$name.log"; }
done
[ ${#failed[@]} -eq 0 ] || die "found by: ${failed[*]}"
