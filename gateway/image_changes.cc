// SPDX-License-Identifier: LGPL-2.1-or-later
// Removing, resizing and unregistering: the changes of an image that take several steps.
#include <algorithm>
#include <memory>
#include <utility>

#include "gateway/directory_object.h"
#include "gateway/image_directory.h"
#include "gateway/metadata_object.h"
#include "gateway/trim.h"

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

// Shared by the calls that take several steps; keeps the caller's arguments alive.
struct Work {
  Client& client;
  ImageSpec spec;
  PoolId pool = 0;
  ImageHeader header;
  OnProgress on_progress;
  InlineFunction<void(Outcome<void>)> done;

  void fail(Error error) { done(failure(std::move(error))); }
};

std::shared_ptr<Work> make_work(Client& client, const ImageSpec& spec, OnProgress on_progress,
                                InlineFunction<void(Outcome<void>)> done) {
  auto work =
      std::make_shared<Work>(Work{client, spec, 0, {}, std::move(on_progress), std::move(done)});
  return work;
}

void drop_name(const std::shared_ptr<Work>& work) {
  update_directory(
      work->client, work->pool,
      [work](Directory& directory) -> Outcome<bool> {
        const auto found = directory.find(work->spec.image);
        if (found == directory.end() || found->second != work->header.id) return false;
        directory.erase(found);
        return true;
      },
      [work](Outcome<void> result) { work->done(std::move(result)); });
}

void delete_header(const std::shared_ptr<Work>& work) {
  update_metadata(
      work->client, {work->pool, header_object_name(work->header.id)},
      [](const MetadataContent& content) -> Outcome<MetadataEdit> {
        return MetadataEdit{
            content.exists ? MetadataEdit::Action::kDelete : MetadataEdit::Action::kKeep, {}};
      },
      [work](Outcome<void> result) {
        if (!result) return work->fail(result.error());
        drop_name(work);
      });
}

void delete_data(const std::shared_ptr<Work>& work) {
  const uint64_t end = std::max(work->header.size, work->header.trimmed_from);
  trim_image(work->client, work->pool, work->header, 0, end, std::move(work->on_progress),
             [work](std::error_code error) {
               if (error) {
                 return work->fail({error, "deleting the data of image '" + work->spec.image +
                                               "' failed: " + error.message() + "; run it again"});
               }
               delete_header(work);
             });
}

void publish_size(const std::shared_ptr<Work>& work, uint64_t size) {
  update_header(
      work->client, work->pool, work->header.id,
      [work, size](ImageHeader& header) -> Outcome<void> {
        if (size < header.size) {
          if (auto free = require_unregistered(header, "shrinking"); !free) return free;
          header.trimmed_from = std::max(header.trimmed_from, header.size);
        }
        header.size = size;
        return {};
      },
      [work](Outcome<void> result) { work->done(std::move(result)); });
}

void trim_then_publish(const std::shared_ptr<Work>& work, uint64_t from, uint64_t to,
                       uint64_t size) {
  trim_image(work->client, work->pool, work->header, from, to, std::move(work->on_progress),
             [work, size](std::error_code error) {
               if (error) {
                 return work->fail({error, "clearing image '" + work->spec.image +
                                               "' from its old "
                                               "end failed: " +
                                               error.message()});
               }
               publish_size(work, size);
             });
}

}  // namespace

void remove_image(Client& client, const ImageSpec& spec, OnProgress on_progress,
                  InlineFunction<void(Outcome<void>)> done) {
  auto work = make_work(client, spec, std::move(on_progress), std::move(done));
  const auto pool = client.find_pool(spec.pool);
  if (pool) work->pool = pool->id;
  const auto mark = [work](const ImageHeader& header) {
    work->header = header;
    update_header(
        work->client, work->pool, header.id,
        [](ImageHeader& current) -> Outcome<void> {
          if (auto free = require_unregistered(current, "removing"); !free) return free;
          current.state = ImageState::kRemoving;
          return {};
        },
        [work](Outcome<void> result) {
          if (!result) return work->fail(result.error());
          delete_data(work);
        });
  };
  find_image(client, spec, [work, mark](Outcome<VersionedHeader> found) {
    if (found) return mark(found->header);
    if (found.error().code != OsdErrc::kNoSuchObject || work->pool == 0) {
      return work->fail(found.error());
    }
    // The header may be gone and the name left, from an interrupted removal.
    const auto had_name = std::make_shared<bool>(false);
    update_directory(
        work->client, work->pool,
        [work, had_name](Directory& directory) -> Outcome<bool> {
          *had_name = directory.erase(work->spec.image) != 0 || *had_name;
          return *had_name;
        },
        [work, had_name, why = std::make_shared<Error>(found.error())](Outcome<void> result) {
          if (!result) return work->fail(result.error());
          if (!*had_name) return work->fail(*why);
          work->done({});
        });
  });
}

void resize_image(Client& client, const ImageSpec& spec, uint64_t size, OnProgress on_progress,
                  InlineFunction<void(Outcome<void>)> done) {
  auto work = make_work(client, spec, std::move(on_progress), std::move(done));
  if (auto r = validate_image_size(size); !r) {
    client.center().post(
        [work, error = std::make_shared<Error>(r.error())] { work->fail(*error); });
    return;
  }
  const auto pool = client.find_pool(spec.pool);
  if (pool) work->pool = pool->id;
  find_image(client, spec, [work, size](Outcome<VersionedHeader> found) {
    if (!found) return work->fail(found.error());
    const ImageHeader& header = work->header = std::move(found->header);
    if (header.state == ImageState::kRemoving) {
      return work->fail({make_error_code(OsdErrc::kBusy),
                         "image '" + header.name + "' is being removed: finish with 'lunar rm'"});
    }
    if (size < header.size) {
      if (auto free = require_unregistered(header, "shrinking"); !free) {
        return work->fail(free.error());
      }
      return trim_then_publish(work, size, header.size, size);
    }
    const uint64_t old_data_end = std::min(size, header.trimmed_from);
    if (old_data_end > header.size) {
      return trim_then_publish(work, header.size, old_data_end, size);
    }
    publish_size(work, size);
  });
}

void unregister(Client& client, const ImageSpec& spec, const std::string& instance,
                InlineFunction<void(Outcome<void>)> done) {
  auto work = make_work(client, spec, {}, std::move(done));
  const auto pool = client.find_pool(spec.pool);
  if (pool) work->pool = pool->id;
  find_image(client, spec,
             [work, who = std::make_shared<std::string>(instance)](Outcome<VersionedHeader> found) {
               if (!found) return work->fail(found.error());
               update_header(
                   work->client, work->pool, found->header.id,
                   [who](ImageHeader& header) -> Outcome<void> {
                     const auto erased = std::erase_if(
                         header.registrations,
                         [&](const Registration& each) { return each.instance == *who; });
                     if (erased != 0) return {};
                     return failure(std::errc::invalid_argument, "image '" + header.name +
                                                                     "' has no registration of '" +
                                                                     *who + "': see 'lunar info'");
                   },
                   [work](Outcome<void> result) { work->done(std::move(result)); });
             });
}

}  // namespace lunar::gateway
