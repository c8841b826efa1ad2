// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/session/keepalive_exchange.h"

#include <utility>

namespace lunar::msgr {

std::optional<Keepalive> KeepaliveExchange::next(uint64_t now) noexcept {
  if (std::exchange(is_on_link_, true)) return std::nullopt;
  return Keepalive{now};
}

void KeepaliveExchange::on_keepalive(const Keepalive& keepalive, uint64_t now) noexcept {
  peer_sent_ = keepalive.sent;
  received_ = now;
  is_ack_owed_ = true;
}

std::optional<KeepaliveAck> KeepaliveExchange::next_ack(uint64_t now) noexcept {
  if (!is_ack_owed_ || is_ack_on_link_) return std::nullopt;
  is_ack_owed_ = false;
  is_ack_on_link_ = true;
  return KeepaliveAck{peer_sent_, received_, now};
}

std::optional<KeepaliveExchange::Measurement> KeepaliveExchange::measure(const KeepaliveAck& ack,
                                                                         uint64_t now) noexcept {
  // Unsigned, so that nothing overflows whatever the peer wrote.
  const uint64_t round_trip = (now - ack.sent) - (ack.answered - ack.received);
  const uint64_t twice_offset = (ack.received - ack.sent) + (ack.answered - now);
  constexpr std::chrono::nanoseconds kLongest = std::chrono::hours(1);
  if (round_trip > static_cast<uint64_t>(kLongest.count())) return std::nullopt;
  return Measurement{std::chrono::nanoseconds(static_cast<int64_t>(round_trip)),
                     static_cast<int64_t>(twice_offset) / 2};
}

}  // namespace lunar::msgr
