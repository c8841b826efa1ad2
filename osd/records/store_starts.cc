// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/records/store_starts.h"

#include <algorithm>

#include "common/bytes.h"
#include "common/random.h"

namespace lunar::osd {
namespace {
constexpr char kRecord[] = "starts";
constexpr uint16_t kStartsVersion = 1;
constexpr unsigned kRandomBits = 32;
constexpr uint64_t kRandomMask = (uint64_t{1} << kRandomBits) - 1;
}  // namespace

StoreStarts::StoreStarts(ServerRecords& records)
    : writer_(records, kRecord, [this] { return encode(); }) {}

Outcome<std::unique_ptr<StoreStarts>> StoreStarts::load(ServerRecords& records,
                                                        const StoreIdentity& identity,
                                                        const objecter::OsdMapRef& map) {
  std::unique_ptr<StoreStarts> starts(new StoreStarts(records));
  const auto record = records.get_record(kRecord);
  if (record && !starts->decode(*record)) {
    return failure(objecter::OsdErrc::kCorrupt,
                   "record starts of the store is damaged, or of another version of lunar-osd; it "
                   "tells the store from a copy of it, so the server does not start");
  }
  std::vector<uint64_t>& previous = starts->previous_;
  const uint64_t newest = previous.empty() ? 0 : previous.back();
  const objecter::OsdInfo* const known = map ? map->find_osd(identity.osd) : nullptr;
  if (known != nullptr && known->store == identity.store) {
    const auto accepted = std::find(previous.begin(), previous.end(), known->incarnation);
    if (accepted != previous.end()) previous.erase(previous.begin(), accepted);
  }
  // The first of them was accepted: it stays as long as no later one is known to be.
  if (previous.size() > kMaxPrevious) {
    const auto surplus = static_cast<std::ptrdiff_t>(previous.size() - kMaxPrevious);
    previous.erase(previous.begin() + 1, previous.begin() + 1 + surplus);
  }
  starts->incarnation_ =
      (((newest >> kRandomBits) + 1) << kRandomBits) | (random_u64() & kRandomMask) | 1;
  return starts;
}

bool StoreStarts::decode(ConstBytes record) {
  ByteReader reader(record);
  if (reader.get<uint16_t>() != kStartsVersion) return false;
  const auto count = reader.get<uint32_t>();
  if (count == 0 || !reader.can_hold(count, 8)) return false;
  for (uint32_t i = 0; i < count; ++i) previous_.push_back(reader.get<uint64_t>());
  return reader.is_finished() && std::is_sorted(previous_.begin(), previous_.end());
}

std::vector<std::byte> StoreStarts::encode() const {
  std::vector<std::byte> out;
  ByteWriter writer(out);
  writer.put(kStartsVersion);
  writer.put(static_cast<uint32_t>(previous_.size() + 1));
  for (const uint64_t each : previous_) writer.put(each);
  writer.put(incarnation_);
  return out;
}

}  // namespace lunar::osd
