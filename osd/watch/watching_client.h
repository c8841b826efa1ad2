// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <cstdint>
#include <utility>
#include <vector>

#include "msgr/connection.h"
#include "objecter/protocol/osd_op.h"
#include "objecter/protocol/watch.h"

namespace lunar::osd {

// How one start of a client is reached, and for how long it has not been.
// Loop-bound. Shares its connections.
class WatchingClient {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  // Without a connection since `now`. `number` is of no other client of this server, ever.
  WatchingClient(objecter::ClientIdentity id, uint64_t number, TimePoint now)
      : id_(std::move(id)), number_(number), disconnected_(now) {}

  const objecter::ClientIdentity& id() const noexcept { return id_; }
  uint64_t number() const noexcept { return number_; }

  // A connection that has just opened; shared until detach().
  void attach(msgr::Connection& connection);
  // The link of a connection that is attached came up or went.
  void on_link(const msgr::Connection& connection, bool is_up, TimePoint now);
  // Does nothing for one that is not attached.
  void detach(const msgr::Connection& connection, TimePoint now);

  bool has_connections() const noexcept { return !connections_.empty(); }
  // One of them has a link.
  bool is_connected() const noexcept { return is_connected_; }
  // 0 if it is connected; rounded down.
  std::chrono::milliseconds disconnected_for(TimePoint now) const;
  // It has been without a link for so long, to the nanosecond.
  bool is_away_for(std::chrono::nanoseconds time, TimePoint now) const noexcept {
    return !is_connected_ && now - disconnected_ >= time;
  }
  // Where its newest link led; unset before the first.
  const msgr::Address& address() const noexcept { return address_; }

  // Sends an encoded message on the connection that most likely gets there; drops it if there is
  // none.
  void send(objecter::MessageType type, std::vector<std::byte> front) const;

 private:
  void update_connected(TimePoint now);

  const objecter::ClientIdentity id_;
  const uint64_t number_;
  std::vector<msgr::ConnectionRef> connections_;  // open ones; the newest last
  msgr::Address address_;
  TimePoint disconnected_;     // since when none of them has a link; only if not is_connected_
  bool is_connected_ = false;  // one of them has, as far as on_link() has said
};

// A watch of an object: one cookie of one client. Ordered by who came first, and never by an
// address: the simulator repeats a run. A value; borrows the client.
struct WatchKey {
  WatchingClient* client;
  uint64_t cookie;
  friend bool operator<(const WatchKey& a, const WatchKey& b) noexcept {
    return std::pair(a.client->number(), a.cookie) < std::pair(b.client->number(), b.cookie);
  }
};

// Encodes a message of watches and sends it to this client, as its send() does.
template <typename T>
void send_encoded(const WatchingClient& to, objecter::MessageType type, const T& content) {
  std::vector<std::byte> front;
  encode(content, front);
  to.send(type, std::move(front));
}

}  // namespace lunar::osd
