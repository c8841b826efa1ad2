// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/bytes.h"
#include "common/json.h"
#include "common/result.h"
#include "common/uuid.h"
#include "msgr/address.h"
#include "objecter/protocol/osd_map.h"
#include "objecter/protocol/types.h"

namespace lunar::objecter {

// Fronts of the messages beside ops and maps; osd_op.h numbers them, docs/protocol-osd.md has the
// tables, with the bytes of each field in the order in which they are declared here. Values.

// The server's first message on every session, from its on_open(). A client sends nothing but
// kMapSubscribe before it, and decides by it what may be resent.
struct ServerHello {
  Uuid fsid;                 // of its cluster; nil while it knows none
  OsdId osd = -1;            // who it is; not negative on the wire
  Uuid store;                // the identity of its store
  uint64_t incarnation = 0;  // of this start of that store: greater than all before; never 0
  uint64_t verifier = 0;     // as in replies
  Epoch epoch = 0;           // of its newest map
  // Results of this client instance's ops are still remembered, by tid: a resend is answered from
  // them. False for a client it does not know (any more).
  bool remembers_client = false;
};

// Asks for the newest map and every newer one from then on. As kMapCurrent: "you have it".
struct MapSubscribe {
  Epoch epoch = 0;  // the newest the sender has; 0 is none
};

// Both ways: about the op with this tid of the session's client. Not in meta.tid, so that
// withdrawing the op leaves the cancel alone.
// As kCancel, from the client: give the op up, if it does not execute yet. As kCancelled, from the
// server: the op is not executing and will not. If it was executed its reply comes first.
struct CancelNote {
  Tid tid = 0;  // not 0 on the wire
  // Only the sendings up to this one are given up, as the op goes to another server, and may come
  // back. 0: all of them. Only for a server that follows moves, which answers with the same.
  uint32_t attempt = 0;
};

// An OSD tells the authority that it is up. Repeated on every new session with the authority.
struct OsdBoot {
  static constexpr std::size_t kMaxPrevious = 64;
  OsdId osd = -1;                        // whom it is going to be
  Uuid fsid;                             // of the cluster that its store belongs to
  Uuid store;                            // the identity of that store, for good
  uint64_t incarnation = 0;              // as in ServerHello
  std::vector<uint64_t> previous;        // starts before it that the map may show; in order
  Epoch epoch = 0;                       // its newest map
  std::vector<msgr::Address> addresses;  // 1 … OsdInfo::kMaxAddresses, with ports
  // Of its store; not on the wire to an authority that does not follow moves (PeerIdentity).
  std::optional<StoreKind> kind = {};
  std::string rados_client = {};  // as in OsdInfo; not empty exactly with kRados
  // As in OsdMap, as far as it knows; 0: it has no map. On the wire only with a kind, and not to an
  // authority that does not read it (PeerIdentity).
  PoolId next_pool_id = 0;
};

// The authority's answer, later: when a map in which the OSD is up is durable. kStaleMap: it is not
// the authority. kBusy, kIoError, kNoSpace, kShutdown: try again. All others are for good.
struct OsdBootReply {
  static constexpr std::size_t kMaxMessageBytes = 4096;
  OsdErrc error = OsdErrc::kOk;
  Epoch epoch = 0;      // the first map in which it is up; 0 with an error
  std::string message;  // a sentence, with an error
};

// The text of a command or of its answer. In the front if it is short, else in the message's data.
inline constexpr std::size_t kMaxCommandText = 16u << 20;

// The answer to a command. Nobody remembers it: a command whose session was reset may have been
// executed.
struct CommandReply {
  static constexpr std::size_t kMaxTextBytes = 768u << 10;  // in the front
  OsdErrc error = OsdErrc::kOk;  // its number on the wire is that of OsdErrc
  Epoch epoch = 0;               // a map that shows what the command did; the client waits for it
  std::string text;              // the answer, JSON; with an error a sentence
};

// What a command and its answer may be as JSON: the map, all of it, is the largest of them.
inline constexpr JsonBounds kAnswerBounds{kMaxCommandText};

// Whether the server that said hello is the one that the map means: this OSD, on this store, in
// this start. Ops must go to no other.
bool is_meant(const OsdInfo& osd, const ServerHello& hello) noexcept;

// Append to `out`. A text that is too long is cut: that of a command's reply is then to be sent as
// data, and the reply encoded without it.
void encode(const ServerHello& hello, std::vector<std::byte>& out);
void encode(const MapSubscribe& subscribe, std::vector<std::byte>& out);
void encode(const CancelNote& note, std::vector<std::byte>& out);
void encode(const OsdBoot& boot, std::vector<std::byte>& out);
void encode(const OsdBootReply& reply, std::vector<std::byte>& out);
void encode(const CommandReply& reply, std::vector<std::byte>& out);

// Accept exactly what the encoders make: every count, length, flag and enumerator is checked, and
// nothing may be left over. The input is a peer's, and may be anything. Errors: kInvalid.
Result<ServerHello> decode_server_hello(ConstBytes front);
Result<MapSubscribe> decode_map_subscribe(ConstBytes front);
Result<CancelNote> decode_cancel_note(ConstBytes front);
Result<OsdBoot> decode_osd_boot(ConstBytes front);
Result<OsdBootReply> decode_osd_boot_reply(ConstBytes front);
// With `data`, of a long text, the front has none. Longer than kMaxCommandText is an error, too.
Result<CommandReply> decode_command_reply(ConstBytes front, ConstBytes data = {});
// The text of a command, which is the front or else the data. Shown until one of them ends.
Result<std::string_view> decode_command(ConstBytes front, ConstBytes data);

}  // namespace lunar::objecter
