// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>

#include "msgr/message.h"

namespace lunar::objecter {

// How the payload of an op travels.
enum class Delivery : uint8_t {
  kInline,    // in the frames of the op or of its reply
  kOneSided,  // by RDMA READ or WRITE of the server
};

// Why an op's payload travels the way it does. kEligible is the only reason for kOneSided; every
// other one is a reason for kInline.
enum class DeliveryReason : uint8_t {
  kEligible,
  kBelowThreshold,  // smaller than lunar_one_sided_threshold
  kNotRegistered,   // no device knows the memory
  kForeignMemory,   // registered, but not with the device of this link
  kPeerLacks = 5,   // the server does not do one-sided delivery; 4 is a number of traces only
  kResend,          // any sending but the first carries the data
  kLinkLacks,       // the link cannot, as TCP cannot
  kOpKind,          // only a plain READ or WRITE can
  kNoKey,           // no memory window was free
  kRetryInline,     // the server asked for the data
  kDamaged,         // the checksum of what was pushed was wrong
};

// What a caller proposes for the payload of an op. The Objecter decides when the op is encoded for
// a link, which may know better: OpReply::delivery_reason. A value; borrows the slice's buffer.
struct DeliveryProposal {
  Delivery delivery = Delivery::kInline;
  DeliveryReason reason = DeliveryReason::kOpKind;
  // With kOneSided: all of ObjectOp::data, or of read_into, as memory of
  // NetworkStack::front_end_buffers(). The buffer is borrowed until the op is done.
  msgr::RegisteredSlice slice;
  uint32_t fragment_bytes = 0;  // of one READ or WRITE; 0: as much as the link moves at once
};

}  // namespace lunar::objecter
