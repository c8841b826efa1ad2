// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>

#include "msgr/session/handshake_messages.h"

namespace lunar::msgr {

// The keepalives of one link: which of ours is on its way, which of the peer's is to be answered,
// and what an answer tells. Each kind is sent one at a time, or a peer that does not read would
// make us queue them without end. Times are nanoseconds since the Unix epoch.
// Does no I/O. Loop-bound.
class KeepaliveExchange {
 public:
  struct Measurement {
    std::chrono::nanoseconds round_trip;  // without the time that the peer took to answer
    int64_t clock_offset_ns;              // the peer's clock less ours
  };

  // The keepalive to send now; none while the last one waits in the link.
  std::optional<Keepalive> next(uint64_t now) noexcept;
  void on_sent() noexcept { is_on_link_ = false; }

  // The peer's keepalive arrived: it is to be answered. Only the newest one is.
  void on_keepalive(const Keepalive& keepalive, uint64_t now) noexcept;
  // The answer to send now; none while the last one waits in the link, or nothing is to be
  // answered.
  std::optional<KeepaliveAck> next_ack(uint64_t now) noexcept;
  void on_ack_sent() noexcept { is_ack_on_link_ = false; }

  // None if a clock jumped meanwhile. The peer may have put anything into `ack`.
  static std::optional<Measurement> measure(const KeepaliveAck& ack, uint64_t now) noexcept;

 private:
  bool is_on_link_ = false;
  bool is_ack_on_link_ = false;
  bool is_ack_owed_ = false;
  uint64_t peer_sent_ = 0;  // of the keepalive to answer
  uint64_t received_ = 0;   // when that arrived
};

}  // namespace lunar::msgr
