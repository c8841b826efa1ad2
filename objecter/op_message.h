// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "msgr/message.h"
#include "objecter/op.h"

namespace lunar::objecter {

// Told when an op's message is destroyed; it is then safe to end the op.
struct OpMessageOwner {
  virtual void on_message_destroyed(Op& op) = 0;
  // Called for each encoding: the descriptor of its payload, if that is not to be sent. It is now
  // exposed on the link.
  virtual std::optional<DeliveryDescriptor> describe_payload(Op& op, msgr::Link& link,
                                                             uint64_t link_generation) = 0;

 protected:
  ~OpMessageOwner() = default;
};

// One sending of an op. Encodes from the op each time a link asks; the op outlives it.
// Loop-bound to its connection. Owned by the connection.
class OpMessage final : public msgr::OutMessage {
 public:
  OpMessage(Op& op, OpMessageOwner& owner) noexcept;
  ~OpMessage() override;
  void encode(msgr::Link& link, uint64_t link_generation, msgr::EncodedMessage& out) override;
  std::size_t data_bytes() const noexcept override { return op_.data_bytes; }

 private:
  Op& op_;
  OpMessageOwner& owner_;
  const uint32_t attempt_;
};

}  // namespace lunar::objecter
