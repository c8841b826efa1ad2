// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/bytes.h"
#include "common/inline_function.h"
#include "common/result.h"
#include "common/uuid.h"
#include "msgr/buffer.h"
#include "msgr/event_center.h"
#include "objecter/protocol/osd_op.h"
#include "objecter/protocol/types.h"

namespace lunar::osd {

using objecter::ExtentMap;
using objecter::ImageId;
using objecter::ObjectId;
using objecter::OsdId;
using objecter::PgId;

// Written by --mkfs, checked at every start.
struct StoreIdentity {
  Uuid fsid;   // of the cluster
  Uuid store;  // of this store
  OsdId osd = -1;
};

// Bytes of objects on this server.
// Loop-bound to the center it was opened on. Each `done` runs once, later, on that center. The
// executor above keeps ops on one object apart: at most one changing call per object is in
// progress, and no read beside it. Calls on different objects run concurrently. Errors: kNoSpace,
// kIoError, kTooLarge, kInvalid (a bad name), kShutdown (called after shutdown()), kNoSuchObject
// (only where said).
class ObjectStore {
 public:
  using Done = InlineFunction<void(std::error_code)>;
  struct Stat {
    uint64_t size = 0;       // bytes
    uint64_t allocated = 0;  // bytes
  };
  virtual ~ObjectStore() = default;

  virtual const StoreIdentity& identity() const noexcept = 0;
  virtual msgr::BufferPool& buffers() noexcept = 0;

  // Fills `into` whole; what was never written, or lies past the end, reads as zero.
  // kNoSuchObject if the object is absent (`into` is then zeroed). `into` is borrowed until done.
  virtual void read(const ObjectId& id, uint64_t offset, Bytes into, Done done) = 0;
  // Allocated runs within [offset, offset + length), cut to it; empty for an absent object.
  virtual void map_extents(const ObjectId& id, uint64_t offset, uint64_t length,
                           InlineFunction<void(Result<ExtentMap>)> done) = 0;
  virtual void stat(const ObjectId& id, InlineFunction<void(Result<Stat>)> done) = 0;

  // Creates the object if need be. At done the bytes are readable; durable after a later flush, or
  // at done with `fua`. `from` is borrowed until done.
  virtual void write(const ObjectId& id, uint64_t offset, ConstBytes from, bool fua, Done done) = 0;
  // Frees the range inside the object; never creates or extends it.
  virtual void zero(const ObjectId& id, uint64_t offset, uint64_t length, bool fua, Done done) = 0;
  virtual void truncate(const ObjectId& id, uint64_t size, Done done) = 0;  // creates it
  virtual void remove(const ObjectId& id, Done done) = 0;  // absent is not an error

  // Replaces the whole object crash-atomically and durably (write-temp, fsync, rename, fsync dir):
  // for metadata objects. `from` is borrowed until done.
  virtual void replace(const ObjectId& id, ConstBytes from, Done done) = 0;
  // Removes durably.
  virtual void remove_durably(const ObjectId& id, Done done) = 0;

  // Small named values of an object: names of 1 … 200 bytes of [A-Za-z0-9._-], values of at most
  // 2048 bytes (kTooLarge); ext4 has 4 KiB for all of an object (kNoSpace). Durable with the next
  // flush, kept by replace. set creates the object; get: kNoSuchObject, kNoSuchAttribute.
  virtual void set_xattr(const ObjectId& id, const std::string& name, ConstBytes value,
                         Done done) = 0;
  virtual void get_xattr(const ObjectId& id, const std::string& name,
                         InlineFunction<void(Result<std::vector<std::byte>>)> done) = 0;

  // Names in a PG after `cursor` ("" is the start) in byte order, at most `limit`. `in_pg` says
  // which names belong; it is called on any thread.
  virtual void list(objecter::PoolId pool, const std::string& cursor, uint32_t limit,
                    bool (*in_pg)(const void* context, const std::string& name),
                    std::shared_ptr<const void> context,
                    InlineFunction<void(Result<std::vector<std::string>>)> done) = 0;

  // Makes every write, zero, truncate and remove that was done before this call durable, directory
  // entries too. Any error is sticky until reported once here, and means writes may be lost; calls
  // that shared a failed sync all report it.
  virtual void flush(Done done) = 0;

  // Called when what was written may be gone: a sync failed (flush, one of our own, or FUA). Runs
  // before the `done` that reports it, so the callee can change its verifier first; `objects` are
  // those affected, empty means any. The loss is already in may_have_lost_writes(), durably.
  using OnLoss = InlineFunction<void(std::error_code, const std::vector<ObjectId>& objects)>;
  virtual void set_on_loss(OnLoss on_loss) = 0;

  // Small durable records of the server itself (map, unflushed marks, lost-writes, versions), by
  // key of [a-z0-9._-]. put is crash-atomic and durable at done; an empty value removes it.
  virtual void put_record(const std::string& key, std::vector<std::byte> value, Done done) = 0;
  virtual Result<std::vector<std::byte>> get_record(const std::string& key) const = 0;
  virtual std::vector<std::string> record_keys(const std::string& prefix) const = 0;

  // True if what was acknowledged without flush before this start may be gone: another boot id,
  // another mount or file system, or a write-back error seen; also once on_loss was called. Stays
  // true, over restarts too, until acknowledge_loss().
  virtual bool may_have_lost_writes() const noexcept = 0;
  // The caller has durably recorded what the loss means for its images. Durable at done.
  virtual void acknowledge_loss(Done done) = 0;

  struct Usage {
    uint64_t total = 0, used = 0, available = 0;  // bytes
  };
  virtual Usage usage() const = 0;

  // Waits for what is in progress, flushes, releases the lock.
  virtual void shutdown(InlineFunction<void()> done) = 0;
};

}  // namespace lunar::osd
