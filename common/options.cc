// SPDX-License-Identifier: LGPL-2.1-or-later
// The table of options. To add one, add one line, in its group; config.h's getters then know it.

#include "common/options.h"

#include <algorithm>
#include <array>
#include <vector>

#include "common/nearest_word.h"

namespace lunar {
namespace {

using enum OptionType;
constexpr uint8_t kRun = kOptionRuntime;
constexpr uint8_t kCeph = kOptionCeph;

constexpr std::string_view kNoIwarp =
    "iwarp: Lunar's QPs are those of RoCE and InfiniBand; over an iWARP card use async+posix";
constexpr std::string_view kNoRoce15 = "1: RoCE v1.5 is in no device's GID table; take 2, or auto";

// clang-format off
// name, type, default, accepted, flags,
//   help
constexpr OptionSpec kOptions[] = {
// -- who and where
{"keyring", kString, "/etc/lunar/$cluster.$name.keyring", "", kCeph,
 "The keys of the entity are read from this file, whose mode has to be 0600."},
{"keyring_check_interval", kDuration, "10s", "100ms..1h", 0,
 "The keyring is read anew if it was replaced when a program looks, which is this often; SIGHUP has a server do so."},
{"mon_host", kString, "", "", kCeph,
 "These addresses of servers, separated by commas, are where the cluster is looked for; one that answers is enough."},
{"map_authority", kString, "", "", 0,
 "This server, as in osd.0, has to be the map authority: before its first map a program takes no other one for it. "
 "If it is empty, the first map says who it is."},
{"fsid", kString, "", "", kCeph,
 "This UUID tells clusters apart; --mkfs writes it into a new store, and lunar refuses servers of another cluster."},
{"public_addr", kString, "", "", kCeph,
 "A server listens on this address and tells it to others; if it is empty, the server listens on all addresses and "
 "tells the one that packets to other hosts leave from."},
{"run_dir", kString, "/run/lunar", "", kCeph,
 "Sockets and pid files are made in this folder."},
{"pid_file", kString, "", "", kCeph,
 "A server writes its process id to this file; if it is empty, no file is written."},
{"admin_socket", kString, "${run_dir}/$cluster-$name.$pid.asok", "", kCeph,
 "A running program takes commands at this Unix socket; if it is empty, it takes none."},
{"admin_socket_mode", kChoice, "0600", "0600|0660", kCeph,
 "A server's admin socket has this mode; 0660 lets the group of its process send commands."},

// -- messenger
{"ms_type", kChoice, "async+posix", "async+posix|async+rdma|async+local", kCeph,
 "Messages travel over TCP (async+posix), over RDMA with TCP beside it (async+rdma), or within the host through "
 "sockets in run_dir and shared memory, with TCP beside it (async+local)."},
{"ms_cluster_mode", kChoice, "crc secure", "crc|secure|crc secure|secure crc", kCeph,
 "Links between servers are protected by checksums (crc) or by TLS with the key of the entity (secure). With two "
 "modes the connecting server prefers the first; with one, links of the other mode are refused."},
{"ms_service_mode", kChoice, "crc secure", "crc|secure|crc secure|secure crc", kCeph,
 "A server takes links of clients that are protected by checksums (crc), by TLS with the key of the client (secure), "
 "or either; it refuses the others."},
{"ms_client_mode", kChoice, "crc secure", "crc|secure|crc secure|secure crc", kCeph,
 "A client's links are protected by checksums (crc) or by TLS with its key (secure). With two modes the client "
 "prefers the first; with one, links of the other mode are refused."},
{"ms_secure_max_bytes", kSize, "64GiB", "64KiB..64TiB", 0,
 "A secure link that has carried this many bytes is replaced by another one of its session, with new keys."},
{"ms_secure_max_age", kDuration, "8h", "100ms..168h", 0,
 "A secure link that is this old is replaced by another one of its session, with new keys."},
{"ms_bind_ipv4", kBool, "true", "", kCeph,
 "A server can listen on an IPv4 address; if this is off, a server without public_addr listens on IPv6."},
{"ms_bind_ipv6", kBool, "true", "", kCeph,
 "A server can listen on an IPv6 address."},
{"ms_bind_port_min", kUint, "6800", "1..65535", kCeph,
 "A server whose address names no port tries this port first."},
{"ms_bind_port_max", kUint, "7568", "1..65535", kCeph,
 "A server whose address names no port tries this port last."},
{"ms_crc_data", kBool, "true", "", kCeph,
 "Data segments carry a crc32c; without it the checksums of the network are relied on."},
{"ms_tcp_nodelay", kBool, "true", "", kCeph,
 "Small frames are sent at once (TCP_NODELAY)."},
{"ms_tcp_rcvbuf", kSize, "0", "..1GiB", kCeph,
 "The receive buffer of a TCP socket has this many bytes; with 0 the kernel chooses."},
{"ms_tcp_congestion", kString, "", "", 0,
 "TCP sockets use this congestion control, such as cubic; if it is empty, they use the host's default."},
{"ms_connection_ready_timeout", kDuration, "10s", "10ms..1h", kCeph,
 "A link that has not finished its handshake after this time is closed."},
{"ms_connection_idle_timeout", kDuration, "15m", "100ms..24h", kCeph,
 "A link that has carried nothing for this time is closed."},
{"ms_initial_backoff", kDuration, "200ms", "1ms..1m", kCeph,
 "The first attempt to reconnect is made after this time; the time doubles with each attempt that fails."},
{"ms_max_backoff", kDuration, "15s", "1ms..10m", kCeph,
 "The time between two attempts to reconnect grows up to this one; that of a client grows up to 2 s, unless it is "
 "refused."},
{"ms_dispatch_throttle_bytes", kSize, "100M", "1MiB..64GiB", kCeph,
 "A connection takes no data while received messages of more than this many bytes wait to be done with; all "
 "connections together hold up to three times as much, of which each entity and connection has a share."},
{"ms_max_unread_messages", kUint, "16384", "64..100000000", 0,
 "A server closes the session of a peer that has not taken this many messages."},
{"ms_max_sessions_per_entity", kUint, "1024", "1..1000000", 0,
 "A server has up to this many sessions of one entity; more are refused."},
{"ms_max_handshakes", kUint, "1024", "8..1000000", 0,
 "Up to this many links that peers made are in their handshake; beyond it the oldest one of the address that has "
 "most is closed."},
{"ms_max_handshakes_per_host", kUint, "128", "1..1000000", 0,
 "Up to this many links from one address (of IPv6, one /64) are in their handshake; beyond it the oldest is closed."},
{"ms_keepalive_interval", kDuration, "5s", "10ms..1h", 0,
 "A link on which nothing has arrived for this time is sent a keepalive, which its peer has to answer."},
{"ms_keepalive_timeout", kDuration, "15s", "10ms..1h", 0,
 "A link on which nothing has arrived for this time is dead and is closed."},
{"ms_session_timeout", kDuration, "1m", "10ms..24h", 0,
 "A server keeps a session that has no link for this time."},
{"ms_busy_poll_us", kUint, "0", "0..1000", 0,
 "A server that has nothing to do looks for work for up to so many microseconds before it sleeps, and so does tgtd "
 "while a command waits for its server: less time per IO when few are under way, for more of a processor. With 0 "
 "neither does."},
{"ms_max_front_bytes", kSize, "1MiB", "1MiB..16MiB", 0,
 "A frame whose front has more bytes is refused."},
{"ms_max_data_bytes", kSize, "64MiB", "1MiB..1GiB", 0,
 "A frame whose data has more bytes is refused."},
{"ms_inject_socket_failures", kUint, "0", "", kCeph,
 "For tests, about one in this many sends and receives breaks its link; with 0 none does."},
{"ms_inject_delay_probability", kDouble, "0", "0..1", kCeph,
 "For tests, this share of the frames is delayed."},
{"ms_inject_delay_max", kDuration, "1s", "0..1m", kCeph,
 "For tests, frames that are delayed wait up to this time."},
{"ms_inject_seed", kUint, "0", "", 0,
 "For tests, injected faults follow from this seed; with 0 a random one is taken and logged."},

// -- messenger over RDMA; `lunar rdma info` shows what they choose
{"ms_async_rdma_device_name", kString, "", "", kCeph,
 "RDMA uses this device, named as ibv_devices lists it; if it is empty, the device that has the connection's local "
 "address is used, else the first that works."},
{"ms_async_rdma_port_num", kUint, "0", "0..255", kCeph,
 "RDMA uses this port of the device, counted from 1; with 0 it uses the first active port with the right address."},
{"ms_async_rdma_gid_idx", kString, "", "", kCeph,
 "RDMA uses the GID at this index of the port's table; if it is empty, the GID is chosen by local_gid, roce_ver and "
 "the local address."},
{"ms_async_rdma_local_gid", kString, "", "", kCeph,
 "RDMA uses this GID, written like an IPv6 address; if it is empty, one is chosen."},
{"ms_async_rdma_roce_ver", kChoice, "auto", "auto|0|2", kCeph,
 "The GID has to be of this RoCE version: 0 is RoCE v1, 2 is RoCE v2, and auto prefers v2.", kNoRoce15},
{"ms_async_rdma_sl", kUint, "0", "0..7", kCeph,
 "RDMA packets are sent with this service level, the priority that PFC sees."},
{"ms_async_rdma_dscp", kUint, "0", "0..63", 0,
 "RDMA packets are sent with this DSCP (Ceph takes the traffic class here, which is four times as much)."},
{"ms_async_rdma_type", kChoice, "ib", "ib", kCeph,
 "The RDMA device is of this kind: ib is InfiniBand and RoCE.", kNoIwarp},
{"ms_async_rdma_cm", kBool, "false", "", kCeph,
 "Authenticated connections are carried over to RDMA by rdma_cm, whose library keeps a soft-RoCE device from being "
 "deleted; otherwise without it."},
{"ms_async_rdma_support_srq", kBool, "true", "", kCeph,
 "The connections of a thread share their receive buffers; otherwise each connection has receive_queue_len of its "
 "own."},
{"ms_async_rdma_buffer_size", kSize, "8K", "1K..64K", kCeph,
 "Each receive or send buffer has this many bytes; longer frames travel in several."},
{"ms_async_rdma_receive_buffers", kUint, "1024", "64..1048576", kCeph,
 "The connections of one thread share this many receive buffers."},
{"ms_async_rdma_receive_queue_len", kUint, "64", "4..4096", kCeph,
 "Each connection has this many receive buffers; where they are shared, one peer is lent this many at most."},
{"ms_async_rdma_send_buffers", kUint, "256", "16..65536", kCeph,
 "Each thread has this many send buffers for bytes that are not in registered memory."},
{"ms_async_rdma_send_queue_len", kUint, "128", "32..16384", 0,
 "Each connection has up to this many work requests in flight."},
{"ms_async_rdma_enable_hugepage", kBool, "false", "", kCeph,
 "RDMA memory is taken from 2 MiB huge pages while the host has some."},
{"ms_async_rdma_polling_us", kUint, "0", "0..1000000", kCeph,
 "A messenger thread polls for completions for this many microseconds before it sleeps; with 0 it waits for events "
 "at once."},
{"ms_async_rdma_fallback", kBool, "true", "", 0,
 "A connection that RDMA cannot carry stays on TCP; otherwise it fails with the reason."},
{"ms_async_rdma_fallback_timeout", kDuration, "2s", "10ms..1m", 0,
 "A new RDMA connection that has not carried its first frame after this time has failed."},
{"ms_async_rdma_one_sided", kBool, "true", "", 0,
 "Large payloads are moved by the server, by RDMA READ and WRITE or through shared memory (async+local), where both "
 "ends have this on; otherwise they travel in frames."},
{"ms_async_rdma_rkey_scope", kChoice, "window", "window|arena", 0,
 "A peer that is given a key can reach the buffer alone, by a memory window where the device has working ones "
 "(window), or the whole chunk that the buffer lies in (arena)."},
{"ms_async_rdma_fragment_size", kSize, "512K", "4K..16MiB", 0,
 "One RDMA READ or WRITE moves up to this many bytes; longer payloads are cut into fragments."},
{"ms_async_rdma_read_depth", kUint, "16", "1..128", 0,
 "Each connection has up to this many RDMA READs in flight; the device and the peer can lower that."},
{"ms_async_rdma_staging_bytes", kSize, "256M", "4MiB..1TiB", 0,
 "Staging buffers, for payload that arrives and is stored, take up to this many bytes; they are pinned as they are "
 "needed."},
{"ms_async_rdma_front_end_bytes", kSize, "256M", "4MiB..1TiB", 0,
 "Buffers for the data of LUNs, which servers reach by RDMA or through shared memory (async+local), take up to this "
 "many bytes; for RDMA they are pinned as they are needed."},
{"ms_async_rdma_ack_timeout", kDuration, "67ms", "1ms..8s", 0,
 "An RDMA packet that is not acknowledged within this time is sent again; the time is rounded up to 4.096 us times a "
 "power of two."},
{"ms_async_rdma_drain_timeout", kDuration, "1s", "10ms..1m", 0,
 "An RDMA connection that ends waits up to this time for its QP to give its work requests back."},

// -- authentication
{"auth_client_required", kChoice, "psk", "none|psk", kCeph,
 "Clients require this proof from servers. With none, clients talk only to servers on loopback addresses or to "
 "servers that require a proof; then both sides prove their keys."},
{"auth_cluster_required", kChoice, "psk", "none|psk", kCeph,
 "Servers require this proof from each other; none is accepted on loopback addresses only."},
{"auth_service_required", kChoice, "psk", "none|psk", kCeph,
 "Servers require this proof from clients; none is accepted on loopback addresses only."},

// -- objecter
{"objecter_op_timeout", kDuration, "20s", "10ms..1h", 0,
 "An op that has no answer after this time, over all its resends, ends with an error."},
{"objecter_rkey_revoke_timeout", kDuration, "2s", "0..1m", 0,
 "An op that ends without an answer waits up to this time for its server; then the key to its memory is revoked by "
 "force, which can cost the link."},
{"objecter_inflight_ops", kUint, "1024", "1..1000000", kCeph,
 "Up to this many ops are in flight; more wait in the order in which they were submitted."},
{"objecter_inflight_op_bytes", kSize, "100M", "1MiB..64GiB", kCeph,
 "Ops of up to this many bytes are in flight; more wait in the order in which they were submitted."},

// -- images and the gateway
{"lunar_default_object_size", kSize, "4M", "4K..32MiB", 0,
 "The objects of a new image have this many bytes, a power of two."},
{"lunar_default_stripe_unit", kSize, "0", "0..32MiB", 0,
 "A new image is striped in units of this many bytes; with 0 the unit is the object size."},
{"lunar_default_stripe_count", kUint, "1", "1..256", 0,
 "A new image is striped over this many objects."},
{"lunar_client_instance", kString, "", "", 0,
 "This name tells two gateways apart that have one key and run on one host; if it is empty, it is the program's "
 "name."},
{"lunar_open_timeout", kDuration, "2s", "10ms..1m", 0,
 "Opening a cluster waits up to this time for it; a LUN is tried again after that."},
{"lunar_lun_open_wait", kDuration, "250ms", "0..1m", 0,
 "tgtadm, and tgtd with all its LUNs, waits up to this time for the image of a new LUN; one that is not open by then "
 "is NOT READY until it is."},
{"lunar_header_poll", kDuration, "30s", "10ms..1h", 0,
 "An open image looks this often whether its header has changed, should a notify have been missed."},
{"lunar_lock_timeout", kDuration, "15s", "10ms..10m", 0,
 "A gateway without a connection for this time is dead to whoever needs the lock of an image that it has: it is "
 "fenced at every server, and its lock is taken over."},
{"lunar_one_sided_threshold", kSize, "128K", "4K..1TiB", 0,
 "Extents of this many bytes and more are moved by RDMA READ or WRITE where the link can; lunar-perf-msgr client "
 "--crossover measures the best value for a device (128K is that of soft-RoCE)."},
{"lunar_tgt_version_check", kChoice, "refuse", "refuse|warn", 0,
 "The plugin refuses to work in a tgtd of another version than it was built for, or only warns of it."},
{"lunar_fast_iscsi", kBool, "true", "", 0,
 "The plugin drives tgtd's iSCSI/TCP connections, to every LUN, with fewer system calls; iSER is left alone. It "
 "stays on until tgtd ends, and needs exactly the tgt version that the plugin was built for."},
{"lunar_sense_on_timeout", kChoice, "aborted", "aborted|busy", 0,
 "An initiator is told ABORTED COMMAND (aborted) or BUSY (busy) when servers do not answer."},
{"lunar_max_unmap", kSize, "512MiB", "1MiB..1TiB", 0,
 "One UNMAP frees up to this many bytes; the limit is advertised and enforced."},
{"lunar_max_write_same", kSize, "1GiB", "1MiB..1TiB", 0,
 "One WRITE SAME writes up to this many bytes; the limit is advertised and enforced."},

// -- object server
{"osd_data", kString, "/var/lib/lunar/osd/$cluster-$id", "", kCeph,
 "A server's store is in this folder."},
{"osd_objectstore", kChoice, "file", "file|mem|rados", kCeph,
 "A server keeps objects in files (file), in memory and forgets them when it ends (mem), or in pools of a Ceph "
 "cluster (rados)."},
{"rados_conf", kString, "", "", 0,
 "A server with objects in RADOS reads this configuration of Ceph; if it is empty, the one that Ceph's own programs "
 "would read."},
{"rados_id", kString, "admin", "", 0,
 "A server with objects in RADOS is the client of this name to Ceph: for client.lunar it is lunar."},
{"osd_max_write_size", kSize, "32MiB", "1MiB..512MiB", kCeph,
 "One op writes up to this many bytes."},
{"osd_max_object_size", kSize, "128MiB", "1MiB..1TiB", kCeph,
 "An object has up to this many bytes."},
{"osd_direct_io_bytes", kSize, "0", "0..1GiB", 0,
 "Reads and writes of this many bytes and more, aligned to 4 KiB, bypass the server's page cache; with 0 none does."},
{"osd_reserve_bytes", kSize, "64MiB", "0..16GiB", 0,
 "A server holds this many bytes back, so that deletes and metadata still work on a full disk."},
{"mon_osd_nearfull_ratio", kDouble, "0.85", "0..1", kCeph,
 "'lunar status' calls a server nearfull when at least this share of its store is used."},
{"osd_client_session_timeout", kDuration, "1m", "10ms..24h", 0,
 "A server remembers a client that has no connection for this time."},
{"osd_client_watch_timeout", kDuration, "30s", "100ms..1h", kCeph,
 "A watch of an object lives while its client is connected, and for this time without a connection."},
{"osd_client_sessions_max", kUint, "8192", "16..1000000", 0,
 "A server remembers up to this many sessions of clients; the ops of more are answered BUSY."},
{"osd_client_sessions_per_entity", kUint, "2048", "1..1000000", 0,
 "A server remembers up to this many sessions of one entity; beyond it those without a connection are forgotten, the "
 "oldest first."},
{"osd_client_reply_bytes", kSize, "32M", "1MiB..64GiB", 0,
 "READs of one connection begin while their data, until it has left, is below this many bytes; all connections "
 "together have up to three times as much, of which each entity and connection has a share."},
{"osd_client_results_max", kUint, "4096", "16..1000000", 0,
 "A server remembers this many results of each client, so that a resend is answered alike; at the limit new ops "
 "wait."},
{"osd_client_message_cap", kUint, "1024", "1..1000000", kCeph,
 "A server executes up to this many ops at a time; more wait, and their clients take turns."},
{"osd_heartbeat_grace", kDuration, "6s", "10ms..1h", kCeph,
 "A server of pools in RADOS that the map authority has not heard of for this time is dead: its RADOS client is put "
 "on Ceph's blocklist, and others take its place."},
{"osd_heartbeat_interval", kDuration, "1s", "1ms..1h", kCeph,
 "A server sends the map authority a heartbeat so often; at most half of the grace."},
{"osd_session_grace", kDuration, "20s", "10ms..1h", 0,
 "A server with a store of its own that has had no session with the map authority for this time is marked down."},
{"osd_admin_entities", kString, "client.admin", "", 0,
 "These entities, separated by commas, may do everything, whatever their capabilities in the cluster map say."},
{"osd_op_history_size", kUint, "20", "0..10000", kRun|kCeph,
 "The admin command dump_historic_ops shows up to this many finished ops."},
{"osd_op_history_duration", kDuration, "10m", "1s..24h", kRun|kCeph,
 "The admin command dump_historic_ops shows ops that finished within this time."},
{"osd_op_complaint_time", kDuration, "30s", "10ms..24h", kRun|kCeph,
 "An op that takes longer than this time is logged as slow."},

// -- log
{"log_file", kString, "", "", kCeph,
 "The log is appended to this file; if it is empty, to none."},
{"log_to_stderr", kBool, "true", "", kCeph,
 "The log goes to the standard error output too."},
{"debug_lunar", kLogLevel, "0/5", "", kRun,
 "The programs themselves log up to the first level and keep lines in memory up to the second."},
{"debug_ms", kLogLevel, "0/5", "", kRun|kCeph,
 "The messenger logs up to the first level and keeps lines in memory up to the second."},
{"debug_auth", kLogLevel, "1/5", "", kRun|kCeph,
 "Authentication logs up to the first level and keeps lines in memory up to the second."},
{"debug_objecter", kLogLevel, "0/1", "", kRun|kCeph,
 "The objecter logs up to the first level and keeps lines in memory up to the second."},
{"debug_gateway", kLogLevel, "0/5", "", kRun,
 "Images log up to the first level and keep lines in memory up to the second."},
{"debug_tgt", kLogLevel, "0/5", "", kRun,
 "The plugin in tgtd logs up to the first level and keeps lines in memory up to the second."},
{"debug_osd", kLogLevel, "1/5", "", kRun|kCeph,
 "The object server logs up to the first level and keeps lines in memory up to the second."},
{"debug_store", kLogLevel, "1/5", "", kRun,
 "The object store logs up to the first level and keeps lines in memory up to the second."},
{"debug_map", kLogLevel, "1/5", "", kRun,
 "The cluster map's code logs up to the first level and keeps lines in memory up to the second."},
{"debug_tools", kLogLevel, "0/5", "", kRun,
 "The command-line tools log up to the first level and keep lines in memory up to the second."},
};
// clang-format on

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
  std::vector<std::string_view> names;
  for (const OptionSpec& option : kOptions) names.push_back(option.name);
  return nearest_word(canonical_option_name(name.substr(0, kLongestName)), names);
}

}  // namespace lunar
