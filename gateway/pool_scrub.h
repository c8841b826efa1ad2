// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "common/result.h"
#include "common/unique_function.h"
#include "gateway/client.h"
#include "gateway/image_directory.h"

namespace lunar::gateway {

// What is damaged, lost or left over in a pool, and the mending of it: `lunar scrub` and `lunar
// repair`. docs/image.md has the kinds of findings, and what a repair does about each.
//
// Free functions, loop-bound to the client's center, as those of image_directory.h. Images may be
// in use meanwhile: what is deleted is deleted only if it has not changed since it was looked at.

enum class FindingKind : uint8_t {
  kDirectory,      // a directory of an earlier format, or one that cannot be read
  kDamagedName,    // the object of a name cannot be read
  kTwoNames,       // an image to which names lead that its header does not have
  kLostHeader,     // a name and data, and no header
  kDamagedHeader,  // a header that cannot be read
  kHalfMade,       // a header without a name or data
  kUnnamed,        // a header with data and without a name
  kHalfRemoved,    // a removal that was interrupted
  kHalfImported,   // an import that was interrupted, or goes on
  kHalfRenamed,    // a renaming that was interrupted, or goes on
  kOrphan,         // data of no image
  kBeyondEnd,      // data beyond the end of its image
  kDamaged,        // a data object that cannot be read
  kLostWrites,     // an image of which a server has lost acknowledged writes
  kRegistration,   // of a gateway that no server knows
  kForeign,        // an object that is no part of any image
};
// "lost-header": how the names of findings begin.
const char* finding_kind_text(FindingKind kind) noexcept;

// One thing that is wrong. A value.
struct ScrubFinding {
  FindingKind kind = FindingKind::kForeign;
  std::string subject;  // of which image, object or registration
  std::string what;     // a sentence: what is wrong, and what it means
  std::string repair;   // what a repair would do, as "delete its 3 objects"; empty: there is none
  // The repair gives up data that somebody may miss, or rests on guesses: it has to be asked for by
  // name.
  bool must_be_named = false;

  // By which a repair is told of it, the same in every scrub: "orphan:00c0ffee00c0ffee".
  std::string name() const { return std::string(finding_kind_text(kind)) + ":" + subject; }
};

struct ScrubOptions {
  std::string image;  // only what concerns the image of this name; empty: the whole pool
  // Reads every byte that is allocated; otherwise only what the servers already know of damage.
  bool reads_data = true;
  std::set<std::string> only_objects;  // not empty: data objects to read, and no others
};

struct ScrubReport {
  std::vector<ScrubFinding> findings;  // sorted by kind, then subject
  // Sentences: what could not be looked at, so that the report is not whole.
  std::vector<std::string> unchecked;
  uint64_t images = 0;
  uint64_t objects = 0;
  uint64_t bytes_read = 0;
};

// Looks, and changes nothing. `on_progress` may be empty. Errors: kNoSuchPool; kNoSuchObject for an
// image that is asked for and is not there, kCorrupt if its name cannot be read.
void scrub_pool(Client& client, const std::string& pool, const ScrubOptions& options,
                OnProgress on_progress, UniqueFunction<void(Outcome<ScrubReport>)> done);

// What a header is made from that cannot be read; 0: what is found, or the default.
struct HeaderGuess {
  uint64_t size = 0;
  uint64_t object_size = 0;
  uint64_t stripe_unit = 0;
  uint32_t stripe_count = 0;
};

// Mends one finding of a scrub, and gives a sentence that says what was done. It looks again first:
// kBusy if what was found has changed meanwhile. Errors are sentences.
void repair_finding(Client& client, const std::string& pool, const ScrubFinding& finding,
                    const HeaderGuess& guess, UniqueFunction<void(Outcome<std::string>)> done);

}  // namespace lunar::gateway
