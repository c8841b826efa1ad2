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
  static constexpr std::size_t kMaxRanges = 16;            // at least 1
  static constexpr uint64_t kMaxBytes = 32u << 20;         // of all ranges
  static constexpr uint32_t kMinFragmentBytes = 4u << 10;  // of fragment_bytes, both
  static constexpr uint32_t kMaxFragmentBytes = 32u << 20;

  // Contiguous memory in the client's process. The payload is all of them, one after the other.
  struct Range {
    uint64_t addr = 0;    // as the client's device knows it: its virtual address
    uint32_t length = 0;  // bytes; not 0
    uint32_t rkey = 0;    // good until the client has the answer, or revokes it
    friend bool operator==(const Range&, const Range&) = default;
  };

  uint64_t link_generation = 0;  // the keys are good on this link of the session only
  uint32_t lease_ms = 0;         // from arrival: how long the server may begin to move anything
  DeliveryAccess access = DeliveryAccess::kPull;
  bool has_crc = false;         // pull: `crcs` is filled; push: the reply should carry a crc
  uint32_t fragment_bytes = 0;  // a pull is checked, and may be stored, by so much at a time
  std::vector<Range> ranges;
  std::vector<uint32_t> crcs;  // crc32c of each fragment; the last one may be shorter

  // Of the payload.
  uint64_t bytes() const noexcept {
    uint64_t sum = 0;
    for (const Range& range : ranges) sum += range.length;
    return sum;
  }
  // How many checksums a pull has, if any. REQUIRES: fragment_bytes > 0.
  uint32_t fragments() const noexcept {
    return static_cast<uint32_t>((bytes() + fragment_bytes - 1) / fragment_bytes);
  }
  friend bool operator==(const DeliveryDescriptor&, const DeliveryDescriptor&) = default;
};

// One RDMA READ or WRITE of a delivery. A value.
struct DeliveryFragment {
  msgr::RemoteKey key;  // of exactly these bytes
  uint64_t offset = 0;  // in the payload, bytes
  uint32_t length = 0;  // bytes; not 0
};
// The extent (offset, length) of the payload as fragments, in order: cut where ranges end, and so
// that none is longer than max_bytes. REQUIRES: is_valid(delivery), the extent lies in the payload,
// and max_bytes > 0.
std::vector<DeliveryFragment> cut_delivery(const DeliveryDescriptor& delivery, uint64_t offset,
                                           uint64_t length, uint32_t max_bytes);

// Whether every limit above holds, and there are as many checksums as there have to be.
bool is_valid(const DeliveryDescriptor& delivery) noexcept;
// The form inside the front of an op (docs/protocol-osd.md §2.1).
void put_delivery(ByteWriter& w, const DeliveryDescriptor& delivery);
// What is read badly makes the reader's ok() false. Not yet checked by is_valid().
DeliveryDescriptor get_delivery(ByteReader& r);

}  // namespace lunar::objecter
