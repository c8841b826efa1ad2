// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "common/bytes.h"
#include "common/result.h"
#include "objecter/protocol/types.h"
#include "osd/store_done.h"

namespace lunar::osd {

using objecter::ObjectId;

// Which objects there are, and what is attached to them: removing, replacing, listing, and extended
// attributes. One of the interfaces that an ObjectStore is made of; who only lists, say, takes this
// one, and a fake of it implements nothing else.
// Loop-bound to the center of the store. Every `done` is as store_done.h says. The caller keeps
// calls on one object apart, as for ObjectData.
// Errors: kInvalid (a bad name or no pool), kTooLarge, kNoSpace, kIoError (details are in the log),
// kShutdown (called after shutdown()); kNoSuchObject and kNoSuchAttribute only where said.
class ObjectNames {
 public:
  // Whether a listing contains a name. Called on any thread, one call at a time, until the
  // listing's done runs; so it must not refer to what belongs to a loop. Destroyed on the loop.
  using NameFilter = UniqueFunction<bool(const std::string& name)>;
  using Names = std::vector<std::string>;
  using AttributeValue = std::vector<std::byte>;
  virtual ~ObjectNames() = default;

  // Removes the object with its attributes. An absent one is not an error. Durable with the next
  // flush.
  virtual void remove(const ObjectId& id, StoreDone done) = 0;
  // The same, and durable at done: also an earlier removal that was not durable yet.
  virtual void remove_durably(const ObjectId& id, StoreDone done) = 0;

  // Replaces all bytes of the object by `from`, durably at done and atomically: after a crash it
  // has either content. Creates it if it is absent; keeps its attributes. Meant for metadata
  // objects: it costs two syncs. `from` is borrowed until done.
  virtual void replace(const ObjectId& id, ConstBytes from, StoreDone done) = 0;

  // Small named values of an object: names of 1 … 200 bytes of [A-Za-z0-9._-], values of at most
  // 2048 bytes (kTooLarge). ext4 has 4 KiB for all of an object (kNoSpace). set_xattr creates the
  // object if it is absent; durable with the next flush. `name` and `value` are copied.
  virtual void set_xattr(const ObjectId& id, const std::string& name, ConstBytes value,
                         StoreDone done) = 0;
  // kNoSuchObject, kNoSuchAttribute.
  virtual void get_xattr(const ObjectId& id, const std::string& name,
                         UniqueFunction<void(Result<AttributeValue>)> done) = 0;

  // The names of objects of a pool that come after `cursor` ("" is before all) in byte order and
  // that `contains` admits, at most `limit`; empty at the end. Walks the whole pool for each call:
  // for repair and migration, not for the path of an IO.
  virtual void list(objecter::PoolId pool, const std::string& cursor, uint32_t limit,
                    NameFilter contains, UniqueFunction<void(Result<Names>)> done) = 0;
};

}  // namespace lunar::osd
