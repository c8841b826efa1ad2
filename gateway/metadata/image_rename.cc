// SPDX-License-Identifier: LGPL-2.1-or-later
// Renaming an image from A to B:
// 1. header: ready -> renaming, to B. A leads to the image.
// 2. The object of B is written. If another image has B: header -> ready, and kExists.
// 3. header: renaming -> renamed. From here on B leads to the image, and nothing is undone.
// 4. The object of A is deleted.
// 5. header: name B, ready.
// Whoever finds a renaming may do its next step, at the same time as others, or late. So the header
// is swapped at the version that the step began with, and objects of names are changed by the rules
// of name_claim.h. A helper that writes B late, after the renaming was undone, leaves it over: no
// header has it, and the helper takes it out.
// Step 3 is one of its own because of the undoing: a helper that still saw another image at B must
// not undo what a faster one has dropped A for.
// In `renamed` the object of B leads to the image, unless it was damaged, or the header was written
// by somebody who may write nothing else. So it is looked at; if B is not to be had, the image is
// renamed back, from B to A. A header alone takes no name from another image.
#include "gateway/metadata/image_rename.h"

#include <optional>
#include <string>
#include <utility>

#include "gateway/image_directory.h"
#include "gateway/metadata/header_object.h"
#include "gateway/metadata/metadata_object.h"
#include "gateway/metadata/name_claim.h"
#include "gateway/metadata/name_object.h"
#include "gateway/metadata/old_directory.h"
#include "gateway/metadata/run_to_done.h"

