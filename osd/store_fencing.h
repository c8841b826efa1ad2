// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <string>

#include "common/result.h"
#include "common/unique_function.h"
#include "objecter/protocol/osd_map.h"

namespace lunar::osd {

// What a store that several servers have in common needs so that only one of them writes an object
// at a time. One of the interfaces that an ObjectStore is made of; the definitions here are those
// of a store that nobody else reaches.
// Loop-bound to the center of the store.
class StoreFencing {
 public:
  virtual ~StoreFencing() = default;

  // What pools it can keep; does not change while the store is open.
  virtual objecter::StoreKind kind() const noexcept { return objecter::StoreKind::kFile; }
  // By what others can keep this start of the store from writing (OsdInfo::rados_client); empty if
  // nobody else has its objects.
  virtual std::string client() const { return {}; }

  // Keeps that client, of another server, from writing. `done` runs once, later or now: without an
  // error nothing that it has sent is carried out any more behind the back of a server that has
  // taken a map in which it is not (PoolStores::on_map). A sentence if that is not certain.
  virtual void fence(const std::string& client, UniqueFunction<void(Outcome<void>)> done) {
    done(failure(objecter::OsdErrc::kInvalid,
                 "this server has no store of rados, and cannot keep " + client + " from writing"));
  }
  // Somebody has fenced this client. Runs before the `done` of a call that found it, maybe often.
  virtual void set_on_fenced(UniqueFunction<void()> on_fenced) { (void)on_fenced; }
};

}  // namespace lunar::osd
