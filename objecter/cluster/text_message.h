// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "msgr/fair_shares.h"
#include "msgr/message.h"
#include "objecter/protocol/osd_op.h"

namespace lunar::objecter {

// A command, or the reply to one, whose text is too long for a front (CommandReply::kMaxTextBytes):
// it is the message's data, docs/protocol-osd.md §1. Both ends take up to kMaxCommandText of it.
//
// The text is memory of its own, which no pool has: it is copied where a transport wants registered
// memory. A server counts it, and the front, as data of a reply until the message is gone. The peer
// receives it like any data: it waits, unlike a command without data, for the peer's share of the
// dispatch throttle.
// Loop-bound. Owned by the connection, as every OutMessage. Immutable, so it may be encoded for any
// number of links; a reconnect sends it again, unlike the command itself, which is sent once only
// in the life of a session (ServerCommands).
class TextMessage final : public msgr::OutMessage {
 public:
  // `front` is that of the message type without its text: empty for a command, and for a reply what
  // encode() makes of it. `tid` is the command's. The text may be empty if the front has it.
  TextMessage(MessageType type, Tid tid, std::vector<std::byte> front, std::string text,
              msgr::FairShares::Held share = {})
      : OutMessage(meta_of(type, tid)),
        front_(std::move(front)),
        text_(std::move(text)),
        share_(std::move(share)) {}
  // Gives the share back, as all of it, when the connection is done with the message: it was read
  // and acknowledged, or the session has ended.
  // The same for every link; the text is lent, and stays where it is until the message is
  // destroyed.
  void encode(msgr::Link&, uint64_t, msgr::EncodedMessage& out) override {
    out.front = front_;
    if (!text_.empty()) out.data.push_back(as_const_bytes(text_));
  }
  std::size_t data_bytes() const noexcept override { return text_.size(); }

 private:
  // Of the default priority, like all commands, and of no IO.
  static msgr::MessageMeta meta_of(MessageType type, Tid tid) noexcept {
    msgr::MessageMeta meta;
    meta.type = static_cast<uint16_t>(type);
    meta.tid = tid;
    return meta;
  }

  const std::vector<std::byte> front_;  // copied for each link
  const std::string text_;
  const msgr::FairShares::Held share_;  // of a server's memory for replies; nothing at a client
};

}  // namespace lunar::objecter
