// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "msgr/session/auth.h"
#include "msgr/session/handshake_messages.h"
#include "tests/msgr/session/session_fixture.h"

namespace lunar::msgr {

// A peer that sends exactly the frames that a test chooses. Loop-bound.
class RawPeer final : public LinkHandler {
 public:
  void use(std::unique_ptr<Link> link) {
    link_ = std::move(link);
    link_->set_handler(this);
  }
  void connect(NetworkStack& stack, EventCenter& center, const Address& address) {
    pending_ = stack.connect(center, address, [this](Result<std::unique_ptr<Link>> link) {
      if (link) use(std::move(*link));
    });
  }
  void send(FrameTag tag, std::vector<std::byte> front, uint64_t seq = 0, uint64_t ack_seq = 0) {
    Frame frame;
    frame.header.tag = static_cast<uint8_t>(tag);
    frame.header.seq = seq;
    frame.header.ack_seq = ack_seq;
    frame.front = std::move(front);
    link_->send(std::move(frame), {});
  }
  void send_with_data(FrameTag tag, std::vector<std::byte> front, std::string data) {
    data_ = std::move(data);
    Frame frame;
    frame.header.tag = static_cast<uint8_t>(tag);
    frame.front = std::move(front);
    frame.data.push_back(as_const_bytes(data_));
    link_->send(std::move(frame), {});
  }
  void close() {
    if (link_) link_->close({});
  }
  bool is_connected() const { return link_ != nullptr; }
  bool is_closed() const { return closed_.has_value(); }
  bool has(FrameTag tag) const { return find(tag) != nullptr; }
  const ReceivedFrame* find(FrameTag tag) const {
    for (const auto& frame : frames) {
      if (frame.header.tag == static_cast<uint8_t>(tag)) return &frame;
    }
    return nullptr;
  }
  std::optional<HandshakeError> error() const {
    const ReceivedFrame* frame = find(FrameTag::kHandshakeError);
    if (frame == nullptr) return std::nullopt;
    return *HandshakeError::decode(frame->front);
  }

  std::vector<ReceivedFrame> frames;

 private:
  Bytes payload_for(const FrameHeader&, ConstBytes) override { return {}; }
  void on_frame(ReceivedFrame frame) override { frames.push_back(std::move(frame)); }
  void on_closed(std::error_code why) override { closed_ = why; }

  std::string data_;
  std::unique_ptr<PendingConnect> pending_;
  std::unique_ptr<Link> link_;
  std::optional<std::error_code> closed_;
};

inline Hello raw_hello(std::string entity) {
  Hello hello;
  hello.entity = std::move(entity);
  hello.instance = "raw";
  hello.nonce = 1;
  return hello;
}

}  // namespace lunar::msgr
