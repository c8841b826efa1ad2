// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "common/bytes.h"
#include "objecter/protocol/types.h"
#include "osd/records/client_name.h"
#include "osd/records/record_writer.h"
#include "osd/server_records.h"
#include "osd/store_done.h"

namespace lunar::osd {

using objecter::ImageId;
using objecter::ObjectId;

// Which images have lost writes and who has heard of it, which objects are damaged, and the
// verifier; in memory, and as the record kRecord, so that all of it changes in one atomic write.
// What changes here is durable after a save().
// Loop-bound. Borrows the records, which outlive it; must not be destroyed while is_busy().
class LossTable {
 public:
  static constexpr const char* kRecord = "losses";
  // Per image, of those that have heard of its loss. The oldest are told again, unless their
  // FLUSHes still say that they have.
  static constexpr std::size_t kMaxToldClients = 256;
  static constexpr std::size_t kMaxDamaged = 65536;
  static constexpr std::size_t kMaxClientBytes = 1024;  // of a name in the record
  struct ImageLoss {
    uint64_t id = 0;               // never 0: the verifier since the latest loss of the image
    std::deque<std::string> told;  // clients that said that they heard of it, oldest first
  };
  using Losses = std::map<ImageId, ImageLoss>;

  explicit LossTable(ServerRecords& records);
  // Takes everything from the record. False if it is damaged or of another version. REQUIRES:
  // called at most once, before anything else.
  bool decode(ConstBytes record);

  // The same as long as nothing can have been lost; 0 before the first lose().
  uint64_t verifier() const noexcept { return verifier_; }
  // Writes of these images, of none or some, may be lost: a new verifier, and a new loss of each.
  void lose(const std::vector<ImageId>& images);

  // A client says that it has heard of the loss `heard` (0: none) of the image. True if that is the
  // latest one and was not known: then the record has to be saved.
  bool add_heard(ImageId image, const ClientName& client, uint64_t heard);
  // The id of the image's loss, if this client has not heard of it; else 0.
  uint64_t unheard_by(ImageId image, const ClientName& client) const;

  void add_damaged(const ObjectId& object);
  // Any object may be, once there are too many.
  bool is_damaged(const ObjectId& object) const {
    return has_too_many_damaged_ || damaged_.contains(object);
  }
  // For good, over restarts as well: some damaged objects are not known any more.
  bool has_too_many_damaged() const noexcept { return has_too_many_damaged_; }
  // The object was replaced or deleted, durably: it is not damaged from now on, and durably so at
  // done; after an error it is as before.
  void repaired(const ObjectId& object, StoreDone done);

  // Runs done when the record has what is here now.
  void save(StoreDone done) { writer_.save(std::move(done)); }
  bool is_busy() const noexcept { return writer_.is_busy(); }

  const Losses& losses() const noexcept { return losses_; }
  const std::set<ObjectId>& damaged() const noexcept { return damaged_; }

 private:
  std::vector<std::byte> encode() const;

  uint64_t verifier_ = 0;
  Losses losses_;
  std::set<ObjectId> damaged_;
  bool has_too_many_damaged_ = false;
  RecordWriter writer_;
};

}  // namespace lunar::osd
