// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>

#include "common/inline_function.h"
#include "msgr/address.h"
#include "msgr/event_center.h"
#include "msgr/message.h"

namespace lunar::msgr {

// Who the peer proved to be or, without authentication, says it is. A value.
struct PeerIdentity {
  std::string entity;             // "client.admin", "osd.0"
  std::string instance;           // which process of it: host and role; a restart keeps it
  uint64_t nonce = 0;             // which start of the instance; a later start has a greater one
  bool is_authenticated = false;  // it proved that it has the key of `entity`
  Address address;                // where the newest link leads, as this side sees it
  bool one_sided = false;         // both ends understand delivery descriptors
  bool has_watches = false;       // it understands WATCH and NOTIFY
  bool is_secure = false;         // the newest link is inside TLS
  bool follows_moves = false;     // it knows that PGs of a pool in RADOS move between servers
  bool reads_pool_ids = false;    // it understands a boot that names the next pool id
};

// The sending side of a connection. Loop-bound to the connection's center.
class MessageSender {
 public:
  // Queues a message, taking it. Order is kept within a priority. After close() or a reset the
  // message is destroyed later and nothing else happens: resending is the caller's business.
  virtual void send(std::unique_ptr<OutMessage> message) = 0;

  // Takes back every message with this tid that is queued or unacknowledged, and any payload that
  // is arriving for it. `done` runs once, later: from then on neither the session nor a transport
  // touches the message's data or the memory given by payload_for() for this tid. The message may
  // have reached the peer all the same. A link that is stuck in the middle of its data is dropped.
  virtual void withdraw(uint64_t tid, InlineFunction<void()> done) = 0;

  // Takes back a key that Link::expose() gave while a message was encoded. `done` runs once, later:
  // from then on the peer cannot reach that memory. If nothing less helps, the link is dropped.
  // `done` may be empty if the peer said on the key's own link that it no longer uses the key.
  virtual void revoke(const RemoteKey& key, InlineFunction<void()> done) = 0;

 protected:
  ~MessageSender() = default;
};

// The memory of a peer that gave us keys to it, over whichever link of the session is up.
// Loop-bound to the connection's center. What is posted before the connection is destroyed still
// gets its `done`.
class RemoteMemory {
 public:
  // Move local.length bytes between a slice of a stack's buffers() and the memory of a key, without
  // the peer's CPU. `local` is borrowed until `done`, which runs once, later. Errors: kStaleKey if
  // the key's link is not the one that is up, or cannot move that many bytes at once; any other
  // error also ends that link. What is sent after remote_write() arrives after it.
  virtual void remote_read(const RemoteKey& from, RegisteredSlice local, IoDone done) = 0;
  virtual void remote_write(RegisteredSlice local, const RemoteKey& to, IoDone done) = 0;

  // Of the link that is up, counted from 1 within a session; 0 if none is.
  virtual uint64_t link_generation() const noexcept = 0;
  // Of that link. `one_sided` only if the peer understands delivery descriptors, too; all zero
  // without a link.
  virtual LinkCapabilities link_capabilities() const noexcept = 0;

 protected:
  ~RemoteMemory() = default;
};

// One session after the other with one peer, each over however many links it takes: what the
// messenger gives out and Dispatchers are called with. Created by the messenger only (tests make
// their own).
// Loop-bound to center(). Shared; the messenger holds one reference until the last on_reset().
class Connection : public MessageSender,
                   public RemoteMemory,
                   public std::enable_shared_from_this<Connection> {
 public:
  virtual ~Connection() = default;
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Ends the session: nothing is received on it from here on, and messages that were not sent are
  // dropped. If on_open() was called for it, on_reset(kClosed) follows, once and later, when the
  // link is closed. May be called again, and inside a Dispatcher's callback.
  virtual void close() noexcept = 0;

  // What follows holds for the life of the connection; any thread.
  EventCenter& center() const noexcept { return center_; }
  uint64_t id() const noexcept { return id_; }                // unique in this process, never 0
  const Address& target() const noexcept { return target_; }  // unset if the peer connected to us

  // Complete from on_open() on, and kept over a reset until the next one.
  const PeerIdentity& peer() const noexcept { return peer_; }
  // A session exists; its link may be down meanwhile.
  bool is_open() const noexcept { return is_open_; }
  bool has_link() const noexcept { return link_generation() != 0; }

  // Whatever the dispatcher keeps with the connection; null until it sets something. The messenger
  // does not look at it, and drops it with the connection.
  void set_context(std::shared_ptr<void> context) noexcept { context_ = std::move(context); }
  const std::shared_ptr<void>& context() const noexcept { return context_; }

 protected:
  // `target` is where to connect to; unset for a connection that only the peer makes.
  Connection(EventCenter& center, const Address& target) noexcept;
  void set_peer(PeerIdentity peer) noexcept { peer_ = std::move(peer); }
  void set_open(bool is_open) noexcept { is_open_ = is_open; }

 private:
  EventCenter& center_;
  const uint64_t id_;
  const Address target_;
  PeerIdentity peer_;
  bool is_open_ = false;
  std::shared_ptr<void> context_;
};

using ConnectionRef = std::shared_ptr<Connection>;

}  // namespace lunar::msgr
