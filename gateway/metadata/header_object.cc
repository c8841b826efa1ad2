// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/metadata/header_object.h"

#include <chrono>
#include <utility>

#include "gateway/metadata/metadata_object.h"
#include "gateway/metadata/name_object.h"
#include "msgr/awaiters.h"

namespace lunar::gateway {
namespace {

constexpr std::chrono::seconds kTellingTimeout{5};

using objecter::ObjectId;
using objecter::OsdErrc;
using objecter::PoolId;

Error no_such_image(const ImageSpec& spec) {
  return {make_error_code(OsdErrc::kNoSuchObject), "no image '" + spec.image + "' in pool '" +
                                                       spec.pool + "': see 'lunar ls " + spec.pool +
                                                       "'"};
}

constexpr int kLookups = 4;  // of a name that changes meanwhile

Error is_left_over(const ImageSpec& spec, const ImageHeader& header) {
  return {make_error_code(OsdErrc::kNoSuchObject),
          "no image '" + spec.image + "' in pool '" + spec.pool +
              "': the name is left over from a renaming of image '" + header.lasting_name() +
              "'; it can be given to another image, and 'lunar scrub " + spec.pool +
              "' shows how it is taken out"};
}

}  // namespace

ObjectId header_of(PoolId pool, ImageId id) { return {pool, header_object_name(id)}; }

Task<Outcome<VersionedHeader>> find_header(Client& client, ImageSpec spec) {
  const auto pool = client.find_pool(spec.pool);
  if (!pool) co_return failure(pool.error());
  const objecter::PoolInfo pool_info = *pool;
  const std::string name = spec.image;
  for (int round = 0; round < kLookups; ++round) {
    const Outcome<NameContent> before = co_await read_name(client, pool_info.id, name);
    if (!before) co_return failure(before.error());
    if (before->id == 0) {
      const Outcome<ImageId> absent = co_await find_name(client, pool_info, name);
      if (!absent) co_return failure(absent.error());
      continue;
    }
    Outcome<VersionedHeader> found = co_await read_header(client, pool_info.id, before->id);
    const bool is_gone = !found && found.error().code == OsdErrc::kNoSuchObject;
    const bool is_other = found && !found->header.has_name(name);
    if (!is_gone && !is_other) co_return found;
    // If the name is as it was before the header was read, that is how it is.
    const Outcome<NameContent> after = co_await read_name(client, pool_info.id, name);
    if (!after) co_return failure(after.error());
    if (after->version != before->version) continue;
    if (is_gone) co_return failure(no_such_image(spec));
    co_return failure(is_left_over(spec, found->header));
  }
  co_return failure(changes_too_often("the name '" + name + "'"));
}

Task<Outcome<VersionedHeader>> read_header(Client& client, PoolId pool, ImageId id) {
  const ObjectId object = header_of(pool, id);
  const uint64_t io_id = client.next_io_id();
  const Result<MetadataContent> content = co_await read_metadata(client, object, io_id);
  if (!content) co_return failure(metadata_error(client, "read", object, content.error()));
  if (!content->exists) {
    co_return failure(OsdErrc::kNoSuchObject, "image header " + object.name + " is gone");
  }
  auto header = decode_image_header(content->text, object.name);
  if (!header) co_return failure(header.error());
  VersionedHeader found;
  found.header = std::move(*header);
  found.version = content->version;
  co_return found;
}

Task<Outcome<void>> write_header(Client& client, PoolId pool, ImageHeader header) {
  MetadataEditor edit = [&header](const MetadataContent&) -> Outcome<MetadataEdit> {
    return MetadataEdit{MetadataEdit::Action::kWrite, encode(header)};
  };
  const ObjectId object = header_of(pool, header.id);
  Outcome<void> written = co_await update_metadata(client, object, std::move(edit));
  co_return written;
}

Task<Outcome<void>> update_header(Client& client, PoolId pool, ImageId id, HeaderEditor edit) {
  const ObjectId object = header_of(pool, id);
  MetadataEditor edit_text = [&](const MetadataContent& content) -> Outcome<MetadataEdit> {
    if (!content.exists) {
      return failure(OsdErrc::kNoSuchObject, "image header " + object.name + " is gone");
    }
    auto header = decode_image_header(content.text, object.name);
    if (!header) return failure(header.error());
    if (auto edited = edit(*header); !edited) return failure(edited.error());
    std::string text = encode(*header);
    if (text == content.text) return MetadataEdit{};
    return MetadataEdit{MetadataEdit::Action::kWrite, std::move(text)};
  };
  Outcome<void> updated = co_await update_metadata(client, object, std::move(edit_text));
  co_return updated;
}

Task<std::error_code> swap_header(Client& client, PoolId pool, ImageHeader header,
                                  objecter::ObjectVersion version) {
  const ObjectId object = header_of(pool, header.id);
  std::optional<std::string> text = encode(header);
  const uint64_t io_id = client.next_io_id();
  const std::error_code error =
      co_await swap_metadata(client, object, version, std::move(text), io_id);
  co_return error;
}

Outcome<void> require_whole(const ImageHeader& header) {
  if (header.state == ImageState::kRemoving) {
    return failure(OsdErrc::kBusy,
                   "image '" + header.name + "' is being removed: finish with 'lunar rm'");
  }
  if (header.state == ImageState::kImporting) {
    return failure(OsdErrc::kBusy,
                   "image '" + header.name +
                       "' is being imported, or that was interrupted, and its content is not "
                       "whole: wait, or remove it with 'lunar rm'");
  }
  return {};
}

Error is_being_renamed(const std::string& pool, const ImageHeader& header) {
  return {make_error_code(OsdErrc::kBusy), "image '" + header.name + "' is being renamed to '" +
                                               header.rename_to + "': finish with 'lunar mv " +
                                               pool + "/" + header.name + " " + header.rename_to +
                                               "'"};
}

Error was_renamed(const ImageSpec& spec, const ImageHeader& header) {
  return {make_error_code(OsdErrc::kBusy), "image '" + spec.image + "' was renamed to '" +
                                               header.lasting_name() +
                                               "' by somebody else meanwhile"};
}

Task<Result<objecter::NotifyResult>> tell_of_change(Client& client, PoolId pool, ImageId id) {
  const ObjectId object = header_of(pool, id);
  std::vector<std::byte> nothing;
  msgr::Completion<Result<objecter::NotifyResult>> told;
  client.objecter().notify(object, std::move(nothing), kTellingTimeout, told.callback());
  Result<objecter::NotifyResult> result = co_await told;
  co_return result;
}

void tell_of_change_later(Client& client, PoolId pool, ImageId id) {
  client.objecter().notify(header_of(pool, id), {}, kTellingTimeout,
                           [](const Result<objecter::NotifyResult>&) {});
}

Task<Outcome<void>> delete_header(Client& client, PoolId pool, ImageId id) {
  MetadataEditor edit = [](const MetadataContent& content) -> Outcome<MetadataEdit> {
    MetadataEdit wanted;
    if (content.exists) wanted.action = MetadataEdit::Action::kDelete;
    return wanted;
  };
  const ObjectId object = header_of(pool, id);
  Outcome<void> deleted = co_await update_metadata(client, object, std::move(edit));
  co_return deleted;
}

}  // namespace lunar::gateway
