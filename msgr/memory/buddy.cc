// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/memory/buddy.h"

#include <algorithm>
#include <bit>

#include "common/check.h"

namespace lunar::msgr {
namespace {

constexpr std::size_t kWordBits = 64;

}  // namespace

Buddy::Buddy(std::size_t chunk_bytes) {
  LUNAR_CHECK(chunk_bytes % kUnit == 0 && chunk_bytes <= kLargest, "the size of a chunk");
  for (uint32_t order = 0; order < kOrders; ++order) {
    const std::size_t slices = kLargest / kUnit >> order;
    levels_[order].words.resize((slices + kWordBits - 1) / kWordBits);
  }
  // The largest aligned slices that fit, from the front.
  std::size_t offset = 0;
  for (uint32_t order = kOrders; order-- > 0;) {
    const std::size_t size = kUnit << order;
    if (chunk_bytes - offset < size) continue;
    put(order, offset / size);
    offset += size;
  }
  free_bytes_ = chunk_bytes;
}

uint32_t Buddy::order_of(std::size_t length) noexcept {
  return static_cast<uint32_t>(std::bit_width((length - 1) / kUnit));
}

std::optional<std::size_t> Buddy::allocate(uint32_t order) noexcept {
  uint32_t from = order;
  while (from < kOrders && levels_[from].count == 0) ++from;
  if (from == kOrders) return std::nullopt;
  std::size_t index = take_first(from);
  while (from > order) {  // keep the lower half, free the upper one
    --from;
    index *= 2;
    put(from, index + 1);
  }
  free_bytes_ -= kUnit << order;
  return index * (kUnit << order);
}

void Buddy::free(std::size_t offset, uint32_t order) noexcept {
  LUNAR_CHECK(order < kOrders && offset % (kUnit << order) == 0, "not a slice of this chunk");
  free_bytes_ += kUnit << order;
  std::size_t index = offset / (kUnit << order);
  while (order + 1 < kOrders && take(order, index ^ 1)) {
    index /= 2;
    ++order;
  }
  put(order, index);
}

void Buddy::put(uint32_t order, std::size_t index) noexcept {
  FreeSlices& level = levels_[order];
  uint64_t& word = level.words[index / kWordBits];
  const uint64_t bit = uint64_t{1} << (index % kWordBits);
  LUNAR_CHECK((word & bit) == 0, "a slice was freed twice");
  word |= bit;
  ++level.count;
  level.first_word = std::min(level.first_word, index / kWordBits);
}

bool Buddy::take(uint32_t order, std::size_t index) noexcept {
  FreeSlices& level = levels_[order];
  uint64_t& word = level.words[index / kWordBits];
  const uint64_t bit = uint64_t{1} << (index % kWordBits);
  if ((word & bit) == 0) return false;
  word &= ~bit;
  --level.count;
  return true;
}

std::size_t Buddy::take_first(uint32_t order) noexcept {
  FreeSlices& level = levels_[order];
  std::size_t at = level.first_word;
  while (level.words[at] == 0) ++at;
  level.first_word = at;
  const std::size_t index =
      at * kWordBits + static_cast<std::size_t>(std::countr_zero(level.words[at]));
  take(order, index);
  return index;
}

}  // namespace lunar::msgr
