// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "common/inline_function.h"
#include "msgr/address.h"
#include "msgr/event_center.h"
#include "msgr/message.h"

namespace lunar::msgr {

// Who the peer proved to be (or, without authentication, says it is).
struct PeerIdentity {
  std::string entity;    // "client.admin", "osd.0"
  std::string instance;  // host id and role; a restart of the same gateway has the same one
  uint64_t nonce = 0;    // grows with every start of an instance
  bool authenticated = false;
  Address address;         // as the link sees it
  bool one_sided = false;  // delivery descriptors: both ends want them
};

// A session with one peer, through however many links it takes.
// Loop-bound to center(). Shared; the messenger holds one reference until on_reset().
class Connection {
 public:
  virtual ~Connection() = default;

  // Queues a message, taking it. Order is kept within a priority. After close() or a reset the
  // message is destroyed later and nothing else happens: resending is the caller's business.
  virtual void send(std::unique_ptr<OutMessage> message) = 0;

  // Takes back every message with this tid that is queued or unacknowledged, and any payload that
  // is arriving for it. `done` runs once, later: from then on neither the session nor a transport
  // touches the message's data or the memory given by payload_for() for this tid. It may have
  // reached the peer all the same. A link stuck in the middle of its data is dropped for it.
  virtual void withdraw(uint64_t tid, InlineFunction<void()> done) = 0;

  // Move bytes between a slice of a stack's buffers() and memory that the peer gave a key to, on
  // the link whose generation the key names: kStaleKey if that is not the one that is up, or it
  // cannot do it; any other error is also the end of that link. `local` is borrowed until done.
  // What is sent after remote_write() arrives after it.
  virtual void remote_read(const RemoteKey& from, RegisteredSlice local, IoDone done) = 0;
  virtual void remote_write(RegisteredSlice local, const RemoteKey& to, IoDone done) = 0;
  // Takes back a key that Link::expose() gave while a message was encoded. `done` runs once, later:
  // from then on the peer cannot reach that memory. If nothing less helps, the link is dropped for
  // it. `done` may be empty if the peer said on the key's own link that it is through with it.
  virtual void revoke(const RemoteKey& key, InlineFunction<void()> done) = 0;

  // Ends the session. No callback afterwards, on_reset() neither. Unsent messages are dropped.
  virtual void close() noexcept = 0;

  virtual EventCenter& center() const noexcept = 0;    // the same for life; any thread
  virtual uint64_t id() const noexcept = 0;            // within this process, for logs and traces
  virtual const Address& target() const noexcept = 0;  // what was connected to; unset if accepted
  virtual const PeerIdentity& peer() const noexcept = 0;  // filled once on_open() ran
  virtual bool is_open() const noexcept = 0;  // a session exists; its link may be down meanwhile
  virtual bool has_link() const noexcept = 0;
  virtual uint64_t link_generation() const noexcept = 0;  // of the link that is up; 0 if none is
  virtual LinkCapabilities link_capabilities() const noexcept = 0;  // of that link
  virtual std::weak_ptr<Connection> weak() noexcept = 0;

  // Whatever the dispatcher wants to keep with the connection.
  virtual void set_context(std::shared_ptr<void> context) noexcept = 0;
  virtual const std::shared_ptr<void>& context() const noexcept = 0;
};

using ConnectionRef = std::shared_ptr<Connection>;

}  // namespace lunar::msgr
