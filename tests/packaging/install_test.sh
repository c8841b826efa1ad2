#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What tools/package.sh makes, from a look at it to a LUN of what is installed. By command: tests/run.sh package.
#
#   install_test.sh [--short] [--built DIR] [--packages DIR] [--from DIR]
#
#   --short         only look: contents, dependencies, units, lintian
#   --built DIR     pack this build (build/release)
#   --packages DIR  take these packages instead
#   --from DIR      packages of an earlier commit, to upgrade from; without, the same under an older version
#
# The long form boots Debian 12 in systemd-nspawn, as root: installs, starts servers and tgtd by their units, writes
# through a LUN while all of it is upgraded, removes and purges. It needs the Debian archive of this machine's apt.
set -euo pipefail
# shellcheck source=tools/dev/lib.sh
. "$(dirname "$0")/../../tools/dev/lib.sh"

short=0 built=$LUNAR_ROOT/build/release packages="" from=""
while [ $# -gt 0 ]; do
  case $1 in
    --short) short=1 ;;
    --built | --packages | --from) declare "${1#--}=$2" && shift ;;
    *) die "unknown argument '$1'" ;;
  esac
  shift
done
work=$(mktemp -d "${TMPDIR:-/tmp}/lunar-install.XXXXXX")
leader="" nspawn=""
finish() {
  local code=$?
  set +e
  if [ $code -ne 0 ] && [ -n "$leader" ]; then
    guest journalctl --no-pager -n 60 2>/dev/null
    guest sh -c 'tail -n 20 /var/log/lunar/*.log' 2>/dev/null
  fi
  if [ -n "$nspawn" ]; then
    kill -RTMIN+4 "$leader" 2>/dev/null
    timeout 30 tail --pid="$nspawn" -f /dev/null || kill -KILL "$nspawn"
  fi
  rm -rf --one-file-system "$work"
  exit $code
}
trap finish EXIT
step() { printf '==> %4d s  %s\n' $SECONDS "$*"; }
# expect WHAT CMD...
expect() {
  local what=$1
  shift
  "$@" >"$work/said" 2>&1 || {
    cat "$work/said"
    die "not so: $what"
  }
}
wait_for() {
  local left=$(($1 * 10))
  shift
  until "$@" >/dev/null 2>&1; do
    left=$((left - 1))
    [ $left -gt 0 ] || die "still not so: $*"
    sleep 0.1
  done
}

# -- a look

