#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Sets up, builds and runs the tests: all of them, or the named lanes.
#
#   tests/run.sh [LANE...] [-- CTEST_OPTION...]
#
#   check       tools/dev/check.sh: layers, names, coroutines, headers, format, text
#   unit        unit tests                                    build/release
#   e2e         a real tgtd, object servers and an initiator  build/release
#   asan        unit and e2e (1 GiB of verified IO) with ASan and UBSan, in tgtd too
#   tsan        tests labelled tsan, with ThreadSanitizer
#   fuzz-smoke  every fuzzer for a few seconds, with ASan     build/asan
#   vm          guests under Debian's kernel: rdma_rxe, kernel initiator
#   clang       unit tests built by clang, thread-safety analysis as errors
#   bench       benchmarks
#   package     packages: packed, installed, used, upgraded under IO, removed; `package-short` only looks at them
#   all         check unit e2e vm tsan fuzz-smoke (the default, and what CI runs)
#   sanitizers  asan tsan fuzz-smoke
#
# The output ends with what failing tests said last, ctest's summaries and `N passed, N failed`. The exit
# code is 0 only if nothing failed, every lane ran at least one test, and no test was skipped. Logs are in
# build/logs.
# LUNAR_JOBS: number of parallel compilations and unit tests (default: number of CPUs).
set -uo pipefail
cd "$(dirname "$0")/.." || exit 1
# shellcheck source=tools/dev/lib.sh
. tools/dev/lib.sh

ALL=(check unit e2e vm tsan fuzz-smoke)
SANITIZERS=(asan tsan fuzz-smoke)
jobs=${LUNAR_JOBS:-$(nproc)}
# A clone in another folder finds what this one compiled file by file.
export CCACHE_BASEDIR=$LUNAR_ROOT CCACHE_NOHASHDIR=1 CCACHE_SLOPPINESS=pch_defines,time_macros
logs=$LUNAR_ROOT/build/logs
passed=0
failed=0
summaries=()
failures=()
said=()

usage() { sed -n '/^#   tests\/run/,/^# LUNAR_JOBS/s/^# \{0,1\}//p' "$0"; }

# record LANE PASSED FAILED SUMMARY [FAILURE...]
record() {
  local lane=$1
  passed=$((passed + $2))
  failed=$((failed + $3))
  summaries+=("$(printf '%-11s %s' "$lane" "$4")")
  shift 4
  local failure
  for failure in "$@"; do failures+=("$lane: ${failure#"${failure%%[! ]*}"}"); done
}

# compile PRESET TARGET LOG: configures and builds a preset; only TARGET, if the build has such a target.
compile() {
  local target=$2
  cmake --preset "$1" >"$3" 2>&1 || return
  ninja -C "build/$1" -t query "$target" >/dev/null 2>&1 || target=all
  ninja -C "build/$1" -j "$jobs" "$target" >>"$3" 2>&1
}

# Builds a preset once per run.
declare -A built
build() {
  local preset=$1 target=${2:-all} log=$logs/build-$1.log start=$SECONDS
  [ -z "${built[$preset.$target]:-}" ] || return "${built[$preset.$target]}"
  end_building_ahead
  built[$preset.$target]=1
  say "building preset $preset ($target)"
  if ! compile "$preset" "$target" "$log"; then
    grep -E -A 12 'FAILED:|[Ee]rror:|CMake Error' "$log" | head -n 120
    say "the whole log is $log"
    return 1
  fi
  say "built $preset in $((SECONDS - start)) s"
  built[$preset.$target]=0
}

# The e2e lane mostly waits, for timeouts and disks. What the sanitizers' lanes need is compiled beside it
# at the lowest priority; build() finishes what is not ready when it is needed.
ahead=
build_ahead() {
  local lane
  [ -z "$ahead" ] || return 0
  set --
  for lane in "${lanes[@]}"; do
    case $lane in
      asan) set -- "$@" asan all ;;
      tsan) set -- "$@" tsan tsan_tests ;;
      fuzz-smoke) set -- "$@" asan fuzz-smoke_tests ;;
    esac
  done
  set -m # a process group of its own
  (
    trap 'exit 1' TERM # once ninja has ended by it
    chrt --idle -p 0 "$BASHPID" >/dev/null
    while [ $# -gt 0 ] && compile "$1" "$2" "$logs/ahead-$1.log"; do shift 2; done
  ) &
  ahead=$!
  set +m
}
end_building_ahead() {
  [ -n "$ahead" ] || return 0
  jobs -pr | grep -qx "$ahead" && kill -TERM -- "-$ahead"
  wait "$ahead"
  ahead=
}
trap end_building_ahead EXIT

