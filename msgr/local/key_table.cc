// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/local/key_table.h"

namespace lunar::msgr::local {
namespace {

enum class KeyPhase : uint64_t { kTaken = 0, kOpen = 1, kMoving = 2 };

uint64_t state_of(const KeyName& key, KeyPhase phase) noexcept {
  return uint64_t{key.generation} * 4 + static_cast<uint64_t>(phase);
}

}  // namespace

RemoteKey KeyName::encode(const KeyRange& range) const noexcept {
  RemoteKey key;
  key.addr = uint64_t{slot} << 48 | uint64_t{range.region} << 32 | range.offset;
  key.rkey = generation;
  key.length = range.length;
  return key;
}

KeyName KeyName::decode(const RemoteKey& key, uint32_t& region, uint32_t& offset) noexcept {
  region = static_cast<uint32_t>(key.addr >> 32) & 0xffff;
  offset = static_cast<uint32_t>(key.addr);
  return {static_cast<uint32_t>(key.addr >> 48), key.rkey};
}

void KeyTable::publish(const KeyName& key, const KeyRange& range) noexcept {
  KeyEntry& entry = entry_of(key);
  entry.region.store(range.region, std::memory_order_relaxed);
  entry.offset.store(range.offset, std::memory_order_relaxed);
  entry.length.store(range.length, std::memory_order_relaxed);
  entry.access.store(static_cast<uint32_t>(range.access), std::memory_order_relaxed);
  entry.state.store(state_of(key, KeyPhase::kOpen), std::memory_order_release);
}

bool KeyTable::take_back(const KeyName& key) noexcept {
  uint64_t expected = state_of(key, KeyPhase::kOpen);
  if (entry_of(key).state.compare_exchange_strong(expected, state_of(key, KeyPhase::kTaken),
                                                  std::memory_order_acq_rel)) {
    return true;
  }
  if (expected == state_of(key, KeyPhase::kMoving)) return false;
  force(key);  // the peer wrote something else there: it moves nothing that we could wait for
  return true;
}

void KeyTable::force(const KeyName& key) noexcept {
  entry_of(key).state.store(state_of(key, KeyPhase::kTaken), std::memory_order_release);
}

std::optional<KeyRange> KeyTable::begin_move(const KeyName& key) noexcept {
  KeyEntry& entry = entry_of(key);
  uint64_t expected = state_of(key, KeyPhase::kOpen);
  if (key.generation == 0 ||
      !entry.state.compare_exchange_strong(expected, state_of(key, KeyPhase::kMoving),
                                           std::memory_order_acq_rel)) {
    return std::nullopt;
  }
  KeyRange range;
  range.region = entry.region.load(std::memory_order_relaxed);
  range.offset = entry.offset.load(std::memory_order_relaxed);
  range.length = entry.length.load(std::memory_order_relaxed);
  const uint32_t access = entry.access.load(std::memory_order_relaxed);
  range.access = access == static_cast<uint32_t>(RemoteAccess::kWrite) ? RemoteAccess::kWrite
                                                                       : RemoteAccess::kRead;
  return range;
}

bool KeyTable::end_move(const KeyName& key) noexcept {
  uint64_t expected = state_of(key, KeyPhase::kMoving);
  return entry_of(key).state.compare_exchange_strong(expected, state_of(key, KeyPhase::kOpen),
                                                     std::memory_order_acq_rel);
}

}  // namespace lunar::msgr::local
