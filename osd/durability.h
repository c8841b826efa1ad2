// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <system_error>
#include <vector>

#include "common/unique_function.h"
#include "objecter/protocol/types.h"
#include "osd/store_done.h"

namespace lunar::osd {

using objecter::ObjectId;

// What of a store is durable, and whether some of it was lost. One of the interfaces that an
// ObjectStore is made of; a fake of it implements nothing else.
// Loop-bound to the center of the store. Every `done` is as store_done.h says.
class Durability {
 public:
  // `error` is the system's; `objects` are those that are known to have lost writes. Empty: none is
  // known, so any may have.
  using OnLoss = UniqueFunction<void(std::error_code error, const std::vector<ObjectId>& objects)>;
  virtual ~Durability() = default;

  // Makes durable every change of an object whose done ran before this call, the names of new and
  // removed objects too. kBusy: it could not be tried, and nothing is lost. Any other error means
  // that writes may be lost. It is reported here once: by every call that shared the failed sync,
  // or if nobody waited for that, by the next call. The sync is not tried again, because the kernel
  // would let it succeed without the lost pages.
  virtual void flush(StoreDone done) = 0;

  // `on_loss` is called on the loop, each time that acknowledged writes may be gone: a sync failed,
  // be it of a flush, of the store's own, or of a write with FUA. It runs before the done that
  // reports the error, so that the callee can change its verifier first, and after
  // may_have_lost_writes() is durably true. Empty: nobody is told. Replaces the one before.
  virtual void set_on_loss(OnLoss on_loss) = 0;

  // True if writes that were acknowledged but not flushed may be gone: since the last start another
  // boot, mount or file system was seen, or a write-back failed, then or since. Stays true, over
  // restarts too, until acknowledge_loss().
  virtual bool may_have_lost_writes() const noexcept = 0;

  // The caller has recorded durably what all losses mean for its images that on_loss has told:
  // may_have_lost_writes() is false from this call on, durably at done, unless another is on its
  // way to on_loss.
  virtual void acknowledge_loss(StoreDone done) = 0;
};

}  // namespace lunar::osd
