// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "common/bytes.h"
#include "common/inline_function.h"
#include "msgr/buffer.h"
#include "msgr/net/link.h"

namespace lunar::msgr {

enum class Priority : uint8_t { kLow = 64, kDefault = 127, kHigh = 196, kHighest = 255 };

// What every message carries besides its contents.
struct MessageMeta {
  uint16_t type = 0;  // the layers above number their own; 0 is none
  Priority priority = Priority::kDefault;
  uint64_t tid = 0;       // of the op it belongs to, 0 if none
  uint64_t trace_id = 0;  // io_id of the IO it serves, 0 if none
};

// The body of a message on one particular link: `front` is owned, `data` borrowed from the message.
struct EncodedMessage {
  std::vector<std::byte> front;
  ConstBuffers data;
};

// A message to send. The session keeps it until the peer has acknowledged it and encodes it anew
// on each link it has to be sent on: an encoding is never replayed on another link.
// Loop-bound to its connection. Owned by the connection from send() on.
class OutMessage {
 public:
  explicit OutMessage(MessageMeta meta) noexcept : meta_(meta) {}
  virtual ~OutMessage() = default;
  const MessageMeta& meta() const noexcept { return meta_; }
  // `link` is the one it is about to be sent on: what it exposes there, the frame may name. The
  // data it points to must stay valid and unchanged until this message is destroyed.
  virtual void encode(Link& link, uint64_t link_generation, EncodedMessage& out) = 0;
  // Bytes of data, for throttles; an estimate will do.
  virtual std::size_t data_bytes() const noexcept { return 0; }

 private:
  const MessageMeta meta_;
};

// The common case: a front that does not depend on the link, and data that is owned.
class SimpleMessage final : public OutMessage {
 public:
  SimpleMessage(MessageMeta meta, std::vector<std::byte> front) noexcept
      : OutMessage(meta), front_(std::move(front)) {}
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

// A message that arrived. Holds its share of the dispatch throttle until it is destroyed, which
// must happen on the connection's loop: while too much is held, its connections are not read.
struct InMessage {
  MessageMeta meta;
  std::vector<std::byte> front;
  Bytes data;                    // in `buffer`, or where Dispatcher::payload_for() said
  RegisteredBuffer buffer;       // empty if there was no data or the dispatcher placed it
  uint64_t link_generation = 0;  // of the link that brought it
  InlineFunction<void()> release_throttle;  // run by the destructor

  InMessage() = default;
  InMessage(InMessage&&) noexcept = default;
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
