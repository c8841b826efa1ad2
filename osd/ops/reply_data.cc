// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/ops/reply_data.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace lunar::osd {

ReplyData whole_object_data(msgr::RegisteredBuffer buffer, std::size_t size) {
  constexpr std::size_t kSmall = 4096;
  ReplyData data;
  if (size <= kSmall) {
    const ConstBytes bytes = buffer.bytes().first(size);
    data.small.assign(bytes.begin(), bytes.end());
  } else {
    data.buffer = std::move(buffer);
    data.length = size;
  }
  return data;
}

void join_extents(objecter::ExtentMap& map, uint64_t limit) {
  auto& extents = map.extents;
  if (extents.size() <= limit) return;
  std::vector<uint64_t> gaps;
  gaps.reserve(extents.size());
  for (std::size_t i = 1; i < extents.size(); ++i)
    gaps.push_back(extents[i].first - (extents[i - 1].first + extents[i - 1].second));
  std::vector<uint64_t> sorted = gaps;
  std::size_t joins = extents.size() - limit;
  std::nth_element(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(joins - 1),
                   sorted.end());
  const uint64_t widest = sorted[joins - 1];
  std::size_t last = 0;
  for (std::size_t i = 1; i < extents.size(); ++i) {
    if (joins > 0 && gaps[i - 1] <= widest) {
      extents[last].second = extents[i].first + extents[i].second - extents[last].first;
      --joins;
    } else {
      extents[++last] = extents[i];
    }
  }
  extents.resize(last + 1);
}

ReplyData extent_map_data(const objecter::ExtentMap& map) {
  ReplyData data;
  encode(map, data.small);
  return data;
}

}  // namespace lunar::osd
