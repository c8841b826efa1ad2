#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# From nothing to an iSCSI LUN on object servers, on this machine: sets up, builds, starts a virtual
# cluster and a private tgtd, exports an image, does verified IO to it and shows the trace of one
# write. Then it stops and removes everything, except with --keep.
#
#   tools/quickstart.sh [--keep] [--listen ADDRESS] [--chap] [--bin-dir DIR]
#   tools/quickstart.sh --stop FOLDER
#
#   --keep            leave it running, and print how to log in and how to stop it
#   --listen ADDRESS  address for initiators (127.0.0.1); without --chap anybody who reaches it can use the LUN
#   --chap            initiators have to give a name and a password (CHAP), which is made for this run
#   --bin-dir DIR     use the programs in this build instead of setting up and building
#   --stop FOLDER     end and remove what an earlier run with --keep has left
#
# Needs root for tgtd (uses sudo). It leaves the system's tgtd and LTTng alone: a mount namespace
# shows the plugin to the private tgtd only. LUNAR_QUICKSTART_BYTES sets the amount of verified IO.
set -euo pipefail
# shellcheck source=tools/dev/lib.sh
. "$(dirname "$0")/dev/lib.sh"

IMAGE=rbd/disk1
IMAGE_SIZE=1G
TARGET=iqn.2024-05.io.lunar:disk1
PLUGIN_FOLDER=/usr/lib/tgt/backing-store # compiled into Debian's tgtd
TARGETS=(lunar lunar-osd bs_lunar lunar-iscsi-load)
VERIFY_BYTES=${LUNAR_QUICKSTART_BYTES:-256M}

keep=0
chap=0
user=initiator
password=""
listen=127.0.0.1
bin_dir=""
stop_folder=""
work=""

usage() { sed -n '/^#   tools\/quickstart.sh \[/,/^#   --stop FOLDER /s/^# \{0,1\}//p' "$0"; }
step() { printf '\n==> %s\n' "$*"; }
# shown CMD...: prints the command as one would type it, and runs it.
shown() {
  printf '    $ %s\n' "$*"
  "$@"
}

# -- processes: one is ended only if its id and start time are those that were remembered

start_time() {
  local stat
  stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
  # shellcheck disable=SC2086  # fields are words
  set -- ${stat##*) }
  case $1 in Z | X) return 1 ;; esac
  printf '%s' "${20}"
}
remember() { printf '%s %s %s\n' "$1" "$2" "$(start_time "$2")" >>"$work/processes"; }
# pid_of NAME: the id if that process still runs.
pid_of() {
  local name pid ticks
  while read -r name pid ticks; do
    if [ "$name" = "$1" ] && [ "$(start_time "$pid")" = "$ticks" ]; then
      printf '%s' "$pid"
      return 0
    fi
  done < <(tac "$work/processes" 2>/dev/null)
  return 1
}
# wait_for SECONDS CMD...: until it succeeds.
wait_for() {
  local left=$(($1 * 20))
  shift
  until "$@" >/dev/null 2>&1; do
    left=$((left - 1))
    [ $left -gt 0 ] || return 1
    sleep 0.05
  done
}
gone() { ! pid_of "$1" >/dev/null; }
# end NAME SIGNAL: and waits for it.
end() {
  local pid
  pid=$(pid_of "$1") || return 0
  kill "-$2" "$pid" 2>/dev/null || return 0
  wait_for 20 gone "$1" || kill -KILL "$pid" 2>/dev/null || :
}

# -- stopping

tgt() { TGT_IPC_SOCKET=$work/ipc tgtadm -C 1 "$@"; }

stop_all() {
  trap - EXIT INT TERM HUP
  set +e
  if pid_of tgtd >/dev/null; then
    tgt --lld iscsi --mode target --op delete --force --tid 1 >/dev/null 2>&1
    tgt --mode system --op delete >/dev/null 2>&1 # tgtd does not end on SIGTERM
    wait_for 10 gone tgtd || end tgtd KILL
  fi
  [ ! -e "$work/cluster/vstart.json" ] ||
    "$LUNAR_ROOT/tools/lunar-vstart" stop --quiet --dir "$work/cluster" --bin-dir "$bin_dir"
  end lttng-sessiond TERM
  rm -rf "$work"
}

finish() {
  local code=$?
  set +e # whatever fails, go on to stop_all
  if [ $code -ne 0 ]; then
    printf '\nquickstart.sh: it did not work; stopping what it started\n' >&2
    grep -Ei 'lunar: |fail|error|unable' "$work/tgtd.log" 2>/dev/null | tail -n 5 |
      sed 's/^/    tgtd: /' >&2
  fi
  stop_all
  exit $code
}

