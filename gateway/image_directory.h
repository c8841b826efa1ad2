// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "common/result.h"
#include "common/unique_function.h"
#include "gateway/client.h"
#include "gateway/image_header.h"

namespace lunar::gateway {

// The images of a pool: listing, finding, creating, removing and resizing them, as librbd's
// functions of those names do. docs/image.md says what is written in which order, and what an
// interruption leaves.
//
// Free functions, loop-bound to the client's center. The client must have a map, and outlives them:
// Client::shutdown() ends what is under way with kShutdown. Arguments are copied. Every `done` runs
// exactly once, later than the call, on the center. A change reads, edits and compare-and-swaps, so
// that two clients may change one image or pool at the same time; each of its ops is bounded by
// objecter_op_timeout.
//
// Errors are sentences for people. Codes told apart, of all: kNoSuchPool, kNoSuchObject (no image
// of that name), kTimedOut, kFenced, kCorrupt and kIncompatible (a header or name that this build
// cannot read, or a pool that is to be converted).

struct ImageSummary {
  std::string name;
  ImageId id = 0;  // 0 if it was not asked for, or cannot be read
};
struct ListOptions {
  bool wants_ids = false;  // which takes an op for each image
};
struct ImageList {
  // A server that does not say which names it has.
  struct MissingServer {
    objecter::OsdId osd = -1;
    std::error_code error;
  };
  std::vector<ImageSummary> images;  // by name
  std::vector<MissingServer> missing;
};
// "osd.2 is down: the images whose names are there are missing"; REQUIRES: some are missing.
Error missing_error(const ImageList& list);

struct CreateOptions {
  uint64_t size = 0;  // bytes, as validate_image_size() wants it
  StripeLayout layout;
  bool is_import = false;  // nobody opens it, until it is whole, but with OpenOptions::is_import
};

// Called now and then during long work, on the center: `done` of `total` data objects are deleted.
using OnProgress = UniqueFunction<void(uint64_t done, uint64_t total)>;

// The pool's object size and the configured striping, with what the caller gave (not 0) instead.
// Sizes in bytes. Not checked: create_image() does that.
StripeLayout layout_with_defaults(Client& client, const std::string& pool, uint64_t object_size,
                                  uint64_t stripe_unit, uint32_t stripe_count);

// Gives the new header. kExists if the name is taken; invalid_argument for a size or layout that
// breaks a rule. Allocates no data.
void create_image(Client& client, const ImageSpec& spec, const CreateOptions& options,
                  UniqueFunction<void(Outcome<ImageHeader>)> done);

// Makes an image created with `is_import` one like all others: its content is whole, and was
// flushed. By the client that has it open. kFenced if it has it no more.
void finish_import(Client& client, ImageId id, const ImageSpec& spec,
                   UniqueFunction<void(Outcome<void>)> done);
// remove_image() of what was created with `is_import`, and of nothing else: kBusy for another image
// that has its name by now, and if it is whole.
void abandon_import(Client& client, ImageId id, const ImageSpec& spec,
                    UniqueFunction<void(Outcome<void>)> done);

// Includes images whose removal was interrupted. A server that is down hides only the names that
// are on it, and is told.
void list_images(Client& client, const std::string& pool, const ListOptions& options,
                 UniqueFunction<void(Outcome<ImageList>)> done);

// What became of the directory that a pool has of an earlier build: one object with all names.
struct PoolConversion {
  uint64_t converted = 0;  // names that have an object of their own now
  std::vector<std::pair<std::string, std::string>> renamed;  // old, new: the name was taken
};
// Makes an object for each name of such a directory, and shuts out builds that know no other. One
// that was interrupted is finished by doing it again; images may be open meanwhile. `on_progress`
// may be empty.
void convert_pool(Client& client, const std::string& pool, OnProgress on_progress,
                  UniqueFunction<void(Outcome<PoolConversion>)> done);

// The header as it is now.
struct VersionedHeader {
  ImageHeader header;
  objecter::ObjectVersion version;  // of the header object: it changes with every change
};
void find_image(Client& client, const ImageSpec& spec,
                UniqueFunction<void(Outcome<VersionedHeader>)> done);

// Somebody who has an image open. A value.
struct Holder {
  Registration registration;  // of a reader: as it would be, it is not in the header
  bool is_reader = false;     // it only watches
  bool is_connected = false;  // its watch has a connection to the server of the header
  std::chrono::milliseconds silent_for{0};  // since it had one; 0 if that is not known
  bool is_dead = false;  // for lunar_lock_timeout: the next one who needs its lock fences it
};
struct ImageStatus {
  ImageHeader header;
  std::vector<Holder> holders;
};
// The header, and who has the image open, as `rbd status` shows it.
void image_status(Client& client, const ImageSpec& spec,
                  UniqueFunction<void(Outcome<ImageStatus>)> done);

// The header of an image of the pool that is registered as open, if there is one. Looks at every
// header, whatever became of its name. A server that is down or does not answer hides those that it
// has: a pool whose servers are gone for good has to be removable. Any other error is one.
void find_open_image(Client& client, const std::string& pool,
                     UniqueFunction<void(Outcome<std::optional<ImageHeader>>)> done);

// kBusy, with the names, while somebody alive has it open, and while it is renamed or if it was
// renamed meanwhile; a dead gateway is waited for, at most lunar_lock_timeout and a little, fenced
// at every server of the pool, and struck. Deletes the data, then the header, then the name; one
// that was interrupted is finished by doing it again.
// kCorrupt for a name without a header that has data: the header was lost, and the name is all that
// leads to the data. `on_progress` may be empty.
void remove_image(Client& client, const ImageSpec& spec, OnProgress on_progress,
                  UniqueFunction<void(Outcome<void>)> done);

// Gives an image another name, in its pool; also while it is open: whoever has it open goes on, and
// has to be given the new name at its next start. invalid_argument for what is no name; kExists if
// it is taken; kCorrupt or kIncompatible if its object is illegible; kBusy while the image is being
// removed or resized, or if somebody else renamed it meanwhile. kNotPermitted before anything
// changes. While it goes on both names lead to the image; one that was interrupted is
// finished by doing it again, or by any other renaming of the image.
void rename_image(Client& client, const ImageSpec& spec, const std::string& name,
                  UniqueFunction<void(Outcome<void>)> done);

struct ResizeOptions {
  uint64_t size = 0;           // bytes, as validate_image_size() wants it
  bool allows_shrink = false;  // the data beyond `size` may be destroyed
};
// Also while the image is open: gateways are told. Shrinking is refused unless it is allowed
// (kNotPermitted), and while it is renamed (kBusy). It waits until whoever has the image open uses
// the end no more, and fences the dead; kBusy if somebody alive does not let go in time, and then
// nothing has changed. Only after that is anything deleted. One that was interrupted is finished,
// or undone, by the next resize. `on_progress` may be empty.
void resize_image(Client& client, const ImageSpec& spec, const ResizeOptions& options,
                  OnProgress on_progress, UniqueFunction<void(Outcome<void>)> done);

// Fences every registration of `instance` at every server of the pool, and strikes it from the
// header. invalid_argument if there is none.
void unregister(Client& client, const ImageSpec& spec, const std::string& instance,
                UniqueFunction<void(Outcome<void>)> done);

}  // namespace lunar::gateway
