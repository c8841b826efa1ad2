// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "objecter/protocol/osd_op.h"
#include "objecter/protocol/watch.h"
#include "tests/support/inert_connection.h"

namespace lunar::osd {

// What an OutMessage is encoded for, when its encoding depends on no link.
class InertLink final : public msgr::Link {
 public:
  void set_handler(msgr::LinkHandler*) override {}
  const msgr::LinkCapabilities& capabilities() const noexcept override { return capabilities_; }
  msgr::Address local_address() const override { return {}; }
  msgr::Address peer_address() const override { return {}; }
  void send(msgr::Frame, msgr::IoDone) override {}
  std::size_t queued_bytes() const noexcept override { return 0; }
  void pause_reading() override {}
  void resume_reading() override {}
  void abandon_payload(uint64_t) override {}
  void remote_read(msgr::RemoteKey, msgr::RegisteredSlice, msgr::IoDone) override {}
  void remote_write(msgr::RegisteredSlice, msgr::RemoteKey, msgr::IoDone) override {}
  void close(InlineFunction<void()>) override {}

 private:
  const msgr::LinkCapabilities capabilities_;
};

// A connection of one start of a client, which keeps what is sent on it.
class RecordingConnection final : public test::InertConnection {
 public:
  RecordingConnection(msgr::EventCenter& center, const objecter::ClientIdentity& client,
                      const msgr::Address& address = {}, bool follows_moves = false)
      : InertConnection(center) {
    msgr::PeerIdentity peer;
    peer.entity = client.entity;
    peer.instance = client.instance;
    peer.nonce = client.nonce;
    peer.address = address;
    peer.follows_moves = follows_moves;
    set_peer(peer);
  }

  void send(std::unique_ptr<msgr::OutMessage> message) override {
    if (!is_reading) return unread.push_back(std::move(message));
    InertLink link;
    msgr::EncodedMessage encoded;
    message->encode(link, 1, encoded);
    sent.emplace_back(static_cast<objecter::MessageType>(message->meta().type),
                      std::move(encoded.front));
  }
  uint64_t link_generation() const noexcept override { return is_linked ? 1 : 0; }

  // The messages of this type, by the function that decodes their fronts.
  template <typename Decode>
  auto messages(objecter::MessageType type, Decode decode) const {
    std::vector<std::decay_t<decltype(*decode(ConstBytes()))>> decoded;
    for (const auto& [of, front] : sent) {
      if (of != type) continue;
      auto message = decode(front);
      EXPECT_TRUE(message);
      if (message) decoded.push_back(std::move(*message));
    }
    return decoded;
  }
  std::vector<objecter::WatchNotify> notifies() const {
    return messages(objecter::MessageType::kWatchNotify, objecter::decode_watch_notify);
  }
  std::vector<objecter::WatchLost> losses() const {
    return messages(objecter::MessageType::kWatchLost, objecter::decode_watch_lost);
  }
  std::vector<objecter::WatchPing> pongs() const {
    return messages(objecter::MessageType::kWatchPong, objecter::decode_watch_ping);
  }

  bool is_linked = true;
  bool is_reading = true;  // else what is sent stays in `unread`
  std::vector<std::unique_ptr<msgr::OutMessage>> unread;
  std::vector<std::pair<objecter::MessageType, std::vector<std::byte>>> sent;
};

}  // namespace lunar::osd