look() {
  local package file libraries contents=$work/contents architecture multiarch
  architecture=$(dpkg --print-architecture)
  multiarch=$(dpkg-architecture -qDEB_HOST_MULTIARCH)
  step "contents"
  for package in liblunar-dev liblunar1 lunar-exporter lunar-osd lunar-storage-common lunar-tests lunar-trace \
    nbdkit-plugin-lunar tgt-lunar; do
    expect "there is one $package" test -e "$packages/${package}"_*_"$architecture".deb
    dpkg -x "$packages/${package}"_*.deb "$work/tree"
    dpkg -c "$packages/${package}"_*.deb
  done | awk '$1 !~ /^d/ {sub(/^\./, "", $6); print $6}' | sort >"$contents"
  while read -r file; do
    file=${file/MULTIARCH/$multiarch}
    expect "$file is packed" grep -qx "$file" "$contents"
  done <<'END'
/etc/default/lunar
/etc/logrotate.d/lunar
/etc/lunar/luns
/etc/lunar/lunar.conf
/lib/systemd/system/lunar-exporter.service
/lib/systemd/system/lunar-luns.service
/lib/systemd/system/lunar-osd@.service
/lib/systemd/system/lunar.target
/lib/systemd/system/tgt.service.d/lunar.conf
/usr/bin/lunar-cli
/usr/bin/lunar-exporter
/usr/bin/lunar-iscsi-load
/usr/bin/lunar-osd
/usr/bin/lunar-perf-msgr
/usr/bin/lunar-trace
/usr/bin/lunar-vstart
/usr/include/lunar/lunar.h
/usr/lib/sysusers.d/lunar-storage-common.conf
/usr/lib/tgt/backing-store/bs_lunar.so
/usr/lib/tmpfiles.d/lunar-storage-common.conf
/usr/lib/MULTIARCH/liblunar.so.1
/usr/lib/MULTIARCH/nbdkit/plugins/nbdkit-lunar-plugin.so
/usr/lib/MULTIARCH/pkgconfig/lunar.pc
/usr/sbin/lunar-luns
/usr/share/lunar/monitoring/lunar-dashboard.json
/usr/share/lunar/monitoring/lunar.rules.yml
/usr/share/man/man1/lunar-cli.1.gz
/usr/share/man/man5/lunar.conf.5.gz
/usr/share/man/man8/lunar-luns.8.gz
/usr/share/man/man8/lunar-osd.8.gz
END
  expect "Debian's command lunar is left alone" sh -c "! grep -x /usr/bin/lunar $contents"
  expect "tgt-lunar wants the tgt that it was built for" \
    sh -c "dpkg-deb -f $packages/tgt-lunar_*.deb Depends | grep -E 'tgt \(>= 1:[0-9.]+-0\), tgt \(<< 1:[0-9.]+-999\)'"
  expect "the SONAME is liblunar.so.1" \
    sh -c "objdump -p $work/tree/usr/lib/*/liblunar.so.1 | grep 'SONAME *liblunar.so.1'"
  printf '#include <lunar/lunar.h>\nint main(void) { return lunar_last_error()[0]; }\n' >"$work/user.c"
  libraries=$work/tree/usr/lib/$multiarch
  # shellcheck disable=SC2046  # words
  expect "a program that uses liblunar compiles and runs" sh -c "cd $work && export \
    PKG_CONFIG_SYSROOT_DIR=$work/tree PKG_CONFIG_PATH=$libraries/pkgconfig &&
    cc user.c -o user \$(pkg-config --cflags --libs lunar) &&
    LD_LIBRARY_PATH=$libraries LTTNG_UST_REGISTER_TIMEOUT=0 ./user"

  step "units"
  mkdir -p "$work/tree/bin"
  cp /bin/kill "$work/tree/bin/"
  cp -a /lib/systemd/system "$work/units" && cp -a "$work/units/." "$work/tree/lib/systemd/system/"
  mkdir -p "$work/tree/usr/sbin" && cp /usr/sbin/tgtd /usr/sbin/tgtadm /usr/sbin/tgt-admin "$work/tree/usr/sbin/"
  (cd "$work/tree/lib/systemd/system" && systemd-analyze --root="$work/tree" --man=no --recursive-errors=no verify \
    lunar-osd@0.service lunar-luns.service lunar-exporter.service lunar.target) >"$work/said" 2>&1 || :
  expect "systemd finds nothing wrong with the units" sh -c "! grep -E 'lunar' $work/said"
  expect "lunar-exporter.service is exposed at 2.0 at most" \
    systemd-analyze --offline=true --root="$work/tree" --threshold=20 security lunar-exporter.service
  expect "lunar-exporter.service has bounds" sh -c \
    "grep -qx TasksMax=64 $work/tree/lib/systemd/system/lunar-exporter.service &&
     grep -qx MemoryMax=1G $work/tree/lib/systemd/system/lunar-exporter.service"
  expect "lunar-osd@.service is exposed at 2.0 at most" \
    systemd-analyze --offline=true --root="$work/tree" --threshold=20 security lunar-osd@0.service

  step "lintian"
  if command -v lintian >/dev/null; then
    expect "lintian has neither errors nor warnings" \
      lintian --allow-root --fail-on error,warning --suppress-tags bad-distribution-in-changes-file \
      "$packages"/*.changes
  else
    say "lintian is not installed: left out"
  fi
}

# -- a machine

guest() { nsenter --target "$leader" --all --wdns=/root env LTTNG_UST_REGISTER_TIMEOUT=0 "$@"; }

base_system() {
  local base=$LUNAR_ROOT/build/cache/bookworm.tar
  if [ ! -s "$base" ]; then
    step "making a Debian 12"
    mkdir -p "$(dirname "$base")"
    debian_sources | sed '/^deb-src/d' >"$work/sources"
    mmdebstrap --quiet --variant=apt --include=systemd,systemd-sysv,iproute2,procps bookworm "$base.new" \
      - <"$work/sources"
    mv "$base.new" "$base"
  fi
  mkdir "$work/guest"
  tar -C "$work/guest" -xf "$base"
}

# The same packages under version $1, in $2.
older() {
  local package
  mkdir -p "$2"
  for package in "$packages"/*.deb; do
    rm -rf "$work/repack"
    dpkg-deb -R "$package" "$work/repack"
    sed -i -E "s/^(Version: ).*/\1$1/; s/\(= $new_version\)/(= $1)/g" "$work/repack/DEBIAN/control"
    dpkg-deb --root-owner-group -Znone -b "$work/repack" "$2/" >/dev/null
  done
}

