// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>

namespace lunar::msgr::rdma {

enum class WrKind : uint8_t { kReceive = 1, kSend = 2, kBeacon = 3 };

// Names a link within its worker. A slot is used again; its generation then differs.
struct LinkSlot {
  static constexpr uint32_t kMaxIndex = (1u << 16) - 1;
  static constexpr uint32_t kGenerations = 1u << 12;
  uint32_t index = 0;
  uint32_t generation = 0;
  friend bool operator==(const LinkSlot&, const LinkSlot&) = default;
};

// What a completion is about: never an address, so that a stale or damaged one does no harm.
// Bits from the top: 4 kind, 16 slot, 12 generation, 32 detail.
class WrId {
 public:
  // Detail: the index of the receive buffer.
  static constexpr WrId receive(uint32_t buffer) noexcept {
    return WrId(WrKind::kReceive, {}, buffer);
  }
  // Detail: the sequence number of the work request on its QP.
  static constexpr WrId send(LinkSlot link, uint32_t seq) noexcept {
    return WrId(WrKind::kSend, link, seq);
  }
  // Posted last on a QP in error: with its completion everything before it is over.
  static constexpr WrId beacon(LinkSlot link) noexcept { return WrId(WrKind::kBeacon, link, 0); }

  constexpr explicit WrId(uint64_t value) noexcept : value_(value) {}
  constexpr uint64_t value() const noexcept { return value_; }
  // May be no WrKind at all, if the completion is not one of ours.
  constexpr WrKind kind() const noexcept { return static_cast<WrKind>(value_ >> 60); }
  constexpr LinkSlot link() const noexcept {
    return {static_cast<uint32_t>(value_ >> 44) & LinkSlot::kMaxIndex,
            static_cast<uint32_t>(value_ >> 32) & (LinkSlot::kGenerations - 1)};
  }
  constexpr uint32_t detail() const noexcept { return static_cast<uint32_t>(value_); }

 private:
  constexpr WrId(WrKind kind, LinkSlot link, uint32_t detail) noexcept
      : value_(static_cast<uint64_t>(kind) << 60 |
               static_cast<uint64_t>(link.index & LinkSlot::kMaxIndex) << 44 |
               static_cast<uint64_t>(link.generation & (LinkSlot::kGenerations - 1)) << 32 |
               detail) {}
  uint64_t value_;
};

}  // namespace lunar::msgr::rdma
