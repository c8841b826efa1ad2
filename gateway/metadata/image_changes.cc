// SPDX-License-Identifier: LGPL-2.1-or-later
// Removing, resizing and unregistering: the changes of an image that take several steps. Each may
// be interrupted after any of them, and is then finished by doing it again.
#include <algorithm>
#include <utility>

#include "gateway/image_directory.h"
#include "gateway/metadata/fence.h"
#include "gateway/metadata/header_object.h"
#include "gateway/metadata/holders.h"
#include "gateway/metadata/name_object.h"
#include "gateway/metadata/open_header.h"
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
// `own_cookie`: a watch of the caller, or 0.
Task<Outcome<void>> require_closed(Client& client, PoolInfo pool, ImageHeader header,
                                   const char* what, uint64_t own_cookie) {
  Outcome<std::vector<Holder>> living = co_await find_living(client, pool, header.id);
  if (!living) co_return failure(living.error());
  std::erase_if(*living, [own_cookie](const Holder& each) {
    return own_cookie != 0 && each.registration.cookie == own_cookie;
  });
  if (living->empty()) co_return Outcome<void>();
  co_return failure(is_open(header, what, names_of(*living)));
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
  const std::string prefix = image_id_text(id) + ".";
  const PoolObjects data = co_await list_objects(client, pool_info, prefix);
  if (!data.names.empty()) {
    co_return failure(OsdErrc::kCorrupt,
                      "image '" + spec.image +
                          "' has data and no header: it was "
                          "lost, and is not removed with its name; 'lunar scrub " +
                          spec.pool + "' shows what can be done");
  }
  if (!data.unlisted.empty()) {
    co_return failure(data.unlisted.front().error, "image '" + spec.image +
                                                       "' has no header, and "
                                                       "osd." +
                                                       std::to_string(data.unlisted.front().osd) +
                                                       " does not say whether it "
                                                       "has data (" +
                                                       data.unlisted.front().error.message() +
                                                       "): start it first");
  }
  Outcome<void> dropped = co_await drop_name(client, pool->id, name, id);
  co_return dropped;
}

Task<Outcome<void>> remove(Client& client, ImageSpec spec, OnProgress on_progress) {
  const Outcome<VersionedHeader> found = co_await find_header(client, spec);
  if (!found && found.error().code == OsdErrc::kNoSuchObject) {
    Outcome<void> dropped = co_await drop_left_over_name(client, spec, found.error());
    co_return dropped;
  }
  if (!found) co_return failure(found.error());
  const auto pool = client.find_pool(spec.pool);
  if (!pool) co_return failure(pool.error());
  const ImageHeader& header = found->header;

  const Outcome<void> closed = co_await require_closed(client, *pool, header, "removing", 0);
  if (!closed) co_return failure(closed.error());
  HeaderEditor mark = [](ImageHeader& current) -> Outcome<void> {
    if (auto free = require_unregistered(current, "removing"); !free) return free;
    current.state = ImageState::kRemoving;
    return {};
  };
  const Outcome<void> marked = co_await update_header(client, pool->id, header.id, std::move(mark));
  if (!marked) co_return failure(marked.error());

  const uint64_t end = std::max(header.size, header.trimmed_from);
  const std::error_code trimmed =
      co_await trim_image(client, pool->id, header, 0, end, std::move(on_progress));
  if (trimmed) {
    co_return failure(trimmed, "deleting the data of image '" + spec.image +
                                   "' failed: " + trimmed.message() + "; run it again");
  }
  const Outcome<void> deleted = co_await delete_header(client, pool->id, header.id);
  if (!deleted) co_return failure(deleted.error());
  Outcome<void> dropped = co_await drop_name(client, pool->id, spec.image, header.id);
  co_return dropped;
}

// What has to be cleared on the way from this header to `size` bytes; empty: nothing. An earlier
// shrink may have been interrupted: then there is data beyond the end of this header.
struct StaleRange {
  uint64_t from = 0;
  uint64_t to = 0;
};
StaleRange stale_range(const ImageHeader& header, uint64_t size) {
  if (size < header.size) return {size, header.size};
  const uint64_t old_data_end =
      size == header.size ? header.trimmed_from : std::min(size, header.trimmed_from);
  if (old_data_end > header.size) return {header.size, old_data_end};
  return {};
}

