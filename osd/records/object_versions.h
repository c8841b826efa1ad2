// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "common/bytes.h"
#include "common/result.h"
#include "objecter/protocol/types.h"
#include "osd/records/record_writer.h"
#include "osd/server_records.h"

namespace lunar::osd {

using objecter::ObjectId;
using objecter::ObjectVersion;

// Versions of this server's objects.
// Data objects: (incarnation of this start, counter). The counters of the most recently changed
// ones are kept; what was dropped, and what was never changed, is at the highest counter dropped so
// far. So a version may grow without a change, but two contents never share one.
// Metadata objects: (0, counter), in durable records, also after the object is deleted; tombstones
// are folded into a floor of their bucket when there are too many.
// Loop-bound. Borrows the records, which outlive it.
class ObjectVersions {
 public:
  static constexpr std::size_t kBuckets = 256;
  static constexpr std::size_t kMaxNamesPerBucket = 4096;

  // Reads the records. `incarnation` must differ from that of every earlier start. An error if a
  // record is damaged.
  static Outcome<std::unique_ptr<ObjectVersions>> load(ServerRecords& records, uint64_t incarnation,
                                                       std::size_t max_data_objects = 65536);
  ~ObjectVersions();

  uint64_t incarnation() const noexcept { return incarnation_; }

  ObjectVersion of_data(const ObjectId& id) const;
  // Gives a data object a version it never had.
  ObjectVersion change_data(const ObjectId& id);

  ObjectVersion of_metadata(const ObjectId& id) const;
  // Gives a metadata object its next version, durable at done: before its content changes, so that
  // a crash in between leaves a new version of the old content and never the reverse.
  void change_metadata(const ObjectId& id, bool is_deleted, StoreDone done);
  // True for a metadata object that exists: a data op must not change it.
  bool is_metadata(const ObjectId& id) const;

  bool is_busy() const noexcept;

 private:
  struct Metadata {
    uint64_t counter = 0;
    bool is_deleted = false;
  };
  struct Bucket {
    std::map<ObjectId, Metadata> objects;
    uint64_t floor = 0;
    std::unique_ptr<RecordWriter> writer;
  };
  struct DataEntry {
    ObjectId id;
    uint64_t counter;
  };
  struct IdHash {
    std::size_t operator()(const ObjectId& id) const noexcept {
      return std::hash<std::string>()(id.name) ^ (id.pool * 0x9e3779b97f4a7c15u);
    }
  };

  ObjectVersions(ServerRecords& records, uint64_t incarnation, std::size_t max_data_objects);
  static std::size_t bucket_of(const ObjectId& id) noexcept;
  static std::vector<std::byte> encode(const Bucket& bucket);
  static bool decode(ConstBytes record, std::size_t index, Bucket& bucket);
  static void fold(Bucket& bucket);

  ServerRecords& records_;
  const uint64_t incarnation_;
  const std::size_t max_data_objects_;
  std::vector<Bucket> buckets_;
  uint64_t counter_ = 0;         // of the latest change of a data object
  uint64_t floor_ = 0;           // no data object that is not in recent_ changed after it
  std::list<DataEntry> recent_;  // newest first
  std::unordered_map<ObjectId, std::list<DataEntry>::iterator, IdHash> by_id_;
};

}  // namespace lunar::osd
