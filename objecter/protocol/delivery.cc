// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/protocol/delivery.h"

#include <algorithm>

#include "objecter/protocol/codec/fields.h"

namespace lunar::objecter {

bool is_valid(const DeliveryDescriptor& delivery) noexcept {
  using Descriptor = DeliveryDescriptor;
  if (delivery.link_generation == 0 || delivery.lease_ms == 0) return false;
  const bool pulls = delivery.access == DeliveryAccess::kPull;
  if (!pulls && delivery.access != DeliveryAccess::kPush) return false;
  if (delivery.fragment_bytes < Descriptor::kMinFragmentBytes ||
      delivery.fragment_bytes > Descriptor::kMaxFragmentBytes) {
    return false;
  }
  if (delivery.ranges.empty() || delivery.ranges.size() > Descriptor::kMaxRanges) return false;
  for (const Descriptor::Range& range : delivery.ranges) {
    if (range.length == 0 || range.addr > UINT64_MAX - range.length) return false;
  }
  if (delivery.bytes() > Descriptor::kMaxBytes) return false;
  return delivery.crcs.size() == (pulls && delivery.has_crc ? delivery.fragments() : 0);
}

void put_delivery(ByteWriter& w, const DeliveryDescriptor& delivery) {
  w.put(delivery.link_generation);
  w.put(delivery.lease_ms);
  w.put(delivery.access);
  w.put(delivery.has_crc);
  w.put(delivery.fragment_bytes);
  w.put(static_cast<uint8_t>(delivery.ranges.size()));
  for (const DeliveryDescriptor::Range& range : delivery.ranges) {
    w.put(range.addr);
    w.put(range.length);
    w.put(range.rkey);
  }
  for (const uint32_t crc : delivery.crcs) w.put(crc);
}

DeliveryDescriptor get_delivery(ByteReader& r) {
  DeliveryDescriptor delivery;
  delivery.link_generation = r.get<uint64_t>();
  delivery.lease_ms = r.get<uint32_t>();
  delivery.access = r.get<DeliveryAccess>();
  delivery.has_crc = get_flag(r);
  delivery.fragment_bytes = r.get<uint32_t>();
  const auto count = r.get<uint8_t>();
  if (count > DeliveryDescriptor::kMaxRanges || !r.can_hold(count, 16)) return delivery;
  delivery.ranges.resize(count);
  for (DeliveryDescriptor::Range& range : delivery.ranges) {
    range.addr = r.get<uint64_t>();
    range.length = r.get<uint32_t>();
    range.rkey = r.get<uint32_t>();
  }
  const bool pulls = delivery.access == DeliveryAccess::kPull;
  if (!pulls || !delivery.has_crc || delivery.fragment_bytes == 0) return delivery;
  const uint64_t crcs = (delivery.bytes() + delivery.fragment_bytes - 1) / delivery.fragment_bytes;
  if (!r.can_hold(crcs, 4)) return delivery;
  delivery.crcs.resize(crcs);
  for (uint32_t& crc : delivery.crcs) crc = r.get<uint32_t>();
  return delivery;
}

std::vector<DeliveryFragment> cut_delivery(const DeliveryDescriptor& delivery, uint64_t offset,
                                           uint64_t length, uint32_t max_bytes) {
  std::vector<DeliveryFragment> fragments;
  uint64_t begin = 0;  // of the range, in the payload
  for (const DeliveryDescriptor::Range& range : delivery.ranges) {
    const uint64_t end = begin + range.length;
    while (length > 0 && offset >= begin && offset < end) {
      const auto take =
          static_cast<uint32_t>(std::min<uint64_t>({length, end - offset, max_bytes}));
      DeliveryFragment fragment;
      fragment.key.addr = range.addr + (offset - begin);
      fragment.key.rkey = range.rkey;
      fragment.key.length = take;
      fragment.key.link_generation = delivery.link_generation;
      fragment.offset = offset;
      fragment.length = take;
      fragments.push_back(fragment);
      offset += take;
      length -= take;
    }
    begin = end;
  }
  return fragments;
}

}  // namespace lunar::objecter
