// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>
#include <cstdint>

#include "msgr/connection.h"
#include "msgr/messenger.h"
#include "msgr/session/handshake.h"
#include "msgr/session/handshake_messages.h"
#include "msgr/session/send_queue.h"

namespace lunar::msgr {

// What becomes of a request to begin or to continue a session.
enum class RequestVerdict : uint8_t {
  kWelcome,   // the link becomes the session's
  kUnknown,   // there is no such session for this peer
  kStale,     // a link older than one that the session has had
  kLostRace,  // this side's own connect goes on
};

// The numbered exchange of a session, over whichever link it has: which session it is (two
// cookies), which of its links is the newest (the generation), what was received, and what was sent
// and is not acknowledged. Builds, answers and judges the session frames of a handshake. Does no
// I/O. Loop-bound. Owns the messages.
class SessionExchange {
 public:
  // A session exists: between begin() and reset().
  bool exists() const noexcept { return exists_; }
  bool is_lossy() const noexcept { return is_lossy_; }
  uint64_t generation() const noexcept { return generation_; }
  const Cookie& peer_cookie() const noexcept { return peer_cookie_; }
  bool has_cookies(const Cookie& own, const Cookie& peers) const noexcept {
    return own_cookie_ == own && peer_cookie_ == peers;
  }
  // Messages received in order and messages acknowledged, of this session: grows while its links
  // bring anything over.
  uint64_t progress() const noexcept { return in_seq_ + queue_.acked(); }

  SendQueue& queue() noexcept { return queue_; }
  const SendQueue& queue() const noexcept { return queue_; }
  // The highest sequence number received in order; the link that is up counts it.
  uint64_t& in_seq() noexcept { return in_seq_; }

  // --- this side connects ---
  // Asks for a new session, or for the one that exists.
  SessionRequest make_request(Policy policy) const;
  // Whether `ready` can be an answer to that.
  bool accepts(const SessionReady& ready) const noexcept;
  // The peer has had a newer link than this side knew of.
  void raise_generation(uint64_t generation) noexcept;

  // --- the peer connects ---
  // `known` is who the peer of the session is, `from` who asks. Never kLostRace.
  RequestVerdict judge(const SessionRequest& request, const Greeted& from,
                       const PeerIdentity& known) const;
  // Whether the peer began a session without knowing of this one: it has started anew.
  bool is_superseded_by(const SessionRequest& request) const noexcept;
  // Whether the messages that the peer lacks are still here. A link may bring acknowledgements
  // between judge() and this.
  bool can_continue_with(const SessionRequest& request) const noexcept;
  SessionReady make_ready(const SessionRequest& request, Policy policy) const;

  // A link is up, by what `ready` says; what the peer has, up to `peer_in_seq`, is acknowledged,
  // and the rest is sent again. Returns how many messages that are. REQUIRES: the old link is
  // closed.
  std::size_t begin(const SessionReady& ready, const Cookie& peer_cookie, uint64_t peer_in_seq,
                    Policy policy);
  // The session is lost, with every message. REQUIRES: its link is closed.
  void reset();

 private:
  bool exists_ = false;
  bool is_lossy_ = false;                 // of the newest link
  Cookie own_cookie_ = Cookie::random();  // new with each reset()
  Cookie peer_cookie_;                    // zero unless exists_
  uint64_t generation_ = 0;  // of the newest link; a reset() keeps it, so that old links stay stale
  uint64_t in_seq_ = 0;      // 0 unless exists_
  SendQueue queue_;
};

}  // namespace lunar::msgr
