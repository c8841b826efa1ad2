// SPDX-License-Identifier: LGPL-2.1-or-later
// The table of options. To add one, add one line, in its group; config.h's getters then know it.

#include "common/options.h"

#include <algorithm>
#include <array>
#include <vector>

namespace lunar {
namespace {

using enum OptionType;
constexpr uint8_t kRun = kOptionRuntime;
constexpr uint8_t kCeph = kOptionCeph;

constexpr std::string_view kNoIwarp =
    "iwarp: Lunar's QPs are those of RoCE and InfiniBand; over an iWARP card use async+posix";
constexpr std::string_view kNoRoce15 = "1: RoCE v1.5 is in no device's GID table; take 2, or auto";
constexpr std::string_view kNoSecure =
    "secure: encryption on the wire is not part of this version yet; use crc";

// clang-format off
constexpr OptionSpec kOptions[] = {
// name                          type       default         accepts        flags        help
// -- who and where
{"keyring",                      kString,   "/etc/lunar/$cluster.$name.keyring", "", kCeph, "File with the keys of this entity; mode 0600."},
{"mon_host",                     kString,   "",             "",            kCeph,       "Addresses of any servers of the cluster, separated by commas; one that answers is enough."},
{"fsid",                         kString,   "",             "",            kCeph,       "Id of the cluster, a UUID; --mkfs puts it into new stores."},
{"public_addr",                  kString,   "",             "",            kCeph,       "Address a server listens on and tells others; empty: all addresses, told by the one that routes outside."},
{"run_dir",                      kString,   "/run/lunar",   "",            kCeph,       "Folder of sockets and pid files."},
{"pid_file",                     kString,   "",             "",            kCeph,       "File a server writes its process id to; empty: none."},
{"admin_socket",                 kString,   "${run_dir}/$cluster-$name.$pid.asok", "", kCeph, "Unix socket for commands to a running program; empty: none."},

// -- messenger
{"ms_type",                      kChoice,   "async+posix",  "async+posix|async+rdma", kCeph, "Transport that messages travel by: TCP, or RDMA with TCP beside it."},
{"ms_mode",                      kChoice,   "crc",          "crc",         0,           "What protects bytes on the wire.", kNoSecure},
{"ms_async_op_threads",          kUint,     "0",            "0..64",       kCeph,       "Messenger threads; 0 runs it inside the program's own loop."},
{"ms_bind_ipv4",                 kBool,     "true",         "",            kCeph,       "Servers listen on IPv4."},
{"ms_bind_ipv6",                 kBool,     "true",         "",            kCeph,       "Servers listen on IPv6."},
{"ms_bind_port_min",             kUint,     "6800",         "1..65535",    kCeph,       "First port a server tries when its address names none."},
{"ms_bind_port_max",             kUint,     "7568",         "1..65535",    kCeph,       "Last port a server tries when its address names none."},
{"ms_crc_data",                  kBool,     "true",         "",            kCeph,       "Payloads carry a crc32c; off trusts the network's checksums."},
{"ms_tcp_nodelay",               kBool,     "true",         "",            kCeph,       "Small frames leave at once."},
{"ms_tcp_rcvbuf",                kSize,     "0",            "..1GiB",      kCeph,       "Receive buffer of a TCP socket; 0 leaves it to the kernel."},
{"ms_tcp_congestion",            kString,   "",             "",            0,           "TCP congestion control of our sockets, such as cubic; empty leaves the host's default."},
{"ms_connection_ready_timeout",  kDuration, "10s",          "10ms..1h",    kCeph,       "A link that is not through its handshake by then is closed."},
{"ms_connection_idle_timeout",   kDuration, "15m",          "100ms..24h",  kCeph,       "A link that carried nothing for so long is closed."},
{"ms_initial_backoff",           kDuration, "200ms",        "1ms..1m",     kCeph,       "Pause before the first attempt to reconnect; doubles from there."},
{"ms_max_backoff",               kDuration, "15s",          "1ms..10m",    kCeph,       "Longest pause between attempts to reconnect."},
{"ms_dispatch_throttle_bytes",   kSize,     "100M",         "1MiB..64GiB", kCeph,       "Bytes of received messages that wait to be dispatched; above it sockets are not read."},
{"ms_keepalive_interval",        kDuration, "5s",           "10ms..1h",    0,           "A link that is quiet for so long is asked for a sign of life."},
{"ms_keepalive_timeout",         kDuration, "15s",          "10ms..1h",    0,           "A link that gives none for so long is dead."},
{"ms_session_timeout",           kDuration, "1m",           "10ms..24h",   0,           "How long a server keeps a session that has no link."},
{"ms_max_front_bytes",           kSize,     "1MiB",         "64K..16MiB",  0,           "Longest front segment of a frame that is accepted."},
{"ms_max_data_bytes",            kSize,     "64MiB",        "1MiB..1GiB",  0,           "Longest data segment of a frame that is accepted."},
{"ms_inject_socket_failures",    kUint,     "0",            "",            kRun|kCeph,  "For tests: one in so many sends or receives breaks the link; 0: none."},
{"ms_inject_delay_probability",  kDouble,   "0",            "0..1",        kRun|kCeph,  "For tests: share of frames that are delayed."},
{"ms_inject_delay_max",          kDuration, "1s",           "0..1m",       kRun|kCeph,  "For tests: longest such delay."},
{"ms_inject_seed",               kUint,     "0",            "",            0,           "For tests: seed of the injected faults; 0 takes a random one and logs it."},

// -- messenger over RDMA; `lunar rdma info` shows what they choose
{"ms_async_rdma_device_name",    kString,   "",             "",            kCeph,       "RDMA device, as ibv_devices lists it; empty: the one that has the connection's local address, else the first that works."},
{"ms_async_rdma_port_num",       kUint,     "0",            "0..255",      kCeph,       "Port of the device, from 1; 0: the first active one with the right address."},
{"ms_async_rdma_gid_idx",        kString,   "",             "",            kCeph,       "Index in the port's GID table; empty: chosen by local_gid, roce_ver and the local address."},
{"ms_async_rdma_local_gid",      kString,   "",             "",            kCeph,       "GID to use, written like an IPv6 address; empty: chosen."},
{"ms_async_rdma_roce_ver",       kChoice,   "auto",         "auto|0|2",    kCeph,       "RoCE version of the GID: 0 is RoCE v1, 2 is RoCE v2; auto prefers v2.", kNoRoce15},
{"ms_async_rdma_sl",             kUint,     "0",            "0..7",        kCeph,       "Service level: the priority of RDMA packets, as PFC sees it."},
{"ms_async_rdma_dscp",           kUint,     "0",            "0..63",       0,           "DSCP of RDMA packets (Ceph takes the traffic class here, which is four times as much)."},
{"ms_async_rdma_type",           kChoice,   "ib",           "ib",          kCeph,       "Kind of RDMA device: ib is InfiniBand and RoCE.", kNoIwarp},
{"ms_async_rdma_cm",             kBool,     "false",        "",            kCeph,       "Connections are made by rdma_cm, whose library keeps a soft-RoCE device from being deleted; off: over an authenticated TCP link."},
{"ms_async_rdma_support_srq",    kBool,     "true",         "",            kCeph,       "Connections of a thread share their receive buffers; off: each has receive_queue_len of its own."},
{"ms_async_rdma_buffer_size",    kSize,     "8K",           "1K..64K",     kCeph,       "One receive or send buffer: longer frames travel in several."},
{"ms_async_rdma_receive_buffers", kUint,    "1024",         "64..1048576", kCeph,       "Receive buffers that the connections of one thread share."},
{"ms_async_rdma_receive_queue_len", kUint,  "64",           "4..4096",     kCeph,       "Receive buffers of one connection; where they are shared, the most that one peer is lent."},
{"ms_async_rdma_send_buffers",   kUint,     "256",          "16..65536",   kCeph,       "Send buffers of one thread, for what is not in registered memory."},
{"ms_async_rdma_send_queue_len", kUint,     "128",          "32..16384",   0,           "Work requests of one connection that may be in flight."},
{"ms_async_rdma_enable_hugepage", kBool,    "false",        "",            kCeph,       "RDMA memory comes from 2 MiB huge pages while the host has some."},
{"ms_async_rdma_polling_us",     kUint,     "0",            "0..1000000",  kCeph,       "Microseconds a messenger thread polls for completions before it sleeps; 0: it waits for events at once."},
{"ms_async_rdma_fallback",       kBool,     "true",         "",            0,           "A connection that RDMA cannot carry stays on TCP; off: it fails with the reason."},
{"ms_async_rdma_fallback_timeout", kDuration, "2s",         "10ms..1m",    0,           "How long a new RDMA connection has to carry its first frame."},
{"ms_async_rdma_one_sided",      kBool,     "true",         "",            0,           "Large payload is moved by the server's RDMA READ and WRITE, where both ends have this on; off: it travels in frames."},
{"ms_async_rdma_rkey_scope",     kChoice,   "window",       "window|arena", 0,          "What a peer that was given a key can reach: the buffer, by a memory window where the device has working ones; or the whole chunk it lies in."},
{"ms_async_rdma_fragment_size",  kSize,     "512K",         "4K..16MiB",   0,           "Longest single RDMA READ or WRITE; longer transfers are cut."},
{"ms_async_rdma_read_depth",     kUint,     "16",           "1..128",      0,           "RDMA READs of one connection in flight; the device and the peer may allow fewer."},
{"ms_async_rdma_staging_bytes",  kSize,     "256M",         "4MiB..1TiB",  0,           "Most memory for payload that arrives and that servers store; pinned as it is needed."},
{"ms_async_rdma_front_end_bytes", kSize,    "256M",         "4MiB..1TiB",  0,           "Most memory for the data of LUNs that servers reach by RDMA; pinned as it is needed."},
{"ms_async_rdma_ack_timeout",    kDuration, "67ms",         "1ms..8s",     0,           "How long a packet waits to be acknowledged before it is sent again; rounded up to 4.096 us times a power of two."},
{"ms_async_rdma_drain_timeout",  kDuration, "1s",           "10ms..1m",    0,           "How long a connection that ends waits for its QP to give its work requests back."},

// -- authentication
{"auth_client_required",         kChoice,   "psk",          "none|psk",    kCeph,       "What a client asks of servers; none is taken on loopback addresses only."},
{"auth_cluster_required",        kChoice,   "psk",          "none|psk",    kCeph,       "What servers ask of each other; none is taken on loopback addresses only."},
{"auth_service_required",        kChoice,   "psk",          "none|psk",    kCeph,       "What a server asks of clients; none is taken on loopback addresses only."},

// -- objecter
{"objecter_op_timeout",          kDuration, "20s",          "10ms..1h",    0,           "An op without an answer ends with an error after so long, over all resends."},
{"objecter_rkey_revoke_timeout", kDuration, "2s",           "0..1m",       0,           "An op that ends without an answer waits so long for its server before the key to its memory is taken back by force, which may cost the link."},
{"objecter_inflight_ops",        kUint,     "1024",         "1..1000000",  kCeph,       "Ops in flight; more wait in the order they came."},
{"objecter_inflight_op_bytes",   kSize,     "100M",         "1MiB..64GiB", kCeph,       "Bytes of ops in flight; more wait."},

// -- images and the gateway
{"lunar_default_object_size",    kSize,     "4M",           "4K..32MiB",   0,           "Object size of a new image: a power of two."},
{"lunar_default_stripe_unit",    kSize,     "0",            "0..32MiB",    0,           "Stripe unit of a new image; 0 is the object size."},
{"lunar_default_stripe_count",   kUint,     "1",            "1..256",      0,           "Objects a new image is striped over."},
{"lunar_client_instance",        kString,   "",             "",            0,           "Tells two gateways with one key on one host apart; empty: the program's name."},
{"lunar_open_timeout",           kDuration, "2s",           "10ms..1m",    0,           "How long opening a LUN waits for the cluster."},
{"lunar_header_poll",            kDuration, "2s",           "10ms..1h",    0,           "How often an open image looks for a new size in its header."},
{"lunar_one_sided_threshold",    kSize,     "128K",         "4K..1TiB",    0,           "Extents from this size on are moved by RDMA READ or WRITE where the link can; lunar-perf-msgr client --crossover measures what is best for a device (128K: soft-RoCE)."},
{"lunar_tgt_version_check",      kChoice,   "refuse",       "refuse|warn", 0,         "What the plugin does in a tgtd of another version than it was built for."},
{"lunar_sense_on_timeout",       kChoice,   "aborted",      "aborted|busy", 0,          "What an initiator is told when servers do not answer: ABORTED COMMAND or BUSY."},
{"lunar_max_unmap",              kSize,     "512MiB",       "1MiB..1TiB",  0,           "Most bytes one UNMAP may free; advertised and enforced."},
{"lunar_max_write_same",         kSize,     "1GiB",         "1MiB..1TiB",  0,           "Most bytes one WRITE SAME may write; advertised and enforced."},

// -- object server
{"osd_data",                     kString,   "/var/lib/lunar/osd/$cluster-$id", "", kCeph, "Folder of the store."},
{"osd_objectstore",              kChoice,   "file",         "file|mem",    kCeph,       "Kind of store that --mkfs makes; mem forgets everything at exit."},
{"osd_max_write_size",           kSize,     "32MiB",        "1MiB..512MiB", kCeph,      "Most bytes one op may write."},
{"osd_max_object_size",          kSize,     "128MiB",       "1MiB..1TiB",  kCeph,       "Bytes an object may reach up to."},
{"osd_direct_io_bytes",          kSize,     "0",            "0..1GiB",     0,           "Reads and writes of an object of so many bytes and more, aligned to 4 KiB, go past the server's page cache; 0: none do."},
{"osd_reserve_bytes",            kSize,     "64MiB",        "0..16GiB",    0,           "Space held back so that deletes and metadata still work on a full disk."},
{"osd_client_session_timeout",   kDuration, "1m",           "10ms..24h",   0,           "How long a server remembers a client that went away."},
{"osd_client_results_max",       kUint,     "4096",         "16..1000000", 0,           "Results remembered per client so that a resend is answered alike; at the limit new ops wait."},
{"osd_client_message_cap",       kUint,     "1024",         "1..1000000",  kCeph,       "Ops of all clients that execute at a time; more wait in the order they came."},
{"osd_heartbeat_grace",          kDuration, "20s",          "10ms..1h",    kCeph,       "How long a server may be without a session with the map authority before it is marked down."},
{"osd_admin_entities",           kString,   "client.admin", "",            0,           "Entities that may send commands when authentication is on, separated by commas."},
{"osd_op_history_size",          kUint,     "20",           "0..10000",    kRun|kCeph,  "Finished ops that \"dump_historic_ops\" shows."},
{"osd_op_history_duration",      kDuration, "10m",          "1s..24h",     kRun|kCeph,  "How long a finished op stays there."},
{"osd_op_complaint_time",        kDuration, "30s",          "10ms..24h",   kRun|kCeph,  "An op that takes longer is logged as slow."},

// -- log
{"log_file",                     kString,   "",             "",            kCeph,       "File the log is appended to; empty: none."},
{"log_to_stderr",                kBool,     "true",         "",            kCeph,       "The log goes to the standard error output too."},
{"debug_lunar",                  kLogLevel, "0/5",          "",            kRun,        "Log and memory level: the programs themselves."},
{"debug_ms",                     kLogLevel, "0/5",          "",            kRun|kCeph,  "Log and memory level: messenger."},
{"debug_auth",                   kLogLevel, "1/5",          "",            kRun|kCeph,  "Log and memory level: authentication."},
{"debug_objecter",               kLogLevel, "0/1",          "",            kRun|kCeph,  "Log and memory level: objecter."},
{"debug_gateway",                kLogLevel, "0/5",          "",            kRun,        "Log and memory level: images."},
{"debug_tgt",                    kLogLevel, "0/5",          "",            kRun,        "Log and memory level: the plugin in tgtd."},
{"debug_osd",                    kLogLevel, "1/5",          "",            kRun|kCeph,  "Log and memory level: object server."},
{"debug_store",                  kLogLevel, "1/5",          "",            kRun,        "Log and memory level: object store."},
{"debug_map",                    kLogLevel, "1/5",          "",            kRun,        "Log and memory level: cluster map."},
{"debug_tools",                  kLogLevel, "0/5",          "",            kRun,        "Log and memory level: command-line tools."},
};
// clang-format on

// Edits that turn one name into the other (Levenshtein).
std::size_t edit_distance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t replaced = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
    }
  }
  return row[b.size()];
}

}  // namespace

std::span<const OptionSpec> all_options() noexcept { return kOptions; }

const OptionSpec* find_option(std::string_view name) noexcept {
  const auto found = std::ranges::find(kOptions, name, &OptionSpec::name);
  return found == std::end(kOptions) ? nullptr : found;
}

std::string canonical_option_name(std::string_view name) {
  std::string out;
  for (const char c : name) {
    if (c == ' ' || c == '\t' || c == '-' || c == '_') {
      if (!out.empty() && out.back() != '_') out += '_';
    } else {
      out += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    }
  }
  while (!out.empty() && out.back() == '_') out.pop_back();
  return out;
}

std::string_view nearest_option(std::string_view name) {
  constexpr std::size_t kLongestName = 64;
  const std::string wanted = canonical_option_name(name.substr(0, kLongestName));
  std::string_view best;
  std::size_t best_distance = std::max<std::size_t>(2, wanted.size() / 3) + 1;
  for (const OptionSpec& option : kOptions) {
    const std::size_t distance = edit_distance(wanted, option.name);
    if (distance < best_distance) {
      best = option.name;
      best_distance = distance;
    }
  }
  return best;
}

}  // namespace lunar