# run_ctest LANE PRESET LABEL_REGEX JOBS: one ctest run, recorded.
run_ctest() {
  local lane=$1 preset=$2 label=$3 parallel=$4 counts summary
  local junit=$logs/$lane.xml log=$logs/$lane.log
  rm -f "$junit"
  # Of hundreds of tests only those that fail say something, or a log cut short hides them.
  GTEST_BRIEF=1 ctest --test-dir "build/$preset" -L "$label" -j "$parallel" --no-tests=error --output-on-failure \
    --test-output-size-passed 1000000 --output-junit "$junit" "${ctest_options[@]}" 2>&1 | tee "$log"
  summary=$(grep -E '^[0-9]+% tests passed' "$log" | tail -n 1)
  if [ -s "$junit" ] && mapfile -t counts < <(python3 tools/dev/junit_summary.py "$junit") &&
    [ ${#counts[@]} -gt 0 ] && [ "${counts[0]}" != "0 0" ]; then
    record "$lane" "${counts[0]% *}" "${counts[0]#* }" "$summary" "${counts[@]:1}"
    mapfile -t -O "${#said[@]}" said < <(python3 tools/dev/junit_summary.py --said "$junit")
  else
    record "$lane" 0 1 "no tests were run" "no test has a label like $label in build/$preset"
  fi
}

# lane_tests LANE PRESET LABEL_REGEX JOBS [TARGET]
lane_tests() {
  if build "$2" "${5:-all}"; then
    run_ctest "$1" "$2" "$3" "$4"
  else
    record "$1" 0 1 "build failed" "preset $2 does not build: $logs/build-$2.log"
  fi
}

# By a script, not ctest: it packs what is built. See docs/packaging.md.
lane_package() {
  if build release lunar_installed && tests/packaging/install_test.sh "${@:2}" 2>&1 | tee "$logs/$1.log"; then
    record "$1" 1 0 "all of it holds"
  else
    record "$1" 0 1 "$(tail -n 1 "$logs/$1.log")" "tests/packaging/install_test.sh"
  fi
}

lane_check() {
  if tools/dev/check.sh 2>&1 | tee "$logs/check.log"; then
    record check 1 0 "all rules hold"
  else
    record check 0 1 "$(tail -n 1 "$logs/check.log")" "tools/dev/check.sh"
  fi
}

run_lane() {
  say "lane $1"
  case $1 in
    check) lane_check ;;
    unit) lane_tests unit release '^unit$' "$jobs" ;;
    e2e)
      build release && build_ahead
      # A script counts as two processors, so one runs at a time, and simulations beside it.
      lane_tests e2e release '^e2e$' 3
      ;;
    # With less IO a kind of command that is one in twenty might be left out.
    asan) LUNAR_E2E_BYTES=${LUNAR_E2E_BYTES:-1G} lane_tests asan asan '^(unit|e2e)$' 1 ;;
    tsan) lane_tests tsan tsan '^tsan$' "$jobs" tsan_tests ;;
    fuzz-smoke) lane_tests fuzz-smoke asan '^fuzz-smoke$' "$jobs" fuzz-smoke_tests ;;
    vm)
      end_building_ahead # an emulated guest takes all processors
      lane_tests vm release '^vm$' 1
      ;;
    clang) lane_tests clang clang '^unit$' "$jobs" ;;
    bench)
      end_building_ahead
      lane_tests bench release '^bench$' 1
      ;;
    package) lane_package package ;;
    package-short) lane_package package-short --short ;;
  esac
}

lanes=()
ctest_options=()
while [ $# -gt 0 ]; do
  case $1 in
    all) lanes+=("${ALL[@]}") ;;
    sanitizers) lanes+=("${SANITIZERS[@]}") ;;
    check | unit | e2e | asan | tsan | fuzz-smoke | vm | clang | bench | package | package-short) lanes+=("$1") ;;
    -h | --help) usage && exit 0 ;;
    --) shift && ctest_options=("$@") && break ;;
    *) usage >&2 && die "unknown lane '$1'" ;;
  esac
  shift
done
[ ${#lanes[@]} -gt 0 ] || lanes=("${ALL[@]}")

start=$SECONDS
tools/dev/setup.sh || die "setting up this machine failed: see above"
mkdir -p "$logs"
for lane in "${lanes[@]}"; do run_lane "$lane"; done

[ -z "${said[*]}" ] || printf '%s\n' "${said[@]}"
printf '\n%s\n' "--- ${lanes[*]}: $((SECONDS - start)) s"
[ ${#failures[@]} -eq 0 ] || printf 'failed: %s\n' "${failures[@]}"
printf '%s\n' "${summaries[@]}"
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" -eq 0 ]
