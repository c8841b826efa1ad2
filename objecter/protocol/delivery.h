// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <vector>

#include "common/bytes.h"
#include "msgr/buffer.h"

namespace lunar::objecter {

// Who moves the payload, and which way.
enum class DeliveryAccess : uint8_t {
  kPull = 1,  // the server READs what is to be written
  kPush = 2,  // the server WRITEs what was read, and then replies
};

// Where a client's payload lies, for the server to move it by RDMA READ or WRITE. Advisory: a
// server that cannot, or is too late, says kRetryInline to a pull and sends the data of a push.
// docs/protocol-osd.md §2.1. A value.
struct DeliveryDescriptor {
  static constexpr std::size_t kMaxRanges = 16;
  static constexpr uint64_t kMaxBytes = 32u << 20;
  static constexpr uint32_t kMinFragmentBytes = 4u << 10;
  static constexpr uint32_t kMaxFragmentBytes = 32u << 20;

  // Contiguous memory in the client's process. The payload is all of them, one after the other.
  struct Range {
    uint64_t addr = 0;
    uint32_t length = 0;
    uint32_t rkey = 0;
    friend bool operator==(const Range&, const Range&) = default;
  };

  uint64_t link_generation = 0;  // the keys are good on this link of the session only
  uint32_t lease_ms = 0;         // from arrival: how long the server may begin to move anything
  DeliveryAccess access = DeliveryAccess::kPull;
  bool has_crc = false;         // pull: `crcs` is filled; push: the reply should carry a crc
  uint32_t fragment_bytes = 0;  // a pull is checked, and may be stored, by so much at a time
  std::vector<Range> ranges;
  std::vector<uint32_t> crcs;  // crc32c of each fragment; the last one may be shorter

  uint64_t bytes() const noexcept {
    uint64_t sum = 0;
    for (const Range& range : ranges) sum += range.length;
    return sum;
  }
  uint32_t fragments() const noexcept {
    return static_cast<uint32_t>((bytes() + fragment_bytes - 1) / fragment_bytes);
  }
  friend bool operator==(const DeliveryDescriptor&, const DeliveryDescriptor&) = default;
};

// One READ or WRITE: `key` for `length` bytes at `offset` of the payload.
struct DeliveryPiece {
  msgr::RemoteKey key;
  uint64_t offset = 0;
  uint32_t length = 0;
};
// Cuts part of the payload where ranges end and at max_bytes. REQUIRES: is_valid(delivery), and the
// part lies in it.
std::vector<DeliveryPiece> cut_delivery(const DeliveryDescriptor& delivery, uint64_t offset,
                                        uint64_t length, uint32_t max_bytes);

bool is_valid(const DeliveryDescriptor& delivery) noexcept;
void put_delivery(ByteWriter& w, const DeliveryDescriptor& delivery);
// What is read badly makes the reader's ok() false. Not yet checked by is_valid().
DeliveryDescriptor get_delivery(ByteReader& r);

}  // namespace lunar::objecter
