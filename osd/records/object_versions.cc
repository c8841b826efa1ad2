// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/records/object_versions.h"

#include <fmt/core.h>

#include <algorithm>

#include "common/bytes.h"
#include "common/crc32c.h"

namespace lunar::osd {
namespace {
constexpr uint16_t kBucketVersion = 1;

std::string bucket_key(std::size_t index) { return fmt::format("versions.{:02x}", index); }
}  // namespace

ObjectVersions::ObjectVersions(ServerRecords& records, uint64_t incarnation,
                               std::size_t max_data_objects)
    : records_(records),
      incarnation_(incarnation),
      max_data_objects_(std::max<std::size_t>(max_data_objects, 1)),
      buckets_(kBuckets) {
  for (std::size_t index = 0; index < kBuckets; ++index) {
    Bucket& bucket = buckets_[index];
    bucket.writer = std::make_unique<RecordWriter>(records_, bucket_key(index),
                                                   [&bucket] { return encode(bucket); });
  }
}

ObjectVersions::~ObjectVersions() = default;

Outcome<std::unique_ptr<ObjectVersions>> ObjectVersions::load(ServerRecords& records,
                                                              uint64_t incarnation,
                                                              std::size_t max_data_objects) {
  std::unique_ptr<ObjectVersions> versions(
      new ObjectVersions(records, incarnation, max_data_objects));
  for (const std::string& key : records.record_keys("versions.")) {
    std::size_t index = 0;
    while (index < kBuckets && bucket_key(index) != key) ++index;
    const auto record = records.get_record(key);
    if (!record) return failure(record.error(), "record " + key + " cannot be read");
    if (index == kBuckets || !decode(*record, index, versions->buckets_[index])) {
      return failure(objecter::OsdErrc::kCorrupt,
                     "record " + key +
                         " of the store is damaged, or of another version of lunar-osd; versions "
                         "of metadata objects must not go back, so the server does not start");
    }
  }
  return versions;
}

std::size_t ObjectVersions::bucket_of(const ObjectId& id) noexcept {
  return crc32c(static_cast<uint32_t>(id.pool), as_const_bytes(id.name)) % kBuckets;
}

std::vector<std::byte> ObjectVersions::encode(const Bucket& bucket) {
  std::vector<std::byte> out;
  ByteWriter writer(out);
  writer.put(kBucketVersion);
  writer.put(bucket.floor);
  writer.put(static_cast<uint32_t>(bucket.objects.size()));
  for (const auto& [id, metadata] : bucket.objects) {
    writer.put(id.pool);
    writer.put_string(id.name);
    writer.put(metadata.counter);
    writer.put(metadata.is_deleted);
  }
  return out;
}

bool ObjectVersions::decode(ConstBytes record, std::size_t index, Bucket& bucket) {
  ByteReader reader(record);
  if (reader.get<uint16_t>() != kBucketVersion) return false;
  bucket.floor = reader.get<uint64_t>();
  const auto count = reader.get<uint32_t>();
  if (!reader.can_hold(count, 8 + 4 + 8 + 1)) return false;
  for (uint32_t i = 0; i < count && reader.ok(); ++i) {
    ObjectId id;
    id.pool = reader.get<objecter::PoolId>();
    id.name = reader.get_string(ObjectId::kMaxNameBytes);
    Metadata metadata;
    metadata.counter = reader.get<uint64_t>();
    metadata.is_deleted = reader.get<bool>();
    if (reader.ok() && bucket_of(id) != index) reader.mark_bad();
    if (reader.ok()) bucket.objects.emplace(std::move(id), metadata);
  }
  return reader.is_finished();
}

void ObjectVersions::fold(Bucket& bucket) {
  if (bucket.objects.size() <= kMaxNamesPerBucket) return;
  std::erase_if(bucket.objects, [&](const auto& entry) {
    if (!entry.second.is_deleted) return false;
    bucket.floor = std::max(bucket.floor, entry.second.counter);
    return true;
  });
}

ObjectVersion ObjectVersions::of_data(const ObjectId& id) const {
  const auto found = by_id_.find(id);
  return {incarnation_, found == by_id_.end() ? floor_ : found->second->counter};
}

ObjectVersion ObjectVersions::change_data(const ObjectId& id) {
  ++counter_;
  const auto found = by_id_.find(id);
  if (found != by_id_.end()) {
    found->second->counter = counter_;
    recent_.splice(recent_.begin(), recent_, found->second);
    return {incarnation_, counter_};
  }
  recent_.push_front({id, counter_});
  by_id_.emplace(id, recent_.begin());
  if (recent_.size() > max_data_objects_) {
    floor_ = std::max(floor_, recent_.back().counter);
    by_id_.erase(recent_.back().id);
    recent_.pop_back();
  }
  return {incarnation_, counter_};
}

ObjectVersion ObjectVersions::of_metadata(const ObjectId& id) const {
  const Bucket& bucket = buckets_[bucket_of(id)];
  const auto found = bucket.objects.find(id);
  return {0, found == bucket.objects.end() ? bucket.floor : found->second.counter};
}

void ObjectVersions::change_metadata(const ObjectId& id, bool is_deleted, StoreDone done) {
  Bucket& bucket = buckets_[bucket_of(id)];
  const uint64_t next = of_metadata(id).counter + 1;
  const auto known = bucket.objects.find(id);
  const std::optional<Metadata> before =
      known == bucket.objects.end() ? std::nullopt : std::optional(known->second);
  bucket.objects[id] = {next, is_deleted};
  fold(bucket);
  // A version that is seen and not written would be given out again after a restart.
  const auto settle = [&bucket, id, next, before](std::error_code error) {
    const auto now = bucket.objects.find(id);
    if (!error || now == bucket.objects.end() || now->second.counter != next) return;
    if (before)
      now->second = *before;
    else
      bucket.objects.erase(now);
  };
  bucket.writer->save(settle, std::move(done));
}

bool ObjectVersions::is_metadata(const ObjectId& id) const {
  const Bucket& bucket = buckets_[bucket_of(id)];
  const auto found = bucket.objects.find(id);
  return found != bucket.objects.end() && !found->second.is_deleted;
}

bool ObjectVersions::is_busy() const noexcept {
  return std::any_of(buckets_.begin(), buckets_.end(),
                     [](const Bucket& bucket) { return bucket.writer->is_busy(); });
}

}  // namespace lunar::osd
