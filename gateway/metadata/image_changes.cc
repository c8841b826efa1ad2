// SPDX-License-Identifier: LGPL-2.1-or-later
// Removing, resizing and unregistering: the changes of an image that take several steps. Each may
// be interrupted after any of them, and is then finished by doing it again.
#include <algorithm>
#include <utility>

#include "gateway/image_directory.h"
#include "gateway/metadata/directory_object.h"
#include "gateway/metadata/header_object.h"
#include "gateway/metadata/pool_objects.h"
#include "gateway/metadata/run_to_done.h"
#include "gateway/metadata/trim.h"

namespace lunar::gateway {
namespace {

using objecter::OsdErrc;
using objecter::PoolId;

Outcome<void> require_unregistered(const ImageHeader& header, const char* what) {
  if (header.registrations.empty()) return {};
  std::string who;
  for (const auto& each : header.registrations) {
    who += (who.empty() ? "" : ", ") + each.entity + " at " + each.instance;
  }
  return failure(OsdErrc::kBusy, std::string(what) + " image '" + header.name +
                                     "' refused: it is open by " + who +
                                     "; close it there, or strike a dead gateway with 'lunar "
                                     "unregister POOL/IMAGE INSTANCE'");
}

// The header may be gone and the name left, from an interrupted removal, which has deleted the data
// before. Ends with `why` if there is no such name either.
Task<Outcome<void>> drop_left_over_name(Client& client, ImageSpec spec, Error why) {
  const auto pool = client.find_pool(spec.pool);
  if (!pool) co_return failure(pool.error());
  const Outcome<Directory> directory = co_await read_directory(client, pool->id);
  if (!directory) co_return failure(directory.error());
  const auto named = directory->find(spec.image);
  if (named == directory->end()) co_return failure(why);
  const std::string prefix = image_id_text(named->second) + ".";
  const PoolObjects data = co_await list_objects(client, *pool, prefix);
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
  bool was_there = false;
  DirectoryEditor edit = [&](Directory& directory) -> Outcome<bool> {
    was_there = directory.erase(spec.image) != 0 || was_there;
    return was_there;
  };
  const Outcome<void> dropped = co_await update_directory(client, pool->id, std::move(edit));
  if (!dropped) co_return failure(dropped.error());
  if (!was_there) co_return failure(why);
  co_return Outcome<void>();
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

// What has to be cleared before an image of this header may have `size` bytes; empty: nothing.
struct StaleRange {
  uint64_t from = 0;
  uint64_t to = 0;
};
StaleRange stale_range(const ImageHeader& header, uint64_t size) {
  if (size < header.size) return {size, header.size};
  const uint64_t old_data_end = std::min(size, header.trimmed_from);
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

// A smaller size is published before the end is cleared: whoever opens the image meanwhile has the
// new size, and a shrink that is refused has cleared nothing. A larger one after it.
Task<Outcome<void>> resize(Client& client, ImageSpec spec, ResizeOptions options,
                           OnProgress on_progress) {
  const uint64_t size = options.size;
  if (auto r = validate_image_size(size); !r) co_return failure(r.error());
  const Outcome<VersionedHeader> found = co_await find_header(client, spec);
  if (!found) co_return failure(found.error());
  const auto pool = client.find_pool(spec.pool);
  if (!pool) co_return failure(pool.error());
  const ImageHeader& header = found->header;
  if (header.state == ImageState::kRemoving) {
    co_return failure(OsdErrc::kBusy,
                      "image '" + header.name + "' is being removed: finish with 'lunar rm'");
  }
  HeaderEditor publish = [&spec, options, size](ImageHeader& current) -> Outcome<void> {
    if (size < current.size) {
      if (auto free = require_unregistered(current, "shrinking"); !free) return free;
      if (!options.allows_shrink) return failure(shrinks(spec, current, size));
      current.trimmed_from = std::max(current.trimmed_from, current.size);
    }
    current.size = size;
    return {};
  };
  const bool is_shrinking = size < header.size;
  if (is_shrinking) {
    const Outcome<void> shrunk =
        co_await update_header(client, pool->id, header.id, std::move(publish));
    if (!shrunk) co_return failure(shrunk.error());
  }

  const StaleRange stale = stale_range(header, size);
  if (stale.from < stale.to) {
    const std::error_code trimmed =
        co_await trim_image(client, pool->id, header, stale.from, stale.to, std::move(on_progress));
    if (trimmed) {
      co_return failure(trimmed, "clearing image '" + spec.image +
                                     "' from its old end failed: " + trimmed.message());
    }
  }
  if (is_shrinking) co_return Outcome<void>();

  Outcome<void> published = co_await update_header(client, pool->id, header.id, std::move(publish));
  co_return published;
}

Task<Outcome<void>> strike(Client& client, ImageSpec spec, std::string instance) {
  const Outcome<VersionedHeader> found = co_await find_header(client, spec);
  if (!found) co_return failure(found.error());
  const auto pool = client.find_pool(spec.pool);
  if (!pool) co_return failure(pool.error());
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