# Not booted, with the machine's network.
offline_guest() {
  systemd-nspawn --quiet --register=no --keep-unit --directory "$work/guest" \
    --setenv=DEBIAN_FRONTEND=noninteractive "$@"
}

boot() {
  step "booting"
  # A network of its own: ports and addresses are those that the documentation has.
  systemd-nspawn --quiet --register=no --keep-unit --directory "$work/guest" --private-network --boot \
    </dev/null >"$work/console" 2>&1 &
  nspawn=$!
  wait_for 30 has_leader
  leader=$(pgrep -P $nspawn | head -n 1)
  wait_for 60 guest systemctl is-active --quiet multi-user.target
}
has_leader() { pgrep -P "$nspawn" >/dev/null; }

make_cluster() {
  step "making a cluster of two servers, as user lunar"
  guest sh -ec '
    sed -i "s/^#fsid = .*/fsid = $(cat /proc/sys/kernel/random/uuid)/; s/^#mon_host = .*/mon_host = 127.0.0.1:6800/" \
      /etc/lunar/lunar.conf
    printf "[osd.0]\npublic_addr = 127.0.0.1:6800\n[osd.1]\npublic_addr = 127.0.0.1:6801\n" >>/etc/lunar/lunar.conf
    for who in osd.0 osd.1 client.admin client.gw1; do lunar-cli keyring add /etc/lunar/lunar.osd.keyring $who; done
    for who in client.admin client.gw1; do
      (umask 077; sed -n "/^\[$who\]/,/^\[/{/^\[$who\]/p;/^\[/!p}" /etc/lunar/lunar.osd.keyring \
        >/etc/lunar/lunar.$who.keyring)
    done
    chown lunar: /etc/lunar/lunar.osd.keyring
    runuser -u lunar -- lunar-osd --mkfs --mkmap -i 0
    runuser -u lunar -- lunar-osd --mkfs -i 1
    systemctl enable --quiet lunar-osd@0 lunar-osd@1
    systemctl start lunar-osd@0 lunar-osd@1
    lunar-cli pool create rbd
    lunar-cli create rbd/disk1 --size 2G
    lunar-cli auth caps client.gw1 "profile gateway pool=rbd image=disk1"'
  expect "systemd says at which address osd.1 serves" \
    sh -c "nsenter --target $leader --all systemctl show -p StatusText lunar-osd@1 | grep 'serving at 127.0.0.1:6801'"
  expect "no server runs as root" sh -c "! nsenter --target $leader --all pgrep -u root -x lunar-osd"
  expect "its admin socket answers a member of the group" guest sh -ec \
    'useradd -M -G lunar olga; runuser -u olga -- lunar-cli daemon /run/lunar/lunar-osd.0.*.asok version'
  expect "io_uring works behind the filter of system calls" guest sh -ec \
    'tail -n +2 /var/log/lunar/osd.0.log | grep "is open, with io_uring"'
}

