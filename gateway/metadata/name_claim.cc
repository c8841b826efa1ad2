// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/metadata/name_claim.h"

#include <optional>
#include <utility>

#include "gateway/metadata/header_object.h"
#include "gateway/metadata/metadata_object.h"
#include "gateway/metadata/name_object.h"

namespace lunar::gateway {
namespace {

using objecter::ObjectId;
using objecter::OsdErrc;
using objecter::PoolId;

constexpr int kMaxRounds = 64;

Error changes_too_often(const std::string& name) {
  return {make_error_code(OsdErrc::kBusy),
          "the name '" + name + "' changes all the time: repeat the command"};
}

// True: done, or nothing to do. False: changed meanwhile.
Task<Outcome<bool>> try_to_drop(Client& client, PoolId pool, std::string name, ImageId id) {
  const ObjectId object = name_object_of(pool, name);
  const uint64_t io_id = client.next_io_id();
  const Result<MetadataContent> content = co_await read_metadata(client, object, io_id);
  if (!content) co_return failure(metadata_error(client, "read", object, content.error()));
  if (!content->exists) co_return true;
  const auto named = decode_name(content->text, object.name);
  if (!named) co_return failure(named.error());
  if (*named != id) co_return true;
  const Outcome<VersionedHeader> found = co_await read_header(client, pool, id);
  if (!found) co_return failure(found.error());
  if (found->header.has_name(name)) co_return true;
  const objecter::ObjectVersion version = content->version;
  const std::error_code error =
      co_await swap_metadata(client, object, version, std::nullopt, io_id);
  if (must_look_again(error)) co_return false;
  if (error) co_return failure(metadata_error(client, "update", object, error));
  co_return true;
}

// Whether nobody answers for the header, so that nothing is known of it.
bool is_not_known(std::error_code error) {
  return error != OsdErrc::kNoSuchObject && error != OsdErrc::kCorrupt &&
         error != OsdErrc::kIncompatible;
}

// What the object of the name has, if the name is to be had for `id`.
Task<Outcome<MetadataContent>> look_at_free_name(Client& client, PoolId pool, std::string name,
                                                 ImageId id) {
  const ObjectId object = name_object_of(pool, name);
  const uint64_t io_id = client.next_io_id();
  Result<MetadataContent> content = co_await read_metadata(client, object, io_id);
  if (!content) co_return failure(metadata_error(client, "read", object, content.error()));
  if (!content->exists) co_return std::move(*content);
  const auto named = decode_name(content->text, object.name);
  if (!named) co_return failure(named.error());
  const ImageId other = *named;
  if (other == id) co_return std::move(*content);
  const Outcome<VersionedHeader> found = co_await read_header(client, pool, other);
  if (!found && is_not_known(found.error().code)) co_return failure(found.error());
  if (found && !found->header.has_name(name)) co_return std::move(*content);
  co_return failure(OsdErrc::kExists,
                    "image '" + name + "' exists: choose another name or remove it");
}

}  // namespace

Task<Outcome<void>> require_name_free(Client& client, PoolId pool, std::string name, ImageId id) {
  const Outcome<MetadataContent> content = co_await look_at_free_name(client, pool, name, id);
  if (!content) co_return failure(content.error());
  co_return Outcome<void>();
}

Task<Outcome<bool>> try_to_take_name(Client& client, PoolId pool, std::string name, ImageId id) {
  const Outcome<MetadataContent> content = co_await look_at_free_name(client, pool, name, id);
  if (!content) co_return failure(content.error());
  const ObjectId object = name_object_of(pool, name);
  const objecter::ObjectVersion version = content->version;
  std::optional<std::string> text = encode_name(id);
  const uint64_t io_id = client.next_io_id();
  const std::error_code error =
      co_await swap_metadata(client, object, version, std::move(text), io_id);
  if (must_look_again(error)) co_return false;
  if (error) co_return failure(metadata_error(client, "update", object, error));
  co_return true;
}

Task<Outcome<void>> take_name(Client& client, PoolId pool, std::string name, ImageId id) {
  for (int round = 0; round < kMaxRounds; ++round) {
    const Outcome<bool> taken = co_await try_to_take_name(client, pool, name, id);
    if (!taken) co_return failure(taken.error());
    if (*taken) co_return Outcome<void>();
  }
  co_return failure(changes_too_often(name));
}

Task<Outcome<void>> drop_stale_name(Client& client, PoolId pool, std::string name, ImageId id) {
  for (int round = 0; round < kMaxRounds; ++round) {
    const Outcome<bool> dropped = co_await try_to_drop(client, pool, name, id);
    if (!dropped) co_return failure(dropped.error());
    if (*dropped) co_return Outcome<void>();
  }
  co_return failure(changes_too_often(name));
}

}  // namespace lunar::gateway
