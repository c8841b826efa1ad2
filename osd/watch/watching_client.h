// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <set>
#include <utility>
#include <vector>

#include "msgr/connection.h"
#include "msgr/fair_shares.h"
#include "objecter/protocol/osd_op.h"
#include "objecter/protocol/watch.h"

namespace lunar::osd {

// How one start of a client is reached, and for how long it has not been. What it is told and has
// not read is bounded; who cannot be told is behind, until the caller has caught up with it.
// Loop-bound. Shares its connections, and the unread bytes with others.
class WatchingClient {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  // Without a connection since `now`. `number` is of no other client of this server, ever. `unread`
  // is of what all clients are told and have not read, in bytes; null: nothing is limited.
  WatchingClient(objecter::ClientIdentity id, uint64_t number, TimePoint now,
                 std::shared_ptr<msgr::FairShares> unread = nullptr)
      : id_(std::move(id)),
        number_(number),
        unread_(std::move(unread)),
        share_(unread_ == nullptr ? nullptr : unread_->open(id_.entity)),
        disconnected_(now) {}

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
  // As send(), if there is a link and room among what was not read. Else false, and it is behind.
  bool try_tell(objecter::MessageType type, std::vector<std::byte> front);

  // --- what it was not told ---

  // Something could not be told, or was missed, since the last call of catch_up().
  bool is_behind() const noexcept { return is_behind_; }
  // This watch of it was not told of something, and will not be.
  void note_missed(const objecter::ObjectId& object, uint64_t cookie) {
    missed_.emplace(object, cookie);
    is_behind_ = true;
  }
  void forget_missed(const objecter::ObjectId& object, uint64_t cookie) {
    missed_.erase({object, cookie});
  }
  // It is behind no more; gives those of note_missed().
  std::set<std::pair<objecter::ObjectId, uint64_t>> catch_up() {
    is_behind_ = false;
    return std::exchange(missed_, {});
  }

 private:
  msgr::Connection* best_connection() const;
  void update_connected(TimePoint now);

  const objecter::ClientIdentity id_;
  const uint64_t number_;
  const std::shared_ptr<msgr::FairShares> unread_;  // may be null
  const msgr::FairShares::ShareRef share_;          // null exactly if unread_ is
  std::vector<msgr::ConnectionRef> connections_;    // open ones; the newest last
  msgr::Address address_;
  TimePoint disconnected_;     // since when none of them has a link; only if not is_connected_
  bool is_connected_ = false;  // one of them has, as far as on_link() has said
  bool is_behind_ = false;
  std::set<std::pair<objecter::ObjectId, uint64_t>> missed_;  // object and cookie
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
