// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <memory>
#include <string>

#include "common/inline_function.h"
#include "common/result.h"
#include "gateway/client.h"
#include "objecter/protocol/types.h"

namespace lunar::gateway {

// A small object that is read whole and replaced whole, with compare-and-swap by its version: image
// headers and the directory of a pool. Free functions, loop-bound to the client's center. Every
// `done` runs once, later.

struct MetadataContent {
  bool exists = false;
  std::string text;
  objecter::ObjectVersion version;  // also of an absent object: swap() against it creates
};

void read_metadata(Client& client, const objecter::ObjectId& object, uint64_t io_id,
                   InlineFunction<void(Result<MetadataContent>)> done);

// Replaces the content (an empty optional deletes the object) if the version is still `expected`,
// durably. kVersionMismatch otherwise. kUnknownOutcome if a server restarted in between.
void swap_metadata(Client& client, const objecter::ObjectId& object,
                   objecter::ObjectVersion expected, std::optional<std::string> text,
                   uint64_t io_id, InlineFunction<void(std::error_code)> done);

// True if the object is not at `version` any more. One small op.
void check_metadata_version(Client& client, const objecter::ObjectId& object,
                            objecter::ObjectVersion version, uint64_t io_id,
                            InlineFunction<void(Result<bool>)> done);

// What an update wants done with the content it was shown.
struct MetadataEdit {
  enum class Action { kWrite, kDelete, kKeep } action = Action::kKeep;
  std::string text;
};

// Reads, lets `edit` change it, swaps; again from the start when somebody else was faster or the
// outcome is unknown, so `edit` may run several times and must see its own change as done. An error
// of `edit` ends it. Objects are named in sentences.
void update_metadata(Client& client, const objecter::ObjectId& object,
                     InlineFunction<Outcome<MetadataEdit>(const MetadataContent&)> edit,
                     InlineFunction<void(Outcome<void>)> done);

// "read of 0123.header failed: …": an Error from a code.
Error metadata_error(const char* what, const objecter::ObjectId& object, std::error_code code);

}  // namespace lunar::gateway
