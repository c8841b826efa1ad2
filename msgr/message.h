// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "common/bytes.h"
#include "common/inline_function.h"
#include "msgr/buffer.h"
#include "msgr/net/link.h"

// What is given to a Connection to be sent, and what a Dispatcher receives. A message travels as
// one frame (docs/protocol.md): its meta in the header, its front, its data.

namespace lunar::msgr {

// What goes first among the messages that wait for a link; within one priority order is kept.
// Values as on the wire, where any from 0 to 255 may come. What was given to a link is not
// overtaken.
enum class Priority : uint8_t { kLow = 64, kDefault = 127, kHigh = 196, kHighest = 255 };

// What every message carries besides its contents; all of it is on the wire. A value.
struct MessageMeta {
  uint16_t type = 0;  // the layers above number their own (objecter/protocol); 0 is none
  Priority priority = Priority::kDefault;
  uint64_t tid = 0;       // of the op it belongs to, 0 if none
  uint64_t trace_id = 0;  // io_id of the IO it serves, 0 if none
};

// The body of a message on one particular link. Both are bounded by MessengerOptions::limits, and a
// message above them is a broken invariant of the sender's.
struct EncodedMessage {
  std::vector<std::byte> front;  // structured fields; owned
  ConstBuffers data;             // payload, in order; borrowed from the message
};

// A message to send. The session keeps it until the peer has acknowledged it and encodes it anew
// on each link it has to be sent on: an encoding is never replayed on another link, because the
// keys in it would not be good there. Loop-bound to its connection. Owned by the connection from
// send() on; destroyed on the loop, when it is acknowledged, withdrawn, or lost with its session,
// but never inside the call that does it.
class OutMessage {
 public:
  // The meta stays the same for the life of the message.
  explicit OutMessage(MessageMeta meta) noexcept : meta_(meta) {}
  virtual ~OutMessage() = default;
  const MessageMeta& meta() const noexcept { return meta_; }
  // Fills `out`, which is empty. Called once for each link the message is sent on, from the loop;
  // must not send, close or withdraw. `link_generation` is what a RemoteKey of this link carries.
  // `link` is the one it is about to be sent on: what it exposes there, the frame may name. The
  // data it points to must stay valid and unchanged until this message is destroyed.
  virtual void encode(Link& link, uint64_t link_generation, EncodedMessage& out) = 0;
  // No link reads the message now, and it may be long until one does: a link has sent it and the
  // peer has to acknowledge it, or the session has no link. What can be had again otherwise, and
  // costs memory, may be let go of; encode() may be called afterwards. Must not send, close or
  // withdraw. Not called in a lossy session.
  virtual void release_payload() noexcept {}
  // Bytes of data that encode() would give at most, for throttles; an estimate will do.
  virtual std::size_t data_bytes() const noexcept { return 0; }

 private:
  const MessageMeta meta_;
};

// The common case: a front that does not depend on the link, and data that is owned. The front is
// copied for each link; the data is not.
class SimpleMessage final : public OutMessage {
 public:
  // Without data.
  SimpleMessage(MessageMeta meta, std::vector<std::byte> front) noexcept
      : OutMessage(meta), front_(std::move(front)) {}
  // `data` may be empty; it goes back to its pool when the message is destroyed.
  SimpleMessage(MessageMeta meta, std::vector<std::byte> front, RegisteredBuffer data) noexcept
      : OutMessage(meta), front_(std::move(front)), data_(std::move(data)) {}
  void encode(Link&, uint64_t, EncodedMessage& out) override {
    out.front = front_;
    if (!data_.bytes().empty()) out.data.push_back(data_.bytes());
  }
  std::size_t data_bytes() const noexcept override { return data_.bytes().size(); }

 private:
  std::vector<std::byte> front_;
  RegisteredBuffer data_;
};

// A message that arrived. Owned by whoever was given it; moves, never copies. Holds its share of
// the dispatch throttle until it is destroyed, which must happen on the connection's loop: while
// ms_dispatch_throttle_bytes are held, no connection of the messenger takes data. It may outlive
// connection and messenger.
struct InMessage {
  MessageMeta meta;
  std::vector<std::byte> front;  // checked by crc32c; its contents are the receiver's to check
  Bytes data;                    // in `buffer`, or where Dispatcher::payload_for() said
  RegisteredBuffer buffer;       // empty if there was no data or the dispatcher placed it
  uint64_t link_generation = 0;  // of the link that brought it
  InlineFunction<void()> release_throttle;  // run once, by the destructor; empty: nothing is held

  // Nothing is held.
  InMessage() = default;
  InMessage(InMessage&&) noexcept = default;
  // What this one held is released first.
  InMessage& operator=(InMessage&& other) noexcept {
    if (this != &other) {
      this->~InMessage();
      new (this) InMessage(std::move(other));
    }
    return *this;
  }
  ~InMessage() {
    if (release_throttle) release_throttle();
  }
};

}  // namespace lunar::msgr
