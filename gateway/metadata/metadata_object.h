// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <optional>
#include <string>
#include <system_error>

#include "common/result.h"
#include "common/task.h"
#include "common/unique_function.h"
#include "gateway/client.h"
#include "objecter/protocol/types.h"

namespace lunar::gateway {

// A small object that is read whole and replaced whole, with compare-and-swap by its version: image
// headers and image names. Tasks, loop-bound to the client's center. Each ends: the client answers
// every op, at the latest when it is shut down, and outlives the task.

struct MetadataContent {
  bool exists = false;
  std::string text;
  objecter::ObjectVersion version;  // also of an absent object: swapping against it creates
};

Task<Result<MetadataContent>> read_metadata(Client& client, objecter::ObjectId object,
                                            uint64_t io_id);

// The same for several at once, without a task for each. `done` runs once, later.
void read_metadata_later(Client& client, objecter::ObjectId object,
                         UniqueFunction<void(Result<MetadataContent>)> done);

// Replaces the content (an empty optional deletes the object) if the version is still `expected`,
// durably. kVersionMismatch otherwise. kUnknownOutcome if a server restarted in between.
Task<std::error_code> swap_metadata(Client& client, objecter::ObjectId object,
                                    objecter::ObjectVersion expected,
                                    std::optional<std::string> text, uint64_t io_id);

// Either of these two: what the change rested on has to be read again.
bool must_look_again(std::error_code swapped) noexcept;

// The object is there, and cannot be read as what it should be.
bool is_illegible(std::error_code read) noexcept;

// Tries to change an object by compare-and-swap, before they end with changes_too_often().
inline constexpr int kMaxSwapRounds = 64;

// Somebody was faster at every try: kBusy, "NAME changes all the time: …".
Error changes_too_often(const std::string& what);

// Whether the object has another version than `version` by now. One small op.
Task<Result<bool>> has_metadata_changed(Client& client, objecter::ObjectId object,
                                        objecter::ObjectVersion version, uint64_t io_id);

// What an update wants done with the content it was shown.
struct MetadataEdit {
  enum class Action { kWrite, kDelete, kKeep } action = Action::kKeep;
  std::string text;  // of kWrite
};
using MetadataEditor = UniqueFunction<Outcome<MetadataEdit>(const MetadataContent&)>;

// Reads, lets `edit` change it, swaps; again from the start when somebody else was faster or the
// outcome is unknown, so `edit` may run several times and must recognise its own change as done. An
// error of `edit` ends it. Errors name the object.
Task<Outcome<void>> update_metadata(Client& client, objecter::ObjectId object, MetadataEditor edit);

// Which server has the object, as the map says now: its id, and whether it is up. -1 without a map,
// or a pool.
struct ObjectServer {
  objecter::OsdId osd = -1;
  bool is_up = false;
};
ObjectServer server_of(const Client& client, const objecter::ObjectId& object);

// "read of 0123.header failed: …": an Error from a code. Names the server if that did not answer.
Error metadata_error(const Client& client, const char* what, const objecter::ObjectId& object,
                     std::error_code code);

}  // namespace lunar::gateway
