// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace lunar::msgr {

// Cuts one chunk of at most 16 MiB into slices of 4 KiB << order, each aligned to its size: a buddy
// allocator of offsets, that touches no memory of the chunk.
// Not thread-safe. Owns nothing.
class Buddy {
 public:
  static constexpr std::size_t kUnit = 4096;
  static constexpr uint32_t kOrders = 13;  // 4 KiB, 8 KiB … 16 MiB
  static constexpr std::size_t kLargest = kUnit << (kOrders - 1);

  // REQUIRES: a multiple of kUnit, at most kLargest.
  explicit Buddy(std::size_t chunk_bytes);

  // The least order whose slices hold `length` bytes. REQUIRES: 0 < length <= kLargest.
  static uint32_t order_of(std::size_t length) noexcept;

  // Bytes from the start of the chunk; none if no slice of that order is left.
  std::optional<std::size_t> allocate(uint32_t order) noexcept;
  // REQUIRES: allocated with this order, and not freed since.
  void free(std::size_t offset, uint32_t order) noexcept;
  std::size_t free_bytes() const noexcept { return free_bytes_; }

 private:
  // The free slices of one order, a bit each.
  struct FreeSlices {
    std::vector<uint64_t> words;
    uint32_t count = 0;
    std::size_t first_word = 0;  // none below it has a bit
  };
  void put(uint32_t order, std::size_t index) noexcept;
  bool take(uint32_t order, std::size_t index) noexcept;
  std::size_t take_first(uint32_t order) noexcept;

  std::array<FreeSlices, kOrders> levels_;
  std::size_t free_bytes_ = 0;
};

}  // namespace lunar::msgr
