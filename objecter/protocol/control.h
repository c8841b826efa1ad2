// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/bytes.h"
#include "common/result.h"
#include "common/uuid.h"
#include "msgr/address.h"
#include "objecter/protocol/types.h"

namespace lunar::objecter {

// Fronts of the messages beside ops and maps; osd_op.h numbers them, docs/protocol-osd.md has the
// tables. Values; immutable in meaning.

// The server's first message on every session, from its on_open(). A client sends nothing but
// kMapSubscribe before it, and decides by it what may be resent.
struct ServerHello {
  Uuid fsid;
  OsdId osd = -1;
  uint64_t incarnation = 0;  // random, new at every start of the server process; never 0
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
struct CancelNote {
  Tid tid = 0;
};

// An OSD tells the authority that it is up. Repeated on every new session with the authority.
struct OsdBoot {
  OsdId osd = -1;
  Uuid fsid;
  Uuid store;
  uint64_t incarnation = 0;              // as in ServerHello
  Epoch epoch = 0;                       // its newest map
  std::vector<msgr::Address> addresses;  // 1 … OsdInfo::kMaxAddresses, with ports
};

struct OsdBootReply {
  OsdErrc error = OsdErrc::kOk;
  Epoch epoch = 0;      // the first map in which it is up; 0 with an error
  std::string message;  // a sentence, with an error
};

struct CommandReply {
  static constexpr std::size_t kMaxTextBytes = 768u << 10;
  OsdErrc error = OsdErrc::kOk;
  Epoch epoch = 0;   // a map that shows what the command did; the client waits for it
  std::string text;  // the answer, JSON; with an error a sentence
};

void encode(const ServerHello& hello, std::vector<std::byte>& out);
void encode(const MapSubscribe& subscribe, std::vector<std::byte>& out);
void encode(const CancelNote& note, std::vector<std::byte>& out);
void encode(const OsdBoot& boot, std::vector<std::byte>& out);
void encode(const OsdBootReply& reply, std::vector<std::byte>& out);
void encode(const CommandReply& reply, std::vector<std::byte>& out);

// Errors: kInvalid. Nothing may be left over.
Result<ServerHello> decode_server_hello(ConstBytes front);
Result<MapSubscribe> decode_map_subscribe(ConstBytes front);
Result<CancelNote> decode_cancel_note(ConstBytes front);
Result<OsdBoot> decode_osd_boot(ConstBytes front);
Result<OsdBootReply> decode_osd_boot_reply(ConstBytes front);
Result<CommandReply> decode_command_reply(ConstBytes front);

}  // namespace lunar::objecter