URL=iscsi://alice%apasswordof16c@127.0.0.1/iqn.2024-05.io.lunar:disk1/1
load() { guest lunar-iscsi-load verify --json --initially-anything --url "$URL" "$@"; }
has_lun() { guest sh -c "tgtadm --lld iscsi --mode target --op show | grep -q 'Backing store path: rbd/disk1'"; }

luns_come_with_the_cluster() {
  step "tgtd is up before the cluster, and its LUN comes with that"
  guest sh -ec 'cat >/etc/lunar/luns <<END
target iqn.2024-05.io.lunar:disk1 initiator-address=127.0.0.1 chap=alice:apasswordof16c
lun iqn.2024-05.io.lunar:disk1 1 rbd/disk1 id=gw1
END
    systemctl stop lunar-osd@0 lunar-osd@1
    systemctl restart tgt'
  expect "tgtd is up" guest systemctl is-active tgt
  expect "lunar-luns is at work" guest systemctl is-active lunar-luns
  expect "there is no LUN yet" sh -c "! nsenter --target $leader --all tgtadm --lld iscsi --mode target --op show |
    grep rbd/disk1"
  guest systemctl start lunar-osd@0 lunar-osd@1
  wait_for 60 has_lun
  wait_for 30 load --bytes 1M
  step "tgtd is killed, and its LUN comes back"
  guest systemctl kill --kill-who=main --signal=KILL tgt
  wait_for 60 has_lun
}

use_it() {
  step "verified IO"
  expect "a wrong password is refused" \
    sh -c "! nsenter --target $leader --all lunar-iscsi-load verify --bytes 1M --url ${URL/apass/wrong}"
  expect "IO verifies" load --bytes 128M --mix full
  step "autopkgtest"
  cp "$LUNAR_ROOT/packaging/debian/tests/export-lun" "$work/guest/srv/"
  expect "it exports a LUN" guest /srv/export-lun
  step "metrics"
  guest systemctl start lunar-exporter
  wait_for 30 scrape_has 'lunar_daemon_up\{cluster="lunar",daemon="osd.1"\} 1'
  expect "the gateway, which is root's, has an image" \
    scrape_has 'lunar_image_wr_total\{.*daemon="client.gw1".*image="disk1".*pool="rbd".*\} [1-9]'
  step "reload and rotation"
  guest sh -ec 'echo before >/var/log/tgt-lunar/client.gw1.log; logrotate --force /etc/logrotate.d/lunar
    test -s /var/log/tgt-lunar/client.gw1.log.1'
  guest systemctl reload lunar-osd@0
  expect "the log goes on in a new file" guest sh -ec \
    'test -s /var/log/lunar/osd.0.log.1; test -e /var/log/lunar/osd.0.log'
  expect "the server is active" guest systemctl is-active lunar-osd@0
}

# By Python: the guest has no curl.
scrape_has() {
  guest python3 -c 'import urllib.request
print(urllib.request.urlopen("http://127.0.0.1:9927/metrics", timeout=9).read().decode())' | grep -E "^$1" >/dev/null
}