namespace lunar::gateway {
namespace {

using objecter::OsdErrc;
using objecter::PoolId;
using objecter::PoolInfo;

// That a name is another image's or illegible.
bool is_not_to_be_had(const Error& error) {
  return error.code == OsdErrc::kExists || is_illegible(error.code);
}

bool is_same_renaming(const ImageHeader& one, const ImageHeader& other) {
  return one.name == other.name && one.rename_to == other.rename_to;
}

ImageHeader with_name(ImageHeader header, std::string name) {
  header.name = std::move(name);
  header.rename_to.clear();
  header.state = ImageState::kReady;
  return header;
}

// What came of a step.
struct Step {
  std::optional<ImageHeader> next;  // nothing: something has changed meanwhile; look again
  std::optional<Error> why_undone;  // `next` is on the way back, and why
};

// In `renaming`; and in `renamed` if the object of the new name does not lead to the image.
Task<Outcome<Step>> take_new_name(Client& client, PoolId pool, ImageHeader header) {
  const std::string wanted = header.rename_to;
  const Outcome<bool> taken = co_await try_to_take_name(client, pool, wanted, header.id);
  if (!taken && !is_not_to_be_had(taken.error())) co_return failure(taken.error());
  Step step;
  if (!taken) step.why_undone = taken.error();
  if (header.state == ImageState::kRenaming) {
    if (!taken) {
      step.next = with_name(header, header.name);
    } else if (*taken) {
      header.state = ImageState::kRenamed;
      step.next = header;
    }
  } else if (!taken) {  // back
    std::swap(header.name, header.rename_to);
    header.state = ImageState::kRenaming;
    step.next = header;
  }
  co_return step;
}

// In `renamed`.
Task<Outcome<Step>> drop_old_name(Client& client, PoolId pool, ImageHeader header) {
  const std::string wanted = header.rename_to;
  const Outcome<NameContent> now = co_await read_name(client, pool, wanted);
  if (!now && !is_not_to_be_had(now.error())) co_return failure(now.error());
  if (!now || now->id != header.id) {
    Outcome<Step> step = co_await take_new_name(client, pool, header);
    co_return step;
  }
  const std::string old = header.name;
  const Outcome<void> dropped = co_await drop_unneeded_name(client, pool, old, header.id);
  // An illegible one is a finding of its own, and holds up nothing.
  if (!dropped && !is_not_to_be_had(dropped.error())) co_return failure(dropped.error());
  Step step;
  step.next = with_name(header, wanted);
  co_return step;
}

Task<Outcome<Step>> do_step(Client& client, PoolId pool, ImageHeader header) {
  if (header.state == ImageState::kRenaming) {
    Outcome<Step> step = co_await take_new_name(client, pool, header);
    co_return step;
  }
  Outcome<Step> step = co_await drop_old_name(client, pool, header);
  co_return step;
}

// Names that a step of ours may have written too late. What fails here leaves a name over, which is
// in nobody's way.
Task<bool> drop_late_names(Client& client, PoolId pool, ImageHeader begun) {
  const std::string to = begun.rename_to;
  const std::string from = begun.name;
  const Outcome<void> first = co_await drop_unneeded_name(client, pool, to, begun.id);
  const Outcome<void> second = co_await drop_unneeded_name(client, pool, from, begun.id);
  co_return first.has_value() || second.has_value();
}

Outcome<void> require_renamable(const std::string& pool, const ImageHeader& header) {
  if (auto whole = require_whole(header); !whole) return whole;
  if (header.is_resizing()) {
    return failure(OsdErrc::kBusy, "image '" + header.name +
                                       "' is being resized: wait until that is done, or, if it was "
                                       "interrupted, finish with 'lunar resize " +
                                       pool + "/" + header.name + "'");
  }
  return {};
}

// The image to rename: also one that has lost its old name in a renaming to `to` that was
// interrupted, be it that nobody says whether the old name is there.
Task<Outcome<VersionedHeader>> find_to_rename(Client& client, ImageSpec spec, std::string to) {
  Outcome<VersionedHeader> found = co_await find_header(client, spec);
  const bool is_found = found || found.error().code == OsdErrc::kNotPermitted;
  if (is_found) co_return found;
  const ImageSpec renamed{spec.pool, to};
  Outcome<VersionedHeader> other = co_await find_header(client, renamed);
  const bool is_it = other && other->header.is_renaming() && other->header.name == spec.image &&
                     other->header.rename_to == to;
  if (is_it) co_return other;
  co_return found;
}

// Whether the image that has the name was on its way to another one; it has arrived then.
Task<bool> finish_renaming_of(Client& client, PoolId pool, ImageSpec spec) {
  const Outcome<VersionedHeader> found = co_await find_header(client, spec);
  if (!found || !found->header.is_renaming()) co_return false;
  const Outcome<EndedRenaming> ended = co_await finish_renaming(client, pool, found->header.id);
  co_return ended.has_value();
}

// What must hold before anything changes.
Task<Outcome<void>> check_names(Client& client, PoolInfo pool, std::string from, std::string to) {
  if (!is_valid_image_name(to)) {
    co_return failure(std::errc::invalid_argument,
                      "'" + to +
                          "' is no image name: use 1 to 128 of A-Z a-z 0-9 . _ -, not beginning "
                          "with . or -");
  }
  const Outcome<void> may_drop = co_await require_naming_allowed(client, pool.id, from);
  if (!may_drop) co_return failure(may_drop.error());
  const Outcome<void> may_add = co_await require_naming_allowed(client, pool.id, to);
  if (!may_add) co_return failure(may_add.error());
  Outcome<void> closed = co_await close_old_directory(client, pool);
  co_return closed;
}

// Step 1. It may not have been done: the header has changed, or that is not known.
Task<Outcome<void>> begin_renaming(Client& client, ImageSpec spec, PoolId pool,
                                   VersionedHeader found, std::string to) {
  ImageHeader header = found.header;
  const Outcome<void> renamable = require_renamable(spec.pool, header);
  if (!renamable) co_return failure(renamable.error());
  // Nothing is published that would have to be undone.
  const Outcome<void> free = co_await require_name_free(client, pool, to, header.id);
  if (!free) co_return failure(free.error());
  header.state = ImageState::kRenaming;
  header.rename_to = to;
  const objecter::ObjectVersion version = found.version;
  const std::error_code begun = co_await swap_header(client, pool, header, version);
  if (begun && !must_look_again(begun)) {
    co_return failure(metadata_error(client, "update", header_of(pool, header.id), begun));
  }
  co_return Outcome<void>();
}

// Found by its name once, and from then on by its id: the name may be another image's by then.
Task<Outcome<void>> rename(Client& client, ImageSpec spec, std::string to) {
  const auto found_pool = client.find_pool(spec.pool);
  if (!found_pool) co_return failure(found_pool.error());
  const PoolInfo pool_info = *found_pool;
  const PoolId pool = pool_info.id;
  const Outcome<void> checked = co_await check_names(client, pool_info, spec.image, to);
  if (!checked) co_return failure(checked.error());
  Outcome<VersionedHeader> found = co_await find_to_rename(client, spec, to);
  if (!found) co_return failure(found.error());
  if (to == spec.image) {
    co_return failure(OsdErrc::kExists, "the image has the name '" + to + "' already");
  }
  const ImageId id = found->header.id;
  const ImageSpec owner{spec.pool, to};
  std::string name = spec.image;  // that it must have; the next one after a renaming that was begun
  bool is_begun = false;          // ours may be
  for (int round = 0; round < kMaxSwapRounds; ++round) {
    const VersionedHeader current = *found;
    const ImageHeader& header = current.header;
    // Also if it is being renamed on; but not on its way back.
    const bool has_arrived = header.name == to && header.rename_to != spec.image;
    if (is_begun && has_arrived) co_return Outcome<void>();
    if (!header.has_name(name)) co_return failure(was_renamed(spec, header));
    if (header.is_renaming()) {
      is_begun |= header.rename_to == to;
      const Outcome<EndedRenaming> ended = co_await finish_renaming(client, pool, id);
      if (!ended) co_return failure(ended.error());
      if (ended->header.name == header.rename_to) name = header.rename_to;
    } else {
      const Outcome<void> begun = co_await begin_renaming(client, spec, pool, current, to);
      is_begun |= begun.has_value();
      if (!begun && begun.error().code != OsdErrc::kExists) co_return failure(begun.error());
      if (!begun) {
        const bool was_on_its_way = co_await finish_renaming_of(client, pool, owner);
        if (!was_on_its_way) co_return failure(begun.error());
      }
    }
    Outcome<VersionedHeader> now = co_await read_header(client, pool, id);
    if (!now) co_return failure(now.error());
    found = std::move(now);
  }
  co_return failure(changes_too_often("image '" + spec.image + "'"));
}

}  // namespace

Task<Outcome<EndedRenaming>> finish_renaming(Client& client, PoolId pool, ImageId id) {
  std::optional<ImageHeader> begun;  // the renaming that is finished here
  EndedRenaming ended;
  for (int round = 0; round < kMaxSwapRounds; ++round) {
    const Outcome<VersionedHeader> found = co_await read_header(client, pool, id);
    if (!found && begun && found.error().code == OsdErrc::kNoSuchObject) {  // it was removed
      const std::string late = begun->rename_to;
      const Outcome<void> dropped = co_await drop_name(client, pool, late, id);
      static_cast<void>(dropped);  // as in drop_late_names()
    }
    if (!found) co_return failure(found.error());
    ended.header = found->header;
    const ImageHeader header = found->header;
    if (!header.is_renaming() || (begun && !is_same_renaming(*begun, header))) {
      if (begun) co_await drop_late_names(client, pool, *begun);
      co_return ended;
    }
    begun = header;
    const Outcome<Step> step = co_await do_step(client, pool, header);
    if (!step) co_return failure(step.error());
    if (!step->next) continue;
    const ImageHeader next = *step->next;
    const objecter::ObjectVersion version = found->version;
    const std::error_code error = co_await swap_header(client, pool, next, version);
    if (error && !must_look_again(error)) {
      co_return failure(metadata_error(client, "update", header_of(pool, id), error));
    }
    if (error) continue;
    if (next.is_renaming()) begun = next;
    if (!ended.why_undone) ended.why_undone = step->why_undone;
  }
  co_return failure(changes_too_often("image '" + begun->name + "'"));
}

void rename_image(Client& client, const ImageSpec& spec, const std::string& name,
                  UniqueFunction<void(Outcome<void>)> done) {
  run_to_done(client.center(), rename(client, spec, name), std::move(done));
}

}  // namespace lunar::gateway
