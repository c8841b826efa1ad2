// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "objecter/protocol/types.h"

namespace lunar::objecter {

// The ids from `from` on and below `until`. A value, of any thread; as they are read from a map or
// a backup they may be anything.
struct PoolIdRange {
  PoolId from = 0;
  PoolId until = 0;
  friend bool operator==(const PoolIdRange&, const PoolIdRange&) = default;
};

// Ids of pools, kept as ranges, since those that a restored map cannot know are many and in a row.
// Of whom they are known, and of whom not, is said in OsdMap::unknown_pools (osd_map.h).
// A value: any thread, one at a time; owns its ranges.
// Searching takes the logarithm of the number of ranges; nothing here throws but for want of
// memory.
class PoolIdSet {
 public:
  PoolIdSet() = default;
  // Of what was read: whether it is well formed is another question.
  explicit PoolIdSet(std::vector<PoolIdRange> ranges) : ranges_(std::move(ranges)) {}

  // In the order of their ids, and so few that two that touch are one. Valid as long as this is not
  // changed.
  const std::vector<PoolIdRange>& ranges() const noexcept { return ranges_; }
  bool is_empty() const noexcept { return ranges_.empty(); }
  // Whether this id is in one of them, by a binary search. REQUIRES: is_well_formed(), as for all
  // that follows.
  bool has(PoolId id) const noexcept;
  // No range is empty, each begins behind the end of the one before, so that between two of them
  // there is an id that is in neither, and none has id 0, which no pool has.
  bool is_well_formed() const noexcept;
  // Above all of them, where the next range may begin; 0 if it is empty.
  PoolId end() const noexcept { return ranges_.empty() ? 0 : ranges_.back().until; }

  // Adds ids above all that are there: in the order in which pools are made. A range that begins
  // where the last one ends makes it longer, and an empty one changes nothing. REQUIRES: range.from
  // is not below end().
  void append(PoolIdRange range);

  // Such as "3,10-1033": for people, who give it back to the command that deletes these pools.
  std::string to_text() const;

  friend bool operator==(const PoolIdSet&, const PoolIdSet&) = default;

 private:
  std::vector<PoolIdRange> ranges_;
};

}  // namespace lunar::objecter
