// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "common/result.h"
#include "common/task.h"
#include "common/unique_function.h"
#include "gateway/client.h"
#include "gateway/image_directory.h"
#include "gateway/image_header.h"
#include "objecter/protocol/watch.h"

namespace lunar::gateway {

// The header object of an image. Tasks, as those of metadata_object.h; errors are sentences.

objecter::ObjectId header_of(objecter::PoolId pool, ImageId id);

// Looks the name up in the pool and reads the header. kNoSuchPool; kNoSuchObject also for a name
// that is left over: the header that it leads to does not have it. kCorrupt and kIncompatible of
// either object; kBusy if the name leads elsewhere at each look.
Task<Outcome<VersionedHeader>> find_header(Client& client, ImageSpec spec);

// Reads the header of an image whose id is known. kNoSuchObject if there is none.
Task<Outcome<VersionedHeader>> read_header(Client& client, objecter::PoolId pool, ImageId id);

// Writes the header whole, whatever was there.
Task<Outcome<void>> write_header(Client& client, objecter::PoolId pool, ImageHeader header);

// Changes the header; an error refuses the change. May run several times.
using HeaderEditor = UniqueFunction<Outcome<void>(ImageHeader&)>;

// Changes a header by read, edit, compare-and-swap. kNoSuchObject if there is none any more.
Task<Outcome<void>> update_header(Client& client, objecter::PoolId pool, ImageId id,
                                  HeaderEditor edit);

// Replaces the header if it is still at `version`; errors as those of swap_metadata().
Task<std::error_code> swap_header(Client& client, objecter::PoolId pool, ImageHeader header,
                                  objecter::ObjectVersion version);

// kBusy for an image that is not whole: it is being removed or imported, or that was interrupted.
Outcome<void> require_whole(const ImageHeader& header);
// kBusy: what is refused while the image is being renamed, and how to finish that.
Error is_being_renamed(const std::string& pool, const ImageHeader& header);
// kBusy: the image that had the name when it was looked up has another one.
Error was_renamed(const ImageSpec& spec, const ImageHeader& header);

// Notifies whoever has the image open that its header has changed, and waits some seconds at most
// until they have read it. Nobody watches: nobody missed it.
Task<Result<objecter::NotifyResult>> tell_of_change(Client& client, objecter::PoolId pool,
                                                    ImageId id);
// The same without waiting.
void tell_of_change_later(Client& client, objecter::PoolId pool, ImageId id);

// Success if there is none.
Task<Outcome<void>> delete_header(Client& client, objecter::PoolId pool, ImageId id);

}  // namespace lunar::gateway
