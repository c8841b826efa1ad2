// SPDX-License-Identifier: LGPL-2.1-or-later
// Removing and unregistering: changes of an image that take several steps. Each may be interrupted
// after any of them, and is then finished by doing it again.
#include <algorithm>
#include <utility>

#include "gateway/image_directory.h"
#include "gateway/metadata/header_object.h"
#include "gateway/metadata/holders.h"
#include "gateway/metadata/name_object.h"
#include "gateway/metadata/pool_objects.h"
#include "gateway/metadata/run_to_done.h"
#include "gateway/metadata/trim.h"

namespace lunar::gateway {
namespace {

using objecter::OsdErrc;
using objecter::PoolInfo;

Error is_open(const ImageHeader& header, const char* what, const std::string& who) {
  return {make_error_code(OsdErrc::kBusy), std::string(what) + " image '" + header.name +
                                               "' refused: it is open by " + who +
                                               "; close it there, or fence that gateway with "
                                               "'lunar unregister POOL/IMAGE INSTANCE'"};
}

// Inside the compare-and-swap: nobody has opened it since one looked.
Outcome<void> require_unregistered(const ImageHeader& header, const char* what) {
  if (header.registrations.empty()) return {};
  std::string who;
  for (const auto& each : header.registrations) {
    who += (who.empty() ? "" : ", ") + each.entity + " at " + each.instance;
  }
  return failure(is_open(header, what, who));
}

// Before that: the dead do not count, and readers do.
Task<Outcome<void>> require_closed(Client& client, PoolInfo pool, ImageHeader header,
                                   const char* what) {
  Outcome<std::vector<Holder>> living = co_await find_living(client, pool, header.id);
  if (!living) co_return failure(living.error());
  if (living->empty()) co_return Outcome<void>();
  co_return failure(is_open(header, what, text_of_holders(*living)));
}

// The header may be gone and the name left, from an interrupted removal, which has deleted the data
// before. Ends with `why` if there is no such name either.
Task<Outcome<void>> drop_left_over_name(Client& client, ImageSpec spec, Error why) {
  const auto pool = client.find_pool(spec.pool);
  if (!pool) co_return failure(pool.error());
  const PoolInfo pool_info = *pool;
  const std::string name = spec.image;
  const Outcome<ImageId> named = co_await find_name(client, pool_info, name);
  if (!named) {
    const bool is_absent = named.error().code == OsdErrc::kNoSuchObject;
    co_return failure(is_absent ? why : named.error());
  }
  const ImageId id = *named;
  const Outcome<VersionedHeader> found = co_await read_header(client, pool->id, id);
  if (found) co_return failure(why);  // of another image, that was made meanwhile
  if (found.error().code != OsdErrc::kNoSuchObject) co_return failure(found.error());
  const Outcome<bool> is_lost = co_await has_data(client, pool_info, id);
  if (!is_lost) {
    co_return failure(is_lost.error().code,
                      "image '" + spec.image + "' has no header, and " + is_lost.error().message);
  }
  if (*is_lost) {
    co_return failure(OsdErrc::kCorrupt,
                      "image '" + spec.image +
                          "' has data and no header: it was lost, and is not removed with its "
                          "name; 'lunar scrub " +
                          spec.pool + "' shows what can be done");
  }
  Outcome<void> dropped = co_await drop_name(client, pool->id, name, id);
  co_return dropped;
}

// `imported`: what was created for an import, and no other; 0: any.
Outcome<void> require_removable(const ImageHeader& header, const ImageSpec& spec,
                                ImageId imported) {
  if (header.is_renaming()) return failure(is_being_renamed(spec.pool, header));
  if (imported == 0) return {};
  if (header.id != imported) {
    return failure(OsdErrc::kBusy, "image '" + header.name + "' is another one by now");
  }
  if (!require_whole(header)) return {};
  return failure(OsdErrc::kBusy, "image '" + header.name + "' is whole");
}

Task<Outcome<void>> remove(Client& client, ImageSpec spec, OnProgress on_progress,
                           ImageId imported) {
  const Outcome<VersionedHeader> found = co_await find_header(client, spec);
  if (!found && found.error().code == OsdErrc::kNoSuchObject) {
    Outcome<void> dropped = co_await drop_left_over_name(client, spec, found.error());
    co_return dropped;
  }
  if (!found) co_return failure(found.error());
  const auto pool = client.find_pool(spec.pool);
  if (!pool) co_return failure(pool.error());
  const ImageHeader& header = found->header;
  const Outcome<void> removable = require_removable(header, spec, imported);
  if (!removable) co_return failure(removable.error());

  // Whoever is not allowed to take the name out at the end must not begin.
  const Outcome<void> allowed = co_await require_naming_allowed(client, pool->id, spec.image);
  if (!allowed) co_return failure(allowed.error());
  const Outcome<void> closed = co_await require_closed(client, *pool, header, "removing");
  if (!closed) co_return failure(closed.error());
  // The size is that of now: it may have grown since, and nobody changes it any more.
  ImageHeader removing;
  HeaderEditor mark = [&removing, &spec, imported](ImageHeader& current) -> Outcome<void> {
    if (auto still = require_removable(current, spec, imported); !still) return still;
    if (current.name != spec.image) return failure(was_renamed(spec, current));
    if (auto free = require_unregistered(current, "removing"); !free) return free;
    current.state = ImageState::kRemoving;
    removing = current;
    return {};
  };
  const Outcome<void> marked = co_await update_header(client, pool->id, header.id, std::move(mark));
  if (!marked) co_return failure(marked.error());

  const uint64_t end = std::max(removing.size, removing.trimmed_from);
  const std::error_code trimmed =
      co_await trim_image(client, *pool, removing, 0, end, std::move(on_progress));
  if (trimmed) {
    co_return failure(trimmed, "deleting the data of image '" + spec.image +
                                   "' failed: " + trimmed.message() + "; run it again");
  }
  const Outcome<void> deleted = co_await delete_header(client, pool->id, header.id);
  if (!deleted) co_return failure(deleted.error());
  Outcome<void> dropped = co_await drop_name(client, pool->id, spec.image, header.id);
  co_return dropped;
}

Task<Outcome<void>> finish(Client& client, ImageId id, ImageSpec spec) {
  const auto pool = client.find_pool(spec.pool);
  if (!pool) co_return failure(pool.error());
  Registration mine;
  mine.entity = client.entity();
  mine.instance = client.instance();
  mine.nonce = client.nonce();
  HeaderEditor make_whole = [&mine](ImageHeader& current) -> Outcome<void> {
    const auto& all = current.registrations;
    const bool is_ours = std::any_of(all.begin(), all.end(),
                                     [&mine](const auto& each) { return each.is_of_start(mine); });
    const bool is_done = current.state == ImageState::kReady;
    if (!is_ours || !(is_done || current.state == ImageState::kImporting)) {
      return failure(OsdErrc::kFenced,
                     "the import of image '" + current.name + "' was ended by somebody else");
    }
    current.state = ImageState::kReady;
    return {};
  };
  Outcome<void> finished = co_await update_header(client, pool->id, id, std::move(make_whole));
  co_return finished;
}

Task<Outcome<void>> strike(Client& client, ImageSpec spec, std::string instance) {
  const Outcome<VersionedHeader> found = co_await find_header(client, spec);
  if (!found) co_return failure(found.error());
  const auto pool = client.find_pool(spec.pool);
  if (!pool) co_return failure(pool.error());
  std::vector<Registration> theirs;
  for (const Registration& each : found->header.registrations)
    if (each.instance == instance) theirs.push_back(each);
  if (theirs.empty()) {
    co_return failure(std::errc::invalid_argument, "image '" + found->header.name +
                                                       "' has no registration of '" + instance +
                                                       "': see 'lunar info'");
  }
  const PoolInfo pool_info = *pool;
  Outcome<void> struck = co_await fence_and_strike(client, pool_info, found->header.id, theirs);
  co_return struck;
}

}  // namespace

void remove_image(Client& client, const ImageSpec& spec, OnProgress on_progress,
                  UniqueFunction<void(Outcome<void>)> done) {
  run_to_done(client.center(), remove(client, spec, std::move(on_progress), 0), std::move(done));
}

void finish_import(Client& client, ImageId id, const ImageSpec& spec,
                   UniqueFunction<void(Outcome<void>)> done) {
  run_to_done(client.center(), finish(client, id, spec), std::move(done));
}

void abandon_import(Client& client, ImageId id, const ImageSpec& spec,
                    UniqueFunction<void(Outcome<void>)> done) {
  run_to_done(client.center(), remove(client, spec, {}, id), std::move(done));
}

void unregister(Client& client, const ImageSpec& spec, const std::string& instance,
                UniqueFunction<void(Outcome<void>)> done) {
  run_to_done(client.center(), strike(client, spec, instance), std::move(done));
}

}  // namespace lunar::gateway
