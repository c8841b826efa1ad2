# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Deliveries between two hosts, through the gateway library: every reason for inline delivery, seen
# and counted under verified IO of all sizes; and a server that acts too late. Sourced by
# hosts_gateway.sh.

CHECK_TIMEOUT=120s # of each op
CHECK_SIZE=36M
# check_image NUMBER CLUSTER WORDS...: runs one_sided_check on a new image. Its counters are then in
# $OUT/check.NUMBER.json.
check_image() {
  local number=$1 conf=$2/lunar.conf image=lunar/check$1
  shift 2
  "$LUNAR_BUILD_DIR/tools/lunar" -c "$conf" create "$image" --size "$CHECK_SIZE"
  "$LUNAR_BUILD_DIR/tests/gateway/one_sided_check" "$image" "$@" -c "$conf" \
    --objecter-op-timeout="$CHECK_TIMEOUT" >"$OUT/check.$number.json" 2>"$OUT/check.$number.log" ||
    fail "one_sided_check $* failed: $(tail -n 3 "$OUT/check.$number.log")"
  "$LUNAR_BUILD_DIR/tools/lunar" -c "$conf" rm "$image"
  step "one_sided_check $*: $(tail -n 1 "$OUT/check.$number.json" |
    jq -c '[.mebibytes, (.counted | {one_sided_bytes, op_resend, op_timeout, keys_revoked})]')"
}

# Lost packets, a pulled cable, and links cut at the same time, during pulls, pushes and frames.
check_under_faults() {
  local checking
  check_image 1 "$CLUSTER" mixed 1 $((MIB * 12)) --ms-inject-socket-failures=25 --ms-inject-seed=1 &
  checking=$!
  bad_network
  cable_out
  wait $checking || fail "see above"
}

check_with_old_server() {
  on_peer start_old_cluster
  mkdir -p "$OLD_CLUSTER"
  cp "$SHARED/old.conf" "$OLD_CLUSTER/lunar.conf"
  install -m 600 "$SHARED/old.keyring" "$OLD_CLUSTER/keyring"
  check_image 3 "$OLD_CLUSTER" mixed 2 $((MIB * 4)) --ms-async-rdma-one-sided=true \
    --ms-async-rdma-device-name=nosuch
  check_image 4 "$OLD_CLUSTER" mixed 3 $((MIB * 4)) --ms-async-rdma-one-sided=true
  on_peer stop_old_cluster
}

# A server that has remote keys is stopped until the IOs have failed (they time out or are aborted)
# and their memory is in use for something else; then it continues.
late_server() {
  late_for late 6s 5
  late_for aborted 120s 6
}
late_for() { # KIND TIMEOUT NUMBER
  local checking go
  mkfifo /run/go
  exec {go}<>/run/go
  # Enough objects for the server to have some of them.
  CHECK_TIMEOUT=$2 CHECK_SIZE=128M check_image "$3" "$CLUSTER" "$1" <&"$go" &
  checking=$!
  wait_for 60 "image of the check" grep -q ready "$OUT/check.$3.json"
  on_peer signal_osd 1 STOP
  echo go >&"$go"
  wait_for 60 "end of its IOs" grep -q over "$OUT/check.$3.json"
  on_peer signal_osd 1 CONT
  wait $checking || fail "see above"
  exec {go}>&-
  rm /run/go
  tail -n 1 "$OUT/check.$3.json" | jq -e '.counted.keys_revoked > 0' >/dev/null || fail "$1: no key was out"
}

# Counts ops that had been sent when their link ended. Which ones is chance.
count_resends() { jq -s 'map(.counted.inline_resend) | add' "$OUT"/check.1*.json; }

every_reason() {
  local osd at_server number
  check_under_faults
  for ((number = 10; $(count_resends) == 0 && number < 20; number++)); do
    check_image $number "$CLUSTER" mixed $number $((MIB * 4)) --ms-inject-socket-failures=25 \
      --ms-inject-seed=$number
  done
  check_image 2 "$CLUSTER" provoked
  check_with_old_server
  jq -s 'map(.counted | with_entries(select(.key | test("^one_sided|^inline_")))) |
    reduce .[] as $one ({}; reduce ($one | to_entries[]) as $e (.; .[$e.key] += $e.value))' \
    "$OUT"/check.[1-4]*.json >"$OUT/reasons.json"
  step "payloads by way and reason: $(jq -c . "$OUT/reasons.json")"
  for osd in 0 1; do
    at_server=$(on_peer osd_one_sided $osd)
    step "at osd.$osd: $at_server"
  done
  jq -e '[.[]] | all(. > 0)' "$OUT/reasons.json" >/dev/null || fail "a reason was not seen"
}