Error shrinks(const ImageSpec& spec, const ImageHeader& header, uint64_t size) {
  return {make_error_code(OsdErrc::kNotPermitted),
          "image '" + spec.image + "' has " + std::to_string(header.size) + " bytes: making it " +
              std::to_string(header.size - size) +
              " bytes smaller destroys the data at its end; if that is meant, repeat with "
              "--allow-shrink"};
}

// A resizer whose process has ended is fenced and struck; one of ours that failed is struck: all
// its ops have ended. kBusy if it lives.
Task<Outcome<void>> strike_dead_resizer(Client& client, PoolInfo pool, ImageHeader header,
                                        Registration mine) {
  const Registration other = *header.resizer;
  header.registrations = {other};
  const Outcome<std::vector<Holder>> holders = co_await find_holders(client, pool.id, header);
  if (!holders) co_return failure(holders.error());
  const bool is_left_over = other.is_of_start(mine) && !holders->front().is_connected;
  if (!is_left_over && !holders->front().is_dead) {
    co_return failure(OsdErrc::kBusy, "image '" + header.name + "' is being resized by " +
                                          names_of({holders->front()}) + ": wait until it is done");
  }
  if (!is_left_over) {
    const Outcome<void> fenced = co_await fence_start(client, pool, other);
    if (!fenced) co_return failure(fenced.error());
  }
  HeaderEditor strike = [&other](ImageHeader& current) -> Outcome<void> {
    if (current.resizer == other) current.resizer.reset();
    return {};
  };
  Outcome<void> struck = co_await update_header(client, pool.id, header.id, std::move(strike));
  co_return struck;
}

// Makes `mine` the resizer, and publishes a smaller size in the same step: whoever opens the image
// from now on has the new size. Gives the header as it was before.
Task<Outcome<ImageHeader>> begin_resize(Client& client, PoolInfo pool, ImageSpec spec, ImageId id,
                                        ResizeOptions options, Registration mine) {
  for (;;) {
    ImageHeader before;
    HeaderEditor edit = [&](ImageHeader& current) -> Outcome<void> {
      if (current.state == ImageState::kRemoving) {
        return failure(OsdErrc::kBusy,
                       "image '" + current.name + "' is being removed: finish with 'lunar rm'");
      }
      if (current.resizer && current.resizer->cookie == mine.cookie) return {};  // it is done
      before = current;
      if (current.resizer) return failure(OsdErrc::kBusy, "another resizer");
      if (options.size < current.size) {
        if (auto free = require_unregistered(current, "shrinking"); !free) return free;
        if (!options.allows_shrink) return failure(shrinks(spec, current, options.size));
        current.trimmed_from = std::max(current.trimmed_from, current.size);
        current.size = options.size;
      }
      current.resizer = mine;
      return {};
    };
    const Outcome<void> begun = co_await update_header(client, pool.id, id, std::move(edit));
    if (begun) co_return before;
    if (!before.resizer) co_return failure(begun.error());
    const Outcome<void> struck = co_await strike_dead_resizer(client, pool, before, mine);
    if (!struck) co_return failure(struck.error());
  }
}

// A smaller size is published before the end is cleared, so that a shrink which is refused has
// cleared nothing; a larger one after it.
Task<Outcome<void>> resize_watched(Client& client, PoolInfo pool, ImageSpec spec, ImageId id,
                                   ResizeOptions options, Registration mine,
                                   OnProgress on_progress) {
  const Outcome<ImageHeader> before = co_await begin_resize(client, pool, spec, id, options, mine);
  if (!before) co_return failure(before.error());
  const StaleRange stale = stale_range(*before, options.size);
  if (stale.from < stale.to) {
    const std::error_code trimmed =
        co_await trim_image(client, pool.id, *before, stale.from, stale.to, std::move(on_progress));
    if (trimmed) {
      co_return failure(trimmed, "clearing image '" + spec.image + "' from its old end failed: " +
                                     trimmed.message() + "; repeat the command");
    }
  }
  HeaderEditor finish = [&](ImageHeader& current) -> Outcome<void> {
    if (!current.resizer) return {};  // it is done
    if (current.resizer->cookie != mine.cookie) {
      return failure(OsdErrc::kFenced,
                     "resizing image '" + current.name + "' was taken over by another resize");
    }
    current.size = options.size;
    current.resizer.reset();
    return {};
  };
  Outcome<void> finished = co_await update_header(client, pool.id, id, std::move(finish));
  if (finished) {  // a gateway that does not hear of it finds out by its poll
    const auto told = co_await tell_of_change(client, pool.id, id);
    static_cast<void>(told);
  }
  co_return finished;
}

