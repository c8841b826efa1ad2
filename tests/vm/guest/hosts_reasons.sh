# SPDX-License-Identifier: LGPL-2.1-or-later
# shellcheck shell=bash
# Every reason for which a payload is sent in a frame after all, seen and counted between two hosts,
# under verified IO of all sizes through the gateway library. Sourced by hosts_gateway.sh.

# check_image NUMBER CLUSTER WORDS...: runs one_sided_check on a new image. What it counted is then in
# $OUT/check.NUMBER.json.
check_image() {
  local number=$1 conf=$2/lunar.conf image=lunar/check$1
  shift 2
  "$LUNAR_BUILD_DIR/tools/lunar" -c "$conf" create "$image" --size 36M
  "$LUNAR_BUILD_DIR/tests/gateway/one_sided_check" "$image" "$@" -c "$conf" \
    --objecter-op-timeout=120s >"$OUT/check.$number.json" 2>"$OUT/check.$number.log" ||
    fail "one_sided_check $* failed: $(tail -n 3 "$OUT/check.$number.log")"
  "$LUNAR_BUILD_DIR/tools/lunar" -c "$conf" rm "$image"
  step "one_sided_check $*: $(jq -c '[.mebibytes, (.counted | {one_sided_bytes, op_resend, keys_revoked})]' \
    "$OUT/check.$number.json")"
}

# Packets lost, the cable pulled, and links cut on top of it, under pulls, pushes and frames.
check_under_faults() {
  local checking
  check_image 1 "$CLUSTER" mixed 1 $((MIB * 12)) --ms-inject-socket-failures=60 &
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

every_reason() {
  check_under_faults
  check_image 2 "$CLUSTER" damaged
  check_with_old_server
  jq -s 'map(.counted | with_entries(select(.key | test("^one_sided|^inline_")))) |
    reduce .[] as $one ({}; reduce ($one | to_entries[]) as $e (.; .[$e.key] += $e.value))' \
    "$OUT"/check.[1-4].json >"$OUT/reasons.json"
  step "payloads by way and reason: $(jq -c . "$OUT/reasons.json")"
  step "at the servers: $(on_peer osd_one_sided 0), $(on_peer osd_one_sided 1)"
  jq -e '[.[]] | all(. > 0)' "$OUT/reasons.json" >/dev/null || fail "a reason was not seen"
}
