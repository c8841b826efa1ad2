// SPDX-License-Identifier: LGPL-2.1-or-later
// Renaming an image from A to B:
// 1. header: ready -> renaming, to B. A leads to the image.
// 2. The object of B is written. If another image has B: header -> ready, and kExists.
// 3. header: renaming -> renamed. From here on B leads to the image, and nothing is undone.
// 4. The object of A is deleted.
// 5. header: name B, ready.
// Whoever finds a renaming may do its next step, at the same time as others, or late. So each step
// rests on the version of the header that it began with: the header is swapped at that version. The
// object of A is read first, then the header is found at that version, and what is deleted is the
// version of A's object that was read: a later renaming back to A has written it anew in its step
// 2, before it rested on it. The object of B is read after the header, so a late helper finds it
// changed by whoever did step 2, unless the renaming was undone meanwhile: then B is left over, no
// header has it, and the helper takes it out. name_claim.h has the rules.
// Step 3 is one of its own because of the undoing: a helper that still saw another image at B must
// not undo what a faster one has dropped A for.
// In `renamed` the object of B leads to the image, unless it was damaged or the header was written
// by somebody who may only do that. It is looked at, and if B is not to be had, A is written anew
// and the renaming undone: a header alone takes no name from another image, nor its own from its
// image.
#include "gateway/metadata/image_rename.h"

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gateway/image_directory.h"
#include "gateway/metadata/header_object.h"
#include "gateway/metadata/metadata_object.h"
#include "gateway/metadata/name_claim.h"
#include "gateway/metadata/name_object.h"
#include "gateway/metadata/old_directory.h"
#include "gateway/metadata/run_to_done.h"

