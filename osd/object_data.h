// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>

#include "common/bytes.h"
#include "common/result.h"
#include "objecter/protocol/osd_op.h"
#include "objecter/protocol/types.h"
#include "osd/store_done.h"

namespace lunar::osd {

using objecter::ExtentMap;
using objecter::ObjectId;

// The bytes of objects. One of the interfaces that an ObjectStore is made of; who only reads and
// writes takes this one, and a fake of it implements nothing else.
// Loop-bound to the center of the store. Every `done` is as store_done.h says.
// Offsets, lengths and sizes are in bytes; an object is at most 1 TiB. The caller keeps calls on
// one object apart: at most one that changes it is in progress, and then no read of it. Calls on
// different objects run concurrently and end in any order.
// Errors: kInvalid (a bad name or no pool), kTooLarge (beyond 1 TiB), kNoSpace, kIoError (details
// are in the log), kShutdown (called after shutdown()), kNoSuchObject only where a call says so.
class ObjectData {
 public:
  // What an object takes up.
  struct Stat {
    uint64_t size = 0;       // bytes, holes included
    uint64_t allocated = 0;  // bytes of space; more than `size` where space comes in blocks
  };
  virtual ~ObjectData() = default;

  // Fills `into` whole; what was never written, or lies past the end, reads as zero.
  // kNoSuchObject if the object is absent; `into` is then all zero. `into` is borrowed until done.
  virtual void read(const ObjectId& id, uint64_t offset, Bytes into, DataDone done) = 0;

  // Creates the object if it is absent, and extends it as far as `from` goes. At done the bytes can
  // be read; they are durable after a later flush, or with `fua` (SCSI's FUA) at done, the name of
  // a new object too. After an error any part of the range may have been written, but for kNoSpace
  // and kBusy: nothing has changed. An ENOSPC, EDQUOT, EMFILE or ENFILE of the system says that
  // something may have. `from` is borrowed until done.
  virtual void write(const ObjectId& id, uint64_t offset, ConstBytes from, bool fua,
                     DataDone done) = 0;

  // Makes the range read as zero and frees its space. Neither creates nor extends the object, so an
  // absent one is not an error. Durable as a write is.
  virtual void zero(const ObjectId& id, uint64_t offset, uint64_t length, bool fua,
                    DataDone done) = 0;

  // Cuts the object to `size`, or extends it by zeroes; creates it if it is absent. Durable with
  // the next flush.
  virtual void truncate(const ObjectId& id, uint64_t size, StoreDone done) = 0;

  // kNoSuchObject if the object is absent.
  virtual void stat(const ObjectId& id, UniqueFunction<void(Result<Stat>)> done) = 0;

  // The runs of [offset, offset + length) that have space, cut to that range and in order; what is
  // between them reads as zero. Empty for an absent object.
  virtual void map_extents(const ObjectId& id, uint64_t offset, uint64_t length,
                           UniqueFunction<void(Result<ExtentMap>)> done) = 0;
};

}  // namespace lunar::osd
