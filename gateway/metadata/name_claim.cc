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

// Replaces or deletes the object at that version. False: it has changed, or that is not known.
Task<Outcome<bool>> try_to_swap(Client& client, PoolId pool, std::string name,
                                objecter::ObjectVersion version, std::optional<std::string> text) {
  const ObjectId object = name_object_of(pool, name);
  const uint64_t io_id = client.next_io_id();
  const std::error_code error =
      co_await swap_metadata(client, object, version, std::move(text), io_id);
  if (must_look_again(error)) co_return false;
  if (error) co_return failure(metadata_error(client, "update", object, error));
  co_return true;
}

// True: done, or nothing to do. False: changed meanwhile.
Task<Outcome<bool>> try_to_drop(Client& client, PoolId pool, std::string name, ImageId id) {
  const Outcome<NameContent> content = co_await read_name(client, pool, name);
  if (!content) co_return failure(content.error());
  if (content->id != id) co_return true;
  const Outcome<VersionedHeader> found = co_await read_header(client, pool, id);
  if (!found) co_return failure(found.error());
  if (found->header.needs_name(name)) co_return true;
  const objecter::ObjectVersion version = content->version;
  Outcome<bool> dropped = co_await try_to_swap(client, pool, name, version, std::nullopt);
  co_return dropped;
}

// Whether nobody answers for the header, so that nothing is known of it.
bool is_not_known(std::error_code error) {
  return error != OsdErrc::kNoSuchObject && !is_illegible(error);
}

// What the object of the name has, if the name is to be had for `id`.
Task<Outcome<NameContent>> look_at_free_name(Client& client, PoolId pool, std::string name,
                                             ImageId id) {
  const Outcome<NameContent> content = co_await read_name(client, pool, name);
  if (!content) co_return failure(content.error());
  const ImageId other = content->id;
  if (other == 0 || other == id) co_return *content;
  const Outcome<VersionedHeader> found = co_await read_header(client, pool, other);
  if (!found && is_not_known(found.error().code)) co_return failure(found.error());
  if (found && !found->header.has_name(name)) co_return *content;
  co_return failure(OsdErrc::kExists,
                    "image '" + name + "' exists: choose another name or remove it");
}

}  // namespace

Task<Outcome<void>> require_name_free(Client& client, PoolId pool, std::string name, ImageId id) {
  const Outcome<NameContent> content = co_await look_at_free_name(client, pool, name, id);
  if (!content) co_return failure(content.error());
  co_return Outcome<void>();
}

Task<Outcome<bool>> try_to_take_name(Client& client, PoolId pool, std::string name, ImageId id) {
  const Outcome<NameContent> content = co_await look_at_free_name(client, pool, name, id);
  if (!content) co_return failure(content.error());
  const objecter::ObjectVersion version = content->version;
  std::optional<std::string> text = encode_name(id);
  Outcome<bool> taken = co_await try_to_swap(client, pool, name, version, std::move(text));
  co_return taken;
}

Task<Outcome<void>> take_name(Client& client, PoolId pool, std::string name, ImageId id) {
  for (int round = 0; round < kMaxSwapRounds; ++round) {
    const Outcome<bool> taken = co_await try_to_take_name(client, pool, name, id);
    if (!taken) co_return failure(taken.error());
    if (*taken) co_return Outcome<void>();
  }
  co_return failure(changes_too_often("the name '" + name + "'"));
}

Task<Outcome<void>> drop_unneeded_name(Client& client, PoolId pool, std::string name, ImageId id) {
  for (int round = 0; round < kMaxSwapRounds; ++round) {
    const Outcome<bool> dropped = co_await try_to_drop(client, pool, name, id);
    if (!dropped) co_return failure(dropped.error());
    if (*dropped) co_return Outcome<void>();
  }
  co_return failure(changes_too_often("the name '" + name + "'"));
}

Task<Outcome<std::string>> give_name(Client& client, PoolId pool, VersionedHeader found,
                                     std::string name) {
  const ImageId id = found.header.id;
  const Outcome<void> is_free = co_await require_name_free(client, pool, name, id);
  if (!is_free && is_free.error().code != OsdErrc::kExists) co_return failure(is_free.error());
  const std::string given = is_free ? name : spare_name(name, id);
  ImageHeader header = found.header;
  if (header.is_renaming()) header.state = ImageState::kReady;
  header.rename_to.clear();
  header.name = given;
  const objecter::ObjectVersion version = found.version;
  const std::error_code error = co_await swap_header(client, pool, header, version);
  if (must_look_again(error)) {
    co_return failure(OsdErrc::kBusy, "image '" + name + "' has changed meanwhile");
  }
  if (error) co_return failure(metadata_error(client, "update", header_of(pool, id), error));
  const Outcome<void> taken = co_await take_name(client, pool, given, id);
  if (!taken) co_return failure(taken.error());
  const Outcome<void> dropped = co_await drop_unneeded_name(client, pool, given, id);
  // Other failures leave it over, if it was entered and renamed before we wrote it.
  if (dropped || dropped.error().code != OsdErrc::kNoSuchObject) co_return given;
  const Outcome<void> undone = co_await drop_name(client, pool, given, id);
  static_cast<void>(undone);  // left over
  co_return failure(OsdErrc::kBusy, "image '" + name + "' was removed meanwhile");
}

}  // namespace lunar::gateway