namespace lunar::gateway {
namespace {

using objecter::ObjectId;
using objecter::OsdErrc;
using objecter::PoolId;
using objecter::PoolInfo;

constexpr int kMaxRounds = 64;

Error changes_too_often(const std::string& name) {
  return {make_error_code(OsdErrc::kBusy),
          "image '" + name + "' changes all the time: repeat the command"};
}

// Step 4. False: the header has changed since it was found, or the name has.
Task<Outcome<bool>> drop_old_name(Client& client, PoolId pool, VersionedHeader found) {
  const ObjectId object = name_object_of(pool, found.header.name);
  const uint64_t io_id = client.next_io_id();
  const Result<MetadataContent> content = co_await read_metadata(client, object, io_id);
  if (!content) co_return failure(metadata_error(client, "read", object, content.error()));
  if (!content->exists) co_return true;
  const auto named = decode_name(content->text, object.name);
  if (!named) co_return failure(named.error());
  if (*named != found.header.id) co_return true;  // another image has the name by now
  const ObjectId header = header_of(pool, found.header.id);
  const Result<bool> changed = co_await has_metadata_changed(client, header, found.version, io_id);
  if (!changed) co_return failure(metadata_error(client, "read", header, changed.error()));
  if (*changed) co_return false;
  const objecter::ObjectVersion version = content->version;
  const std::error_code error =
      co_await swap_metadata(client, object, version, std::nullopt, io_id);
  if (must_look_again(error)) co_return false;
  if (error) co_return failure(metadata_error(client, "update", object, error));
  co_return true;
}

// That B is another image's or illegible. The renaming is to be undone then.
bool is_not_to_be_had(const Error& error) {
  return error.code == OsdErrc::kExists || error.code == OsdErrc::kCorrupt ||
         error.code == OsdErrc::kIncompatible;
}

// Whether the object of the new name leads to the image.
Task<Outcome<bool>> has_new_name(Client& client, PoolId pool, ImageHeader header) {
  const ObjectId object = name_object_of(pool, header.rename_to);
  const uint64_t io_id = client.next_io_id();
  const Result<MetadataContent> content = co_await read_metadata(client, object, io_id);
  if (!content) co_return failure(metadata_error(client, "read", object, content.error()));
  if (!content->exists) co_return false;
  const auto named = decode_name(content->text, object.name);
  co_return named&&* named == header.id;
}

// What came of a step.
struct Step {
  bool is_done = false;             // otherwise something has changed meanwhile: look again
  std::optional<Error> why_undone;  // B is not to be had
};

// Step 2; in `renamed` what it has left to do.
Task<Outcome<Step>> take_new_name(Client& client, PoolId pool, ImageHeader header) {
  const std::string wanted = header.rename_to;
  const Outcome<bool> taken = co_await try_to_take_name(client, pool, wanted, header.id);
  if (taken) co_return Step{*taken, std::nullopt};
  if (!is_not_to_be_had(taken.error())) co_return failure(taken.error());
  co_return Step{true, taken.error()};
}

// Of a renaming in `renamed` whose B does not lead to the image.
Task<Outcome<Step>> mend_new_name(Client& client, PoolId pool, VersionedHeader found) {
  const ImageHeader header = found.header;
  const ObjectId object = header_of(pool, header.id);
  const objecter::ObjectVersion version = found.version;
  const uint64_t io_id = client.next_io_id();
  const Result<bool> changed = co_await has_metadata_changed(client, object, version, io_id);
  if (!changed) co_return failure(metadata_error(client, "read", object, changed.error()));
  if (*changed) co_return Step();
  const Outcome<Step> taken = co_await take_new_name(client, pool, header);
  if (!taken) co_return failure(taken.error());
  if (!taken->why_undone) co_return Step();
  const std::string old = header.name;
  const Outcome<void> kept = co_await take_name(client, pool, old, header.id);
  if (!kept && !is_not_to_be_had(kept.error())) co_return failure(kept.error());
  if (!kept) {
    co_return failure(OsdErrc::kInvalid,
                      "image " + image_id_text(header.id) + " was renamed from '" + old + "' to '" +
                          header.rename_to +
                          "', and neither name is to be had for it: 'lunar scrub POOL' shows "
                          "what can be done");
  }
  co_return *taken;
}

// Steps 3 and 5, or an undoing: the header that comes of what was done; with the rest.
ImageHeader header_after(ImageHeader header, const Step& step) {
  if (!step.why_undone && header.state == ImageState::kRenaming) {
    header.state = ImageState::kRenamed;
    return header;
  }
  if (!step.why_undone) header.name = header.rename_to;
  header.rename_to.clear();
  header.state = ImageState::kReady;
  return header;
}

Task<Outcome<Step>> do_step(Client& client, PoolId pool, VersionedHeader found) {
  const ImageHeader header = found.header;
  if (header.state == ImageState::kRenaming) {
    Outcome<Step> taken = co_await take_new_name(client, pool, header);
    co_return taken;
  }
  const Outcome<bool> has_name = co_await has_new_name(client, pool, header);
  if (!has_name) co_return failure(has_name.error());
  if (!*has_name) {
    Outcome<Step> mended = co_await mend_new_name(client, pool, found);
    co_return mended;
  }
  const Outcome<bool> dropped = co_await drop_old_name(client, pool, found);
  if (!dropped) co_return failure(dropped.error());
  co_return Step{*dropped, std::nullopt};
}

// Names that a step of ours may have written too late.
Task<bool> drop_late_names(Client& client, PoolId pool, ImageHeader begun) {
  const std::vector<std::string> names{begun.rename_to, begun.name};
  for (std::size_t i = 0; i < names.size(); ++i) {
    const std::string name = names[i];
    const Outcome<void> dropped = co_await drop_stale_name(client, pool, name, begun.id);
    static_cast<void>(dropped);  // it is in nobody's way
  }
  co_return true;
}

Outcome<void> require_renamable(const std::string& pool, const ImageHeader& header) {
  if (header.state == ImageState::kRemoving) {
    return failure(OsdErrc::kBusy,
                   "image '" + header.name + "' is being removed: finish with 'lunar rm'");
  }
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

// The image that has the name may be on its way to another one. False: it is not.
Task<Outcome<bool>> finish_renaming_of(Client& client, ImageSpec spec) {
  const Outcome<VersionedHeader> found = co_await find_header(client, spec);
  if (!found || !found->header.is_renaming()) co_return false;
  const auto pool = client.find_pool(spec.pool);
  if (!pool) co_return failure(pool.error());
  const Outcome<ImageHeader> finished =
      co_await finish_renaming(client, pool->id, found->header.id);
  if (!finished && finished.error().code != OsdErrc::kExists) co_return failure(finished.error());
  co_return true;
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

// Step 1, if the image is `ready`. False: the header has changed since it was found.
Task<Outcome<bool>> begin(Client& client, ImageSpec spec, VersionedHeader found, std::string to) {
  const auto pool = client.find_pool(spec.pool);
  if (!pool) co_return failure(pool.error());
  const PoolId pool_id = pool->id;
  ImageHeader header = found.header;
  if (header.is_renaming()) co_return true;
  const Outcome<void> renamable = require_renamable(spec.pool, header);
  if (!renamable) co_return failure(renamable.error());
  // Nothing is published that cannot be: an illegible name would have to be undone.
  const Outcome<void> free = co_await require_name_free(client, pool_id, to, header.id);
  if (!free) co_return failure(free.error());
  header.state = ImageState::kRenaming;
  header.rename_to = to;
  const objecter::ObjectVersion version = found.version;
  const std::error_code begun = co_await swap_header(client, pool_id, header, version);
  if (must_look_again(begun)) co_return false;
  const ObjectId object = header_of(pool_id, header.id);
  if (begun) co_return failure(metadata_error(client, "update", object, begun));
  co_return true;
}

// Found by its name once, and from then on by its id: the name may be another image's by then.
Task<Outcome<void>> rename(Client& client, ImageSpec spec, std::string to) {
  const auto pool = client.find_pool(spec.pool);
  if (!pool) co_return failure(pool.error());
  const PoolInfo pool_info = *pool;
  const Outcome<void> checked = co_await check_names(client, pool_info, spec.image, to);
  if (!checked) co_return failure(checked.error());
  const Outcome<VersionedHeader> first = co_await find_to_rename(client, spec, to);
  if (!first) co_return failure(first.error());
  if (to == spec.image) {
    co_return failure(OsdErrc::kExists, "the image has the name '" + to + "' already");
  }
  const ImageId id = first->header.id;
  VersionedHeader found = *first;
  std::string name = spec.image;  // that it must have; another one once a renaming was finished
  bool may_be_done = false;       // we, or whoever helped us, may have given it the new name
  for (int round = 0; round < kMaxRounds; ++round) {
    const ImageHeader& header = found.header;
    if (may_be_done && !header.is_renaming() && header.name == to) co_return Outcome<void>();
    if (!header.has_name(name)) co_return failure(was_renamed(spec, header));
    const Outcome<bool> begun = co_await begin(client, spec, found, to);
    const bool is_taken = !begun && begun.error().code == OsdErrc::kExists;
    if (!begun && !is_taken) co_return failure(begun.error());
    Outcome<void> undone;
    if (begun) {
      const bool is_ours = !header.is_renaming() || header.rename_to == to;
      may_be_done |= is_ours;
      const std::string coming = header.rename_to;
      const Outcome<ImageHeader> finished = co_await finish_renaming(client, pool_info.id, id);
      const bool was_undone = !finished && is_not_to_be_had(finished.error());
      if (!finished && !was_undone) co_return failure(finished.error());
      if (finished && !is_ours && finished->name == coming) name = coming;
      if (was_undone && is_ours) undone = failure(finished.error());
    } else {
      undone = failure(begun.error());
    }
    if (!undone) {
      const ImageSpec owner{spec.pool, to};
      const Outcome<bool> was_on_its_way = co_await finish_renaming_of(client, owner);
      if (!was_on_its_way || !*was_on_its_way) co_return failure(undone.error());
    }
    const Outcome<VersionedHeader> now = co_await read_header(client, pool_info.id, id);
    if (!now) co_return failure(now.error());
    found = *now;
  }
  co_return failure(changes_too_often(spec.image));
}

}  // namespace

Task<Outcome<ImageHeader>> finish_renaming(Client& client, PoolId pool, ImageId id) {
  std::optional<ImageHeader> begun;  // the renaming that is finished here
  for (int round = 0; round < kMaxRounds; ++round) {
    const Outcome<VersionedHeader> found = co_await read_header(client, pool, id);
    if (!found && begun && found.error().code == OsdErrc::kNoSuchObject) {  // it was removed
      const std::string late = begun->rename_to;
      const Outcome<void> dropped = co_await drop_name(client, pool, late, id);
      static_cast<void>(dropped);
    }
    if (!found) co_return failure(found.error());
    const VersionedHeader current = *found;
    const ImageHeader& header = current.header;
    const bool is_over =
        !header.is_renaming() ||
        (begun && (begun->name != header.name || begun->rename_to != header.rename_to));
    if (is_over && begun) {
      const ImageHeader was = *begun;
      co_await drop_late_names(client, pool, was);
    }
    if (is_over) co_return header;
    begun = header;
    const Outcome<Step> step = co_await do_step(client, pool, current);
    if (!step) co_return failure(step.error());
    if (!step->is_done) continue;
    const ImageHeader changed = header_after(header, *step);
    const objecter::ObjectVersion version = current.version;
    const std::error_code error = co_await swap_header(client, pool, changed, version);
    if (error && !must_look_again(error)) {
      co_return failure(metadata_error(client, "update", header_of(pool, id), error));
    }
    if (!error && step->why_undone) co_return failure(*step->why_undone);
  }
  co_return failure(changes_too_often(begun->name));
}

void rename_image(Client& client, const ImageSpec& spec, const std::string& name,
                  UniqueFunction<void(Outcome<void>)> done) {
  run_to_done(client.center(), rename(client, spec, name), std::move(done));
}

}  // namespace lunar::gateway
