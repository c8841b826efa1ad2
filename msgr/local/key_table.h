// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "common/bytes.h"
#include "msgr/net/link.h"

// The keys that one end of a link has given out, in memory that both ends have: what stands in for
// a NIC's table of memory windows. The end that uses a key marks it before it moves anything and
// takes the mark away afterwards; the owner takes a key back by changing its generation, which
// fails while it is marked. So an owner knows whether its peer is in the middle of a move, and a
// peer that was stopped there finds afterwards that its key is gone.
//
// Neither end trusts the other's half: the owner reads nothing from the table but that mark, and
// keeps the rest to itself; the peer reads each entry once and checks it against what it has
// mapped.

namespace lunar::msgr::local {

inline constexpr uint32_t kMaxKeys = 1024;  // of one end of a link, at once

// What a key opens: a part of a region. A value.
struct KeyRange {
  uint32_t region = 0;  // in the order in which they were handed over, from 1
  uint32_t offset = 0;  // bytes
  uint32_t length = 0;  // bytes
  RemoteAccess access = RemoteAccess::kRead;
};

// One line of the table. Both processes are of one host, so there is one order of bytes.
struct alignas(64) KeyEntry {
  std::atomic<uint64_t> state;  // generation × 4 + one of KeyPhase
  std::atomic<uint32_t> region;
  std::atomic<uint32_t> offset;
  std::atomic<uint32_t> length;
  std::atomic<uint32_t> access;
};
static_assert(sizeof(KeyEntry) == 64 && std::atomic<uint64_t>::is_always_lock_free);
inline constexpr std::size_t kKeyTableBytes = kMaxKeys * sizeof(KeyEntry);

// Where a key is found: its slot, and which of the keys that the slot has had. A value.
struct KeyName {
  uint32_t slot = 0;
  uint32_t generation = 0;  // never 0
  // As a RemoteKey: `addr` has slot, region and offset, `rkey` the generation.
  RemoteKey encode(const KeyRange& range) const noexcept;
  // Any numbers may come from a peer. `region` and `offset` are where a move begins.
  static KeyName decode(const RemoteKey& key, uint32_t& region, uint32_t& offset) noexcept;
};

// The table as its owner writes it, or as the peer uses it. Loop-bound. Borrows the memory.
class KeyTable {
 public:
  // REQUIRES: kKeyTableBytes, aligned to a page.
  explicit KeyTable(Bytes memory) noexcept : entries_(reinterpret_cast<KeyEntry*>(memory.data())) {}

  // --- the owner
  void publish(const KeyName& key, const KeyRange& range) noexcept;
  // False while the peer moves something by the key; afterwards nothing begins with it.
  bool take_back(const KeyName& key) noexcept;
  // Without regard to that: the peer finds out when it is through.
  void force(const KeyName& key) noexcept;

  // --- the peer
  // None if that key is not open. REQUIRES: key.slot < kMaxKeys.
  std::optional<KeyRange> begin_move(const KeyName& key) noexcept;
  // False if the key was taken back meanwhile: what was moved means nothing.
  bool end_move(const KeyName& key) noexcept;

 private:
  KeyEntry& entry_of(const KeyName& key) noexcept { return entries_[key.slot]; }
  KeyEntry* const entries_;
};

}  // namespace lunar::msgr::local
