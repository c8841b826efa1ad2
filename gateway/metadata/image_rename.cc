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
#include "gateway/metadata/image_rename.h"

#include <optional>
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

// The object of the new name, or that of the old one, as the state wants it. The header that comes
// of it; nothing: look again. `why_undone` gets the reason if that is an undoing.
Task<Outcome<std::optional<ImageHeader>>> do_step(Client& client, PoolId pool,
                                                  VersionedHeader found,
                                                  std::optional<Error>& why_undone) {
  ImageHeader next = found.header;
  const ImageId id = next.id;
  const std::string wanted = next.rename_to;
  if (next.state == ImageState::kRenaming) {
    const Outcome<bool> taken = co_await try_to_take_name(client, pool, wanted, id);
    if (!taken && taken.error().code != OsdErrc::kExists) co_return failure(taken.error());
    if (taken && !*taken) co_return std::optional<ImageHeader>();
    if (taken) {
      next.state = ImageState::kRenamed;
      co_return std::optional<ImageHeader>(std::move(next));
    }
    why_undone = taken.error();
  } else {
    const Outcome<bool> dropped = co_await drop_old_name(client, pool, found);
    if (!dropped) co_return failure(dropped.error());
    if (!*dropped) co_return std::optional<ImageHeader>();
    next.name = wanted;
  }
  next.rename_to.clear();
  next.state = ImageState::kReady;
  co_return std::optional<ImageHeader>(std::move(next));
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
// interrupted.
Task<Outcome<VersionedHeader>> find_to_rename(Client& client, ImageSpec spec, std::string to) {
  Outcome<VersionedHeader> found = co_await find_header(client, spec);
  if (found || found.error().code != OsdErrc::kNoSuchObject) co_return found;
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
  if (to == from)
    co_return failure(OsdErrc::kExists, "the image has the name '" + to + "' already");
  const Outcome<void> may_drop = co_await require_naming_allowed(client, pool.id, from);
  if (!may_drop) co_return failure(may_drop.error());
  const Outcome<void> may_add = co_await require_naming_allowed(client, pool.id, to);
  if (!may_add) co_return failure(may_add.error());
  Outcome<void> closed = co_await close_old_directory(client, pool);
  co_return closed;
}

Task<Outcome<void>> rename(Client& client, ImageSpec spec, std::string to) {
  const auto pool = client.find_pool(spec.pool);
  if (!pool) co_return failure(pool.error());
  const PoolInfo pool_info = *pool;
  const Outcome<void> checked = co_await check_names(client, pool_info, spec.image, to);
  if (!checked) co_return failure(checked.error());
  for (int round = 0; round < kMaxRounds; ++round) {
    const Outcome<VersionedHeader> found = co_await find_to_rename(client, spec, to);
    if (!found) co_return failure(found.error());
    ImageHeader header = found->header;
    const Outcome<void> renamable = require_renamable(spec.pool, header);
    if (!renamable) co_return failure(renamable.error());
    if (!header.is_renaming()) {
      header.state = ImageState::kRenaming;
      header.rename_to = to;
      const objecter::ObjectVersion version = found->version;
      const std::error_code begun = co_await swap_header(client, pool->id, header, version);
      if (must_look_again(begun)) continue;
      const ObjectId object = header_of(pool->id, header.id);
      if (begun) co_return failure(metadata_error(client, "update", object, begun));
    }
    const bool is_ours = header.name == spec.image && header.rename_to == to;
    const Outcome<ImageHeader> finished = co_await finish_renaming(client, pool->id, header.id);
    const bool is_taken = !finished && finished.error().code == OsdErrc::kExists;
    if (!finished && !is_taken) co_return failure(finished.error());
    if (!is_ours) {
      // If it was undone, or the image renamed on since, the name that was given has to be there.
      if (finished && finished->name == header.rename_to) spec.image = header.rename_to;
      continue;
    }
    if (is_taken) {
      const ImageSpec owner{spec.pool, to};
      const Outcome<bool> was_renamed = co_await finish_renaming_of(client, owner);
      if (was_renamed && *was_renamed) continue;
      co_return failure(finished.error());
    }
    if (finished->name == to) co_return Outcome<void>();
    if (finished->name == spec.image)
      continue;  // undone by a helper: whether `to` is taken we see now
    co_return failure(OsdErrc::kBusy, "image '" + spec.image + "' was renamed to '" +
                                          finished->name + "' by somebody else meanwhile");
  }
  co_return failure(changes_too_often(spec.image));
}

}  // namespace

Task<Outcome<ImageHeader>> finish_renaming(Client& client, PoolId pool, ImageId id) {
  std::optional<ImageHeader> begun;  // the renaming that is finished here
  for (int round = 0; round < kMaxRounds; ++round) {
    const Outcome<VersionedHeader> found = co_await read_header(client, pool, id);
    if (!found) co_return failure(found.error());
    const VersionedHeader current = *found;
    const ImageHeader& header = current.header;
    const bool is_over =
        !header.is_renaming() ||
        (begun && (begun->name != header.name || begun->rename_to != header.rename_to));
    if (is_over) {
      if (begun && !header.has_name(begun->rename_to)) {
        const std::string left_over = begun->rename_to;
        const Outcome<void> dropped = co_await drop_stale_name(client, pool, left_over, id);
        static_cast<void>(dropped);  // it is in nobody's way
      }
      co_return header;
    }
    begun = header;
    std::optional<Error> why_undone;
    const Outcome<std::optional<ImageHeader>> next =
        co_await do_step(client, pool, current, why_undone);
    if (!next) co_return failure(next.error());
    if (!*next) continue;
    const ImageHeader changed = **next;
    const objecter::ObjectVersion version = current.version;
    const std::error_code error = co_await swap_header(client, pool, changed, version);
    if (error && !must_look_again(error)) {
      co_return failure(metadata_error(client, "update", header_of(pool, id), error));
    }
    if (!error && why_undone) co_return failure(*why_undone);
  }
  co_return failure(changes_too_often(begun->name));
}

void rename_image(Client& client, const ImageSpec& spec, const std::string& name,
                  UniqueFunction<void(Outcome<void>)> done) {
  run_to_done(client.center(), rename(client, spec, name), std::move(done));
}

}  // namespace lunar::gateway