// `header` is as it was found, `mine` the watch of the caller on it.
Task<Outcome<void>> resize_found(Client& client, ImageSpec spec, ImageHeader header,
                                 ResizeOptions options, Registration mine, OnProgress on_progress) {
  const auto pool = client.find_pool(spec.pool);
  if (!pool) co_return failure(pool.error());
  if (options.size < header.size) {
    const Outcome<void> closed =
        co_await require_closed(client, *pool, header, "shrinking", mine.cookie);
    if (!closed) co_return failure(closed.error());
    if (!options.allows_shrink) co_return failure(shrinks(spec, header, options.size));
  }
  Outcome<void> resized = co_await resize_watched(client, *pool, spec, header.id, options, mine,
                                                  std::move(on_progress));
  co_return resized;
}

Task<Outcome<void>> resize(Client& client, ImageSpec spec, ResizeOptions options,
                           OnProgress on_progress) {
  if (auto r = validate_image_size(options.size); !r) co_return failure(r.error());
  const OpenOptions reading{.read_only = true};
  msgr::Completion<Outcome<std::shared_ptr<OpenHeader>>> opened;
  OpenHeader::open(client, spec, reading, opened.callback());
  const Outcome<std::shared_ptr<OpenHeader>> found = co_await opened;
  if (!found) co_return failure(found.error());
  const std::shared_ptr<OpenHeader> watch = *found;
  const ImageHeader header = watch->header();
  const Registration mine = watch->registration();
  Outcome<void> resized =
      co_await resize_found(client, spec, header, options, mine, std::move(on_progress));
  watch->stop();
  watch->strike({});
  co_return resized;
}

Task<Outcome<void>> strike(Client& client, ImageSpec spec, std::string instance) {
  const Outcome<VersionedHeader> found = co_await find_header(client, spec);
  if (!found) co_return failure(found.error());
  const auto pool = client.find_pool(spec.pool);
  if (!pool) co_return failure(pool.error());
  for (std::size_t i = 0; i < found->header.registrations.size(); ++i) {
    const Registration who = found->header.registrations[i];
    if (who.instance != instance) continue;
    const Outcome<void> fenced = co_await fence_start(client, *pool, who);
    if (!fenced) co_return failure(fenced.error());
  }
  HeaderEditor edit = [&instance](ImageHeader& header) -> Outcome<void> {
    const auto erased = std::erase_if(
        header.registrations, [&](const Registration& each) { return each.instance == instance; });
    if (erased != 0) return {};
    return failure(
        std::errc::invalid_argument,
        "image '" + header.name + "' has no registration of '" + instance + "': see 'lunar info'");
  };
  Outcome<void> struck =
      co_await update_header(client, pool->id, found->header.id, std::move(edit));
  if (struck) tell_of_change_later(client, pool->id, found->header.id);
  co_return struck;
}

}  // namespace

void remove_image(Client& client, const ImageSpec& spec, OnProgress on_progress,
                  UniqueFunction<void(Outcome<void>)> done) {
  run_to_done(client.center(), remove(client, spec, std::move(on_progress)), std::move(done));
}

void resize_image(Client& client, const ImageSpec& spec, const ResizeOptions& options,
                  OnProgress on_progress, UniqueFunction<void(Outcome<void>)> done) {
  run_to_done(client.center(), resize(client, spec, options, std::move(on_progress)),
              std::move(done));
}

void unregister(Client& client, const ImageSpec& spec, const std::string& instance,
                UniqueFunction<void(Outcome<void>)> done) {
  run_to_done(client.center(), strike(client, spec, instance), std::move(done));
}

}  // namespace lunar::gateway
