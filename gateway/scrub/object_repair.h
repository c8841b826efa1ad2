// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <string>
#include <system_error>
#include <vector>

#include "common/result.h"
#include "common/task.h"
#include "gateway/client.h"
#include "objecter/protocol/types.h"

namespace lunar::gateway {

// Objects as a repair treats them: nothing is changed that has changed since it was looked at.
// Tasks, as those of metadata_object.h.

struct LookedAt {
  std::error_code error;  // kNoSuchObject: it is absent; kIoError: it is refused, or unreadable
  uint64_t size = 0;
  objecter::ObjectVersion version;
};
// `flags` of an OpFlag: kOpMetadata for a metadata object, whose versions are others.
Task<LookedAt> look_at(Client& client, objecter::ObjectId object, uint16_t flags = 0);

// Deletes it if it is still at that version; kVersionMismatch otherwise. Durable for a data object
// of an image (0: of none) with the image's next flush, for a metadata object at once. kInvalid: it
// is a metadata object, and `flags` do not say so.
Task<std::error_code> delete_unchanged(Client& client, objecter::ImageId image,
                                       objecter::ObjectId object, objecter::ObjectVersion version,
                                       uint16_t flags = 0);

// Zeroes what of the object cannot be read, in steps of 4 KiB, durable with the image's next flush.
// The bytes that were zeroed. kVersionMismatch: somebody wrote to it meanwhile.
Task<Outcome<uint64_t>> zero_unreadable(Client& client, objecter::ImageId image,
                                        objecter::ObjectId object, LookedAt looked_at);

}  // namespace lunar::gateway
