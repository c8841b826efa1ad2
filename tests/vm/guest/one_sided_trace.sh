#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# One 8 MiB SCSI WRITE and one READ through tgtd and bs_lunar.so over RDMA, recorded by lunar-trace:
# every server moves the payload of its extents, and the excerpt in README.md is what is seen.
. "$(dirname "$0")/lib.sh"

here=$(dirname "$0")
cluster=/run/one-sided-trace
portal=10.0.2.15:3260
iqn=iqn.2025-01.test.lunar:trace
# shellcheck disable=SC2034  # lib.sh's
KEEP=("$cluster/log")
trace=("$LUNAR_BUILD_DIR/tools/lunar-trace")
# Programs wait at their start until they are registered, so that no event is missed.
export LTTNG_UST_REGISTER_TIMEOUT=30000

setup_net
setup_rxe
install_plugin "$LUNAR_BUILD_DIR/bstore_plugin/bs_lunar.so"

step "recording"
lttng-sessiond --daemonize
"${trace[@]}" record --output /run/trace >"$OUT/record.log" 2>&1 &
recorder=$!
wait_for 60 "recording" grep -q "Ctrl-C ends it" "$OUT/record.log"

step "cluster"
"$LUNAR_ROOT/tools/lunar-vstart" start --quiet -n 2 --store mem --dir "$cluster" \
  --bin-dir "$LUNAR_BUILD_DIR" --pool lunar --address 10.0.2.15 \
  -o ms_type=async+rdma -o ms_async_rdma_fallback=false -o "$ACK_PATIENCE" "${PATIENCE[@]/#/--option=}"
"$LUNAR_BUILD_DIR/tools/lunar" -c "$cluster/lunar.conf" create lunar/disk --size 64M
start_tgtd "$portal" LUNAR_CONF="$cluster/lunar.conf"
export_lun 1 "$iqn" 1 lunar lunar/disk

# scsi LBA NAME OPTION...: one command of 8 MiB.
scsi() {
  "$LUNAR_BUILD_DIR/tests/e2e/iscsi_load/lunar-iscsi-load" cmd "${@:2}" --lba "$1" --blocks 16384 \
    --url "iscsi://$portal/$iqn/1" >"$OUT/$2.json" || fail "$2: $(cat "$OUT/$2.json")"
}
# An IO that finds no registered memory goes inline, and the arena grows meanwhile.
is_registered() {
  scsi 0 write --pattern gen:1:1
  "$LUNAR_BUILD_DIR/tools/lunar" -c "$cluster/lunar.conf" \
    daemon "$cluster"/run/lunar-client.admin.*.asok perf dump >"$OUT/perf.json"
  jq -e '.objecter.one_sided > 0' "$OUT/perf.json"
}
wait_for 60 "registered memory in tgtd" is_registered

step "one WRITE and one READ at 16 MiB"
scsi 32768 write --pattern gen:7:1
scsi 32768 read --out /run/read

step "the end"
stop_tgtd
"$LUNAR_ROOT/tools/lunar-vstart" stop --quiet --dir "$cluster"
kill -INT "$recorder"
wait "$recorder" || fail "lunar-trace record: $(cat "$OUT/record.log")"

report() { "${trace[@]}" report /run/trace "$@"; }
report --json --slowest 1000 >"$OUT/report.json"
for command in WRITE READ; do
  io=$(jq -r --arg title "$command of 8 MiB at 16 MiB " \
    '.slowest[] | select(.title | startswith($title)) | .io_id' "$OUT/report.json")
  report --io "$io" >"$OUT/$command.txt"
  report --io "$io" --json >"$OUT/$command.json"
done
cat "$OUT/WRITE.txt"
"$here/one_sided_trace.py" check "$OUT/report.json" "$OUT/WRITE.json" "$OUT/READ.json" ||
  fail "the trace does not show it: see above"
"$here/one_sided_trace.py" excerpt "$OUT/WRITE.txt" --compare "$LUNAR_ROOT/README.md" ||
  fail "README.md shows another excerpt"
pass "a WRITE was pulled and a READ pushed, and the trace tells how"
