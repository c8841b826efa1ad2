// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <optional>
#include <string>
#include <system_error>
#include <utility>

#include "common/keyring.h"
#include "common/task.h"
#include "msgr/session/auth.h"
#include "msgr/session/frame_channel.h"
#include "msgr/session/handshake_messages.h"
#include "msgr/wire_modes.h"

namespace lunar::msgr {

// The first half of a handshake, the same for every session: versions, features, who we are and
// that we are it (docs/protocol.md §3, §4). The session's own half follows on the same channel.

// Our side. The keyring is borrowed and may be null. The hello says nothing of the modes: that
// depends on the peer.
struct HandshakeParty {
  HandshakeParty(Hello own_hello, const Keyring* own_keyring, const WireModesByPeer& own_modes = {})
      : hello(std::move(own_hello)), keyring(own_keyring), modes(own_modes) {}
  Hello hello;
  const Keyring* keyring;
  WireModesByPeer modes;
};

// What the other side turned out to be.
struct Greeted {
  Greeted() = default;
  Hello peer;
  bool is_authenticated = false;
  bool is_secure = false;  // the link goes on inside TLS; implies is_authenticated
  KeyMark key;             // which a connector proved; without a text for others
};

// Why a handshake ended, for our log and, unless it was the peer or the link that ended it, for the
// peer.
struct HandshakeFailure {
  HandshakeFailure(std::error_code why, std::string text, bool is_for_peer)
      : code(why), sentence(std::move(text)), tells_peer(is_for_peer) {}
  HandshakeError for_peer() const { return {to_fault(code), sentence}; }
  std::error_code code;
  std::string sentence;
  bool tells_peer;
};

using GreetResult = tl::expected<Greeted, HandshakeFailure>;

// Borrow the channel until they end. They end when it does.
Task<GreetResult> greet_as_connector(FrameChannel& channel, HandshakeParty party);
Task<GreetResult> greet_as_acceptor(FrameChannel& channel, HandshakeParty party);

// Says in a hello which modes its sender takes of a link with `peer`, if it can be secure.
void say_modes(Hello& hello, const WireModesByPeer& modes, std::string_view peer, bool can_secure);
// Whether both take secure links, and one of them requires it or the connector prefers it.
bool is_agreed_secure(const Hello& connector, const Hello& acceptor) noexcept;
// What both make their proofs with.
ProofKey agreed_proof_key(const Hello& ours, const Hello& theirs) noexcept;
// Whether two sides can talk: none, or the sentence why not.
std::optional<std::string> find_mismatch(const Hello& ours, const Hello& theirs);

// The frame if it came and is `tag`; a failure if the link ended, the peer gave up, or it is
// another.
tl::expected<ReceivedFrame, HandshakeFailure> expect_frame(Result<ReceivedFrame> frame,
                                                           FrameTag tag);
HandshakeFailure protocol_failure(std::error_code code, std::string_view what);
// What a frame that is not the expected one means.
HandshakeFailure explain_unexpected(const ReceivedFrame& frame);

}  // namespace lunar::msgr
