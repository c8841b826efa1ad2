// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/bytes.h"
#include "common/result.h"
#include "common/task.h"
#include "msgr/net/network_stack.h"
#include "msgr/session/frame_channel.h"
#include "msgr/session/handshake.h"

namespace lunar::msgr {

// The middle of a handshake: carrying it over to a faster link, docs/protocol.md §4.1.

// Says over the new link that it belongs to this handshake.
using UpgradeToken = std::array<std::byte, 16>;
inline constexpr std::size_t kMaxUpgradeBytes = 256;  // of LinkUpgrade::prepare()

struct RdmaOffer {
  RdmaOffer() = default;
  UpgradeToken token{};  // to come back in the acceptor's probe
  std::vector<std::byte> endpoint;
  std::vector<std::byte> encode() const;
  static Result<RdmaOffer> decode(ConstBytes front);
};
struct RdmaAnswer {
  RdmaAnswer() = default;
  UpgradeToken token{};             // to come back in the connector's probe
  std::vector<std::byte> endpoint;  // empty: refused
  std::string sentence;             // why; what came from a peer is made printable by decode()
  std::vector<std::byte> encode() const;
  static Result<RdmaAnswer> decode(ConstBytes front);
};
struct RdmaProbe {
  UpgradeToken token{};
  std::vector<std::byte> encode() const;
  static Result<RdmaProbe> decode(ConstBytes front);
};

// What these need of the messenger. A class with a constructor: it goes through a coroutine.
struct UpgradeSetup {
  UpgradeSetup(EventCenter& on, NetworkStack& of, std::chrono::nanoseconds handshake,
               InlineFunction<void(std::unique_ptr<FrameChannel>)> closer)
      : center(on), stack(of), handshake_timeout(handshake), dispose(std::move(closer)) {}
  EventCenter& center;
  NetworkStack& stack;
  std::chrono::nanoseconds handshake_timeout;                   // of a new channel
  InlineFunction<void(std::unique_ptr<FrameChannel>)> dispose;  // closes one, and waits for that
};
using UpgradeFailure = std::optional<HandshakeFailure>;

// Whether this end would carry a handshake over that link over to another: it then says so in its
// Hello.
bool can_upgrade(EventCenter& center, NetworkStack& stack, const Link& link);

// Replace `channel` by one over a faster link if both sides can, and close the old one; else leave
// it as it is. Inside TLS they leave it: RDMA links cannot be secure. A failure means that the
// handshake must end: on `channel`, which is there in any case. `channel` is the caller's, whose
// frame outlives theirs; aborting it ends them.
Task<UpgradeFailure> upgrade_as_connector(UpgradeSetup setup,
                                          std::unique_ptr<FrameChannel>& channel,
                                          uint64_t peer_features, bool is_secure);
// Reads the frame that follows the greeting; if that is no offer, it is put back.
Task<UpgradeFailure> upgrade_as_acceptor(UpgradeSetup setup, std::unique_ptr<FrameChannel>& channel,
                                         uint64_t peer_features, bool is_secure);

}  // namespace lunar::msgr