stop_kept() {
  work=$(cd "$stop_folder" 2>/dev/null && pwd) || die "there is no folder $stop_folder"
  # The folder is removed with all that is in it: it must be one of ours, not one that has such a file.
  [[ $work == */lunar-quickstart.?????? && -f $work/quickstart ]] ||
    die "$work was not made by 'quickstart.sh --keep', and is left alone"
  bin_dir=$(cat "$work/quickstart")
  stop_all
  echo "stopped, and $work removed"
}

# -- building

build() {
  local log=$LUNAR_ROOT/build/logs/build-release.log start=$SECONDS
  mkdir -p "$LUNAR_ROOT/build/logs"
  step "Setting up this machine (tools/dev/setup.sh)"
  "$LUNAR_ROOT/tools/dev/setup.sh"
  step "Building build/release (the first time takes some minutes)"
  (cd "$LUNAR_ROOT" && cmake --preset release) >"$log" 2>&1 || build_failed "$log"
  if [ -t 1 ]; then
    NINJA_STATUS='    [%f/%t] ' ninja -C "$bin_dir" "${TARGETS[@]}" || die "the build failed: see above"
  else
    ninja -C "$bin_dir" "${TARGETS[@]}" >>"$log" 2>&1 || build_failed "$log"
  fi
  echo "    done in $((SECONDS - start)) s"
}
build_failed() {
  tail -n 30 "$1" >&2
  die "the build failed: see above and $1"
}

# -- the parts

# As root, lttng-tools uses only the machine's own session daemon, in /run/lttng. In a user namespace
# it uses one below LTTNG_HOME, to which the programs that are started here report; if that one sees
# the machine's, it listens to its notifications, and ends no session any more once it has gone. The
# folder is made if it is not there, since it could come later.
# shellcheck disable=SC2016  # expanded by the inner shell
as_nobody=(unshare --mount --propagation private
  sh -c 'mkdir -p /run/lttng && mount -t tmpfs tmpfs /run/lttng && exec "$@"' sh
  unshare --user --map-user=1000 --map-group=1000)
lttng_do() { "${as_nobody[@]}" lttng --no-sessiond "$@"; }

start_tracing() {
  export LTTNG_HOME=$work HOME=$work LTTNG_UST_REGISTER_TIMEOUT=0
  "${as_nobody[@]}" true || die "a private LTTng needs mount and user namespaces, and a folder /run/lttng to" \
    "hide: not in a chroot, and not with sysctl user.max_user_namespaces = 0"
  setsid "${as_nobody[@]}" lttng-sessiond --no-kernel \
    </dev/null >"$work/lttng-sessiond.log" 2>&1 &
  remember lttng-sessiond $!
  wait_for 30 lttng_do list || die "lttng-sessiond does not start: $(tail -n 1 "$work/lttng-sessiond.log")"
}

start_cluster() {
  step "Starting a virtual cluster: three object servers (tools/lunar-vstart)"
  "$LUNAR_ROOT/tools/lunar-vstart" start --quiet -n 3 --dir "$work/cluster" --bin-dir "$bin_dir" \
    -o ms_type=async+local -o lunar_one_sided_threshold=32K # large payloads go by shared memory, as by RDMA
  export LUNAR_CONF=$work/cluster/lunar.conf
  lunar osd tree --format json |
    jq -r '.nodes[] | "    \(.name)  \(.status)  \(.addresses | join(" "))"'
}
lunar() { "$bin_dir/tools/lunar" "$@"; }

# Debian's package does not make the plugin folder. An overlay over /usr/lib then has it, in the
# mount namespace of this tgtd only.
start_tgtd() {
  local port
  step "Starting a private tgtd with bs_lunar.so"
  mkdir "$work/plugins" "$work/overlay"
  cp "$bin_dir/bstore_plugin/bs_lunar.so" "$work/plugins/"
  for port in 3260 {3270..3290}; do
    if (exec 3<>"/dev/tcp/$listen/$port") 2>/dev/null; then continue; fi
    launch_tgtd "$port" && portal=$listen:$port && return
  done
  die "tgtd found no free port on $listen: see the lines of tgtd below"
}
launch_tgtd() {
  # shellcheck disable=SC2016  # expanded by the inner shell
  TGT_IPC_SOCKET=$work/ipc setsid unshare --mount --propagation private sh -ec '
    plugins=$1 scratch=$2 place=$3
    shift 3
    if [ ! -d "$place" ]; then
      mount -t tmpfs tmpfs "$scratch"
      mkdir -p "$scratch/upper/tgt/backing-store" "$scratch/work"
      mount -t overlay overlay \
        -o "lowerdir=/usr/lib,upperdir=$scratch/upper,workdir=$scratch/work" /usr/lib
    fi
    mount --bind "$plugins" "$place"
    exec "$@"' sh "$work/plugins" "$work/overlay" "$PLUGIN_FOLDER" \
    tgtd -f -C 1 --iscsi "portal=$listen:$1" </dev/null >"$work/tgtd.log" 2>&1 &
  local pid=$!
  remember tgtd $pid
  wait_for 20 tgtd_answers || die "tgtd does not answer tgtadm"
  gone tgtd && die "tgtd ended at once"
  # If its port is in use, tgtd goes on without one and only logs that.
  ! grep -Eq 'failed to create/bind to portal|unable to bind server socket' "$work/tgtd.log" || {
    end tgtd KILL
    return 1
  }
}
tgtd_answers() { gone tgtd || tgt --mode system --op show; }

