// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "common/bytes.h"
#include "common/unique_function.h"
#include "gateway/client.h"
#include "gateway/image_header.h"
#include "objecter/protocol/watch.h"

namespace lunar::gateway {

// What one client has done with an image since it opened it, all of its opens together. Numbers
// only grow while the image is open. A value.
struct ImageCounts {
  uint64_t reads = 0;                      // READs that have ended
  uint64_t read_bytes = 0;                 // that these asked for
  std::chrono::nanoseconds read_time{0};   // from submit to done, of all of them together
  uint64_t writes = 0;                     // WRITEs that have ended; no other kind of change
  uint64_t write_bytes = 0;                // that these asked to write
  std::chrono::nanoseconds write_time{0};  // as read_time
};

// The question of image_counts(), as the payload of a notify of the image's header: any other
// payload says that the header has changed. And its answer, a JSON object; docs/image.md,
// "Counters". Pure.
bool asks_image_counts(ConstBytes payload) noexcept;
std::string encode(const ImageCounts& counts);
// None for what is no answer, such as that of a build that does not know the question. A member
// that is missing or no number is 0.
std::optional<ImageCounts> decode_image_counts(std::string_view text);

// What one of those who have the image open has answered. A value.
struct HolderCounts {
  objecter::ClientIdentity client;    // which start of which gateway or program
  std::optional<ImageCounts> counts;  // none: it did not answer in time, or is of an earlier build
};
// Asks all who have the image open, on whichever host, readers too. The server of the header waits
// up to `timeout` for them; if it does not answer itself, that is kTimedOut some 20 s later. One
// for each client, however often it has the image open. `done` runs once, later, on the client's
// center. Errors: kNoSuchObject, kNotPermitted (it takes `w`), kBusy, and those of
// Objecter::submit().
void image_counts(Client& client, objecter::PoolId pool, ImageId id,
                  std::chrono::milliseconds timeout,
                  UniqueFunction<void(Result<std::vector<HolderCounts>>)> done);

}  // namespace lunar::gateway
