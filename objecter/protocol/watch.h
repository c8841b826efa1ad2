// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "common/bytes.h"
#include "common/result.h"
#include "msgr/address.h"
#include "objecter/protocol/types.h"

namespace lunar::objecter {

// What WATCH, NOTIFY and LIST_WATCHERS return, and the messages beside their ops; osd_op.h has the
// ops, docs/protocol-osd.md §8 the tables. Values.

// Bounds that both ends hold. What a decoder finds above them is refused.
struct WatchLimits {
  static constexpr std::size_t kMaxPayloadBytes = 4096;     // of a notify, and of one reply to it
  static constexpr std::size_t kMaxWatchers = 4096;         // that a list names
  static constexpr std::size_t kMaxAckBytes = 1u << 20;     // replies of one notify together
  static constexpr std::size_t kMaxResultBytes = 8u << 20;  // of a list, of a notify's result
  static constexpr std::chrono::milliseconds kMaxTimeout{std::chrono::minutes(10)};
};

// Nonces are of clocks, and so below this: from here on one is damaged, or somebody has made it up,
// and no later start would ever be newer.
inline constexpr uint64_t kNoNonce = UINT64_MAX / 2;

// One start of a client, as servers tell them apart: a later start of the same instance has a
// greater nonce. The same three as in msgr::PeerIdentity, and with its bounds: common/peer_name.h.
// A value.
struct ClientIdentity {
  std::string entity;    // "client.admin"
  std::string instance;  // which gateway or program
  uint64_t nonce = 0;    // which start of it
  friend auto operator<=>(const ClientIdentity&, const ClientIdentity&) = default;
};

// Who watches: a watch is one cookie of one start of a client on one object. A value.
struct WatcherId {
  ClientIdentity client;  // whose watch it is
  uint64_t cookie = 0;    // the client's choice
  friend auto operator<=>(const WatcherId&, const WatcherId&) = default;
};

// A watch, as the server of the object has it. It is there while its client is connected, and for
// the watch timeout beyond. A value.
struct Watcher {
  WatcherId id;
  msgr::Address address;                          // where the newest link of the client led
  bool is_connected = false;                      // its client has a link to the server
  std::chrono::milliseconds disconnected_for{0};  // 0 if it is connected
};

// What a server knows of the past. Watches are in its memory: before it has served the PG for
// longer than the watch timeout, watchers of its time before, or of another server's, may still
// come back. A value.
struct WatchSettling {
  std::chrono::milliseconds timeout{0};     // osd_client_watch_timeout of the server
  std::chrono::milliseconds settles_in{0};  // 0: it is settled
  bool is_settled() const noexcept { return settles_in.count() == 0; }
};

// What LIST_WATCHERS returns. Who is not in it is dead only if it is settled. A value.
struct WatcherList {
  WatchSettling settling;         // of the server that answers
  std::vector<Watcher> watchers;  // dead ones too, until they expire
};

// One watcher's answer to a notify. A value.
struct NotifyAck {
  WatcherId who;                 // whose answer it is
  std::vector<std::byte> reply;  // empty too if the replies before it were kMaxAckBytes together
};

// What NOTIFY returns. A watcher that said UNWATCH meanwhile is in neither list. A value.
struct NotifyResult {
  WatchSettling settling;  // when the notify began: others may have been told only if it is settled
  std::vector<NotifyAck> acks;
  std::vector<WatcherId> missed;  // no ack came in time, or the watch was lost meanwhile
};

// A server tells a watcher of a notify; NOTIFY_ACK with this id and cookie answers. It may come
// again, with the same id, until it is acked.
struct WatchNotify {
  uint64_t notify_id = 0;                // of this start of the server; not 0
  ObjectId object;                       // what is watched
  uint64_t cookie = 0;                   // which watch of it
  ClientIdentity notifier;               // who tells
  std::chrono::milliseconds timeout{0};  // how long it waits for the ack
  std::vector<std::byte> payload;        // what it tells
};

// A server tells a watcher that its watch is no more, and why. kStaleMap: another server has the
// object now, and is to be asked.
struct WatchLost {
  ObjectId object;
  uint64_t cookie = 0;
  OsdErrc error = OsdErrc::kWatchLost;  // why
};

// A client asks whether the server still has it; the answer has the same stamp. All its watches
// that this server confirmed in this session live for at least the watch timeout from then on.
struct WatchPing {
  uint64_t stamp = 0;  // the client's
};

// Append to `out`.
void encode(const WatcherList& list, std::vector<std::byte>& out);
void encode(const NotifyResult& result, std::vector<std::byte>& out);
void encode(const WatchNotify& notify, std::vector<std::byte>& out);
void encode(const WatchLost& lost, std::vector<std::byte>& out);
void encode(const WatchPing& ping, std::vector<std::byte>& out);

// As in control.h: they accept exactly what the encoders make. Errors: kInvalid.
Result<WatcherList> decode_watcher_list(ConstBytes data);
Result<NotifyResult> decode_notify_result(ConstBytes data);
Result<WatchNotify> decode_watch_notify(ConstBytes front);
Result<WatchLost> decode_watch_lost(ConstBytes front);
Result<WatchPing> decode_watch_ping(ConstBytes front);

}  // namespace lunar::objecter
