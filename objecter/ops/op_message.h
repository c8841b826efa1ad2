// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "msgr/message.h"
#include "objecter/ops/op.h"
#include "objecter/ops/op_ending.h"
#include "objecter/ops/payload_delivery.h"

namespace lunar::objecter {

// One sending of an op. Encodes from the op each time a link asks; the op outlives it.
// Loop-bound to its connection, which owns it.
class OpMessage final : public msgr::OutMessage {
 public:
  OpMessage(Op& op, PayloadDelivery& delivery, OpEnding& ending) noexcept;
  ~OpMessage() override;  // tells OpEnding: the op may be free to finish now
  void encode(msgr::Link& link, uint64_t link_generation, msgr::EncodedMessage& out) override;
  std::size_t data_bytes() const noexcept override { return op_.data_bytes; }

 private:
  Op& op_;
  PayloadDelivery& delivery_;
  OpEnding& ending_;
  const uint32_t attempt_;
};

}  // namespace lunar::objecter