tgtadm() { command tgtadm -C 1 "$@"; }
export_image() {
  step "Making an image and exporting it as a LUN"
  export TGT_IPC_SOCKET=$work/ipc
  shown lunar create $IMAGE --size $IMAGE_SIZE
  shown tgtadm --lld iscsi --mode target --op new --tid 1 --targetname $TARGET
  shown tgtadm --lld iscsi --mode logicalunit --op new --tid 1 --lun 1 --bstype lunar \
    --backing-store $IMAGE || die "tgtadm shows only a code; $(lunar gateway last-error 2>&1 | head -n 1)"
  if [ $chap = 1 ]; then
    password=$(od -An -N6 -tx1 /dev/urandom | tr -d ' ')
    shown tgtadm --lld iscsi --mode account --op new --user $user --password "$password"
    shown tgtadm --lld iscsi --mode account --op bind --tid 1 --user $user
  fi
  # ALL: whoever reaches the portal may log in, with the password if there is one.
  shown tgtadm --lld iscsi --mode target --op bind --tid 1 --initiator-address ALL
  url=iscsi://${password:+$user%$password@}$portal/$TARGET/1
}

load() { "$bin_dir/tests/e2e/iscsi_load/lunar-iscsi-load" "$@" --url "$url"; }

verify() {
  step "Verified IO through an iSCSI initiator (libiscsi): 512 B to 8 MiB, all commands"
  load verify --json --bytes "$VERIFY_BYTES" --mix full --depth 16 2>/dev/null >"$work/verify.json" || {
    jq -r '.[] | "    \(.verdict): \(.problem)"' "$work/verify.json" >&2
    die "the IO did not verify"
  }
  jq -r '.[] | def mb: . / 1e6 | floor;
    def mbs: (.bytes_read + .bytes_written + .bytes_read_back) / 1e6 / .seconds | floor;
    def read: "read \(.bytes_read | mb) MB, written \(.bytes_written | mb) MB";
    "    \(read), read back \(.bytes_read_back | mb) MB: no mismatch",
    "    in \(.seconds * 10 | floor / 10) s, \(mbs) MB/s while checking every block"' "$work/verify.json"
}

measure() {
  local access size depth
  step "Throughput (this machine runs initiator, tgtd and all servers)"
  while read -r access size depth; do
    load bench --json --access "$access" --size "$size" --depth "$depth" --span 256M --seconds 2 |
      jq -r --arg size "$size" '.[] | [.access, $size, .depth, (.iops | floor), (.mb_per_s | floor),
        (.latency_us.p50 | floor), (.latency_us.p99 | floor)] | @tsv'
  done <<<'randwrite 4K 32
randread 4K 32
write 1M 8
read 1M 8' | while IFS=$'\t' read -r access size depth iops rate p50 p99; do
    printf '    %-9s %2s  depth %2s  %7s IOPS  %5s MB/s  p50 %6s us  p99 %6s us\n' \
      "$access" "$size" "$depth" "$iops" "$rate" "$p50" "$p99"
  done
}

# has_tracepoint PID EVENT: whether the program has registered the event with the session daemon.
has_tracepoint() {
  lttng_do list --userspace 2>/dev/null |
    awk -v pid="$1" -v event="$2" '/^PID:/ {here = $2 == pid} here && index($0, event) {found = 1} END {exit !found}'
}