upgrade() {
  local io
  step "upgrade with IO under way"
  # As Linux does, the initiator repeats what ends with BUSY.
  load --bytes 4G --max-op 1M --retry-seconds 60 >"$work/io.json" 2>"$work/io.err" &
  io=$!
  wait_for 20 guest pgrep -x lunar-iscsi-loa # as the kernel cuts it
  before=$(guest pgrep -x lunar-osd | tr '\n' ' ')
  expect "dpkg installs them" guest sh -c 'DEBIAN_FRONTEND=noninteractive dpkg -i /srv/new/*.deb'
  expect "no server was restarted by it" test "$before" = "$(guest pgrep -x lunar-osd | tr '\n' ' ')"
  guest systemctl restart lunar-osd@1
  guest systemctl restart lunar-osd@0
  kill -0 $io || { cat "$work/io.err" "$work/io.json" && die "the IO ended during the upgrade"; }
  wait $io || { cat "$work/io.err" "$work/io.json" && die "the IO failed during the upgrade"; }
  step "$(jq -r '.[] | "verified, \(.verdict): \(.bytes_written / 1e6 | floor) MB written"' "$work/io.json")"
}

beside_debians_lunar() {
  step "Debian's package lunar beside it"
  expect "lunar is ours" guest sh -ec 'lunar --version | grep Lunar'
  expect "it installs" guest sh -c 'dpkg -i /srv/lunar_*.deb'
  expect "lunar is Debian's then" guest sh -ec 'test ! -L /usr/bin/lunar; dpkg -S /usr/bin/lunar | grep "^lunar:"'
  expect "lunar-cli is ours" guest sh -ec 'lunar-cli --version | grep Lunar'
  expect "it can be removed" guest dpkg --purge lunar
  expect "lunar is ours again" guest sh -ec 'lunar --version | grep Lunar'
}

remove() {
  step "remove and purge"
  guest sh -ec 'systemctl stop tgt
    DEBIAN_FRONTEND=noninteractive apt-get -qq remove lunar-storage-common liblunar1 lunar-trace'
  expect "no server runs" sh -c "! nsenter --target $leader --all pgrep -x lunar-osd"
  expect "configuration is kept" guest test -e /etc/lunar/lunar.conf
  guest dpkg --purge lunar-exporter lunar-osd tgt-lunar lunar-storage-common # the others have no configuration
  guest sh -c 'find / -xdev \( -path /proc -o -path /sys -o -path /srv -o -path /var/log/journal \) -prune -o \
    -name "*lunar*" -print' >"$work/left" || :
  grep -vE '^/var/lib/lunar|^/etc/lunar(/lunar\.[a-z.0-9]*keyring)?$|^/var/(cache|lib/apt)/|^/(tmp|var/tmp)/' \
    "$work/left" >"$work/more" || :
  expect "nothing but data and keys is left" sh -c "! cat '$work/more' | grep ."
  expect "the data is left" guest test -e /var/lib/lunar/osd/lunar-0/identity.json
}

[ -n "$packages" ] || {
  step "packing $built"
  packages=$work/packages
  "$LUNAR_ROOT/tools/package.sh" deb --built "$built" --output "$packages"
}
packages=$(cd "$packages" && pwd)
new_version=$(dpkg-deb -f "$packages"/lunar-osd_*.deb Version)
look
if [ $short = 0 ]; then
  [ "$(id -u)" = 0 ] || die "the long form has to be root's"
  for program in mmdebstrap systemd-nspawn jq; do
    command -v $program >/dev/null || die "$program is not installed: install mmdebstrap, systemd-container and jq"
  done
  base_system
  step "installing"
  [ -n "$from" ] && cp -a "$from" "$work/guest/srv/old" || older "$new_version~earlier" "$work/guest/srv/old"
  mkdir "$work/guest/srv/new"
  cp "$packages"/*.deb "$work/guest/srv/new/"
  offline_guest sh -ec 'apt-get -qq update; cd /srv; apt-get -qq download lunar >/dev/null
    apt-get -qq install -y --no-install-recommends logrotate /srv/old/*.deb' >"$work/install.log" 2>&1 ||
    { tail -n 30 "$work/install.log" && die "apt-get install failed"; }
  boot
  make_cluster
  luns_come_with_the_cluster
  use_it
  upgrade
  beside_debians_lunar
  remove
fi
step "all of it holds"
