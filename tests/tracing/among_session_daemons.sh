#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Runs COMMAND while session daemons of LTTng start and end: root's, with which every traced program
# registers, whatever it is doing then, and one of another user. Only as root, on a machine whose session
# daemons nobody needs. With --load, N busy loops run beside it. The exit code is COMMAND's.
#
#   tests/tracing/among_session_daemons.sh [--load N] COMMAND...
#   tests/tracing/among_session_daemons.sh --load 4 tests/run.sh unit -- --repeat until-fail:100
set -uo pipefail
loops=0
if [ "${1-}" = --load ]; then
  loops=${2:?--load wants a number of busy loops}
  shift 2
fi
: "${1:?COMMAND is missing, for example: tests/run.sh unit}"
[ "$(id -u)" = 0 ] || { echo "$0: only root has the session daemon that all programs register with" >&2; exit 2; }
! pgrep -x lttng-sessiond >/dev/null || { echo "$0: a session daemon is running: end it first" >&2; exit 2; }

folder=$(mktemp -d -t lunar-daemons-XXXXXX)
chown nobody "$folder"
declare -A daemons=() sockets=([root]=/var/run/lttng/client-lttng-sessiond
                               [other]=$folder/.lttng/client-lttng-sessiond)
start() { # WHOSE COMMAND...
  "${@:2}" --no-kernel >>"$folder/$1.log" 2>&1 &
  daemons[$1]=$!
}
# Waits until every daemon that was started listens: how long that takes depends on the load.
are_up() {
  local whose left=300
  for whose in "${!daemons[@]}"; do
    until [ -S "${sockets[$whose]}" ]; do
      kill -0 "${daemons[$whose]}" 2>/dev/null && [ $((left -= 1)) -gt 0 ] || return 1
      sleep 0.1 &
      wait $!
    done
  done
}
end_all() {
  [ ${#daemons[@]} = 0 ] || { kill "${daemons[@]}" && wait "${daemons[@]}"; } 2>/dev/null
  daemons=()
}

declare -A times=([both]=0 [none]=0 [root]=0 [other]=0)
late=0
report() {
  echo "session daemons: both ${times[both]} times, none ${times[none]}, root's alone ${times[root]}," \
    "the other's alone ${times[other]}; did not start in 30 s: $late" >&2
  [ "$late" = 0 ] || tail -n 20 "$folder"/*.log >&2
}

# Both, none, root's, the other's: each for a while that is no multiple of what a test takes.
stir() {
  local kind
  trap 'end_all; report; exit' TERM
  while kill -0 $$ 2>/dev/null; do  # also if this script is killed
    for kind in both none root other; do
      case $kind in both | root) start root lttng-sessiond ;; esac
      case $kind in both | other) start other setpriv --reuid nobody --clear-groups env HOME="$folder" \
        LTTNG_HOME="$folder" lttng-sessiond ;; esac
      if are_up; then times[$kind]=$((times[$kind] + 1)); else late=$((late + 1)); fi
      sleep $((RANDOM % 4)).$((RANDOM % 900 + 100)) &
      wait $!
      end_all
    done
  done
}

helpers=()
end_helpers() {
  [ ${#helpers[@]} = 0 ] || { kill "${helpers[@]}" && wait "${helpers[@]}"; } 2>/dev/null
  rm -rf "$folder"
}
trap end_helpers EXIT
for ((i = 0; i < loops; i++)); do
  (while kill -0 $$ 2>/dev/null; do for _ in {1..100000}; do :; done; done) &
  helpers+=($!)
done
stir &
helpers+=($!)
"$@"