trace_one_write() {
  local osd names=()
  step "The trace of one 8 MiB write that crosses object boundaries (LTTng)"
  wait_for 60 has_tracepoint "$(pid_of tgtd)" lunar_scsi:cmd_start || die "tgtd has no tracepoints"
  for osd in 0 1 2; do
    wait_for 60 has_tracepoint "$(cut -d' ' -f1 "$work/cluster/run/osd.$osd.pid")" lunar_osd: ||
      die "osd.$osd has no tracepoints"
  done
  {
    lttng_do create quickstart --output="$work/trace"
    lttng_do enable-event --userspace 'lunar_*'
    lttng_do add-context --userspace --type=vpid
    lttng_do start
    load cmd write --lba 12288 --blocks 16384 --pattern 0x5a
    lttng_do stop
    lttng_do destroy
  } >"$work/lttng.log" 2>&1 || {
    tail -n 5 "$work/lttng.log" >&2
    die "recording the trace failed"
  }
  for osd in 0 1 2; do
    names+=(--process "$(cut -d' ' -f1 "$work/cluster/run/osd.$osd.pid")=osd.$osd")
  done
  babeltrace2 --clock-seconds "$work/trace" |
    python3 -B "$LUNAR_ROOT/tools/dev/trace_excerpt.py" --process "$(pid_of tgtd)=tgtd" "${names[@]}"
}

show_login() {
  local there=$portal address setting
  if [ "$listen" = 127.0.0.1 ]; then
    address=$(ip -o route get 192.0.2.1 2>/dev/null | sed -n 's/.* src \([^ ]*\).*/\1/p')
    there=${address:-ADDRESS}:${portal##*:}
    step "From another machine (run this with --keep --listen ${address:-ADDRESS}, then there):"
  else
    step "From another machine:"
  fi
  cat <<END
    $ iscsiadm --mode discovery --type sendtargets --portal $there
END
  if [ $chap = 1 ]; then
    for setting in "authmethod --value CHAP" "username --value $user" "password --value $password"; do
      echo "    $ iscsiadm --mode node --targetname $TARGET --op update --name node.session.auth.$setting"
    done
  fi
  cat <<END
    $ iscsiadm --mode node --targetname $TARGET --portal $there --login
    $ lsblk --scsi                       # the new disk: mkfs, mount, use it
    $ iscsiadm --mode node --targetname $TARGET --portal $there --logout
END
}

show_kept() {
  step "It stays running"
  cat <<END
    $ export LUNAR_CONF=$LUNAR_CONF
    $ $bin_dir/tools/lunar status        # also: lunar info $IMAGE, lunar resize $IMAGE --size 2G
    $ export TGT_IPC_SOCKET=$work/ipc
    $ tgtadm -C 1 --lld iscsi --mode target --op show
  Logs are in $work. Stop it with:
    $ tools/quickstart.sh --stop $work
END
}

run() {
  local start=$SECONDS program
  for program in tools/lunar osd/lunar-osd bstore_plugin/bs_lunar.so \
    tests/e2e/iscsi_load/lunar-iscsi-load; do
    [ -f "$bin_dir/$program" ] || die "there is no $bin_dir/$program: build it, or leave out --bin-dir"
  done
  PATH=$PATH:/usr/sbin:/sbin
  umask 077
  work=$(mktemp -d "${TMPDIR:-/tmp}/lunar-quickstart.XXXXXX")
  printf '%s\n' "$bin_dir" >"$work/quickstart"
  trap finish EXIT
  trap 'exit 130' INT TERM HUP
  start_tracing
  start_cluster
  start_tgtd
  export_image
  verify
  measure
  trace_one_write
  show_login
  if [ $keep = 1 ]; then
    trap - EXIT INT TERM HUP
    show_kept
  else
    stop_all
    printf '\nDone in %d s; everything is stopped and removed. README.md goes on from here.\n' \
      $((SECONDS - start))
  fi
}

main() {
  local arguments=("$@") build_first=1
  while [ $# -gt 0 ]; do
    case $1 in
      --keep) keep=1 ;;
      --chap) chap=1 ;;
      --listen | --bin-dir | --stop)
        [ $# -gt 1 ] || die "$1 needs a value after it"
        case $1 in
          --listen) listen=$2 ;;
          --bin-dir) bin_dir=$2 && build_first=0 ;;
          --stop) stop_folder=$2 ;;
        esac
        shift
        ;;
      -h | --help) usage && exit 0 ;;
      *) usage >&2 && die "unknown argument '$1'" ;;
    esac
    shift
  done
  if [ -z "$stop_folder" ] && [ $build_first = 1 ]; then
    bin_dir=$LUNAR_ROOT/build/release
    build
    arguments+=(--bin-dir "$bin_dir")
  fi
  if [ "$(id -u)" != 0 ]; then
    step "Going on as root, for tgtd"
    as_root env "LUNAR_QUICKSTART_BYTES=$VERIFY_BYTES" "$LUNAR_ROOT/tools/quickstart.sh" "${arguments[@]}"
    exit
  fi
  if [ -n "$stop_folder" ]; then
    stop_kept
  else
    bin_dir=$(cd "$bin_dir" 2>/dev/null && pwd) || die "there is no folder $bin_dir"
    run
  fi
}

main "$@"
