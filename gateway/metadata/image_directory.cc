// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/image_directory.h"

#include <utility>

#include "common/random.h"
#include "gateway/metadata/header_object.h"
#include "gateway/metadata/holders.h"
#include "gateway/metadata/metadata_object.h"
#include "gateway/metadata/name_claim.h"
#include "gateway/metadata/name_object.h"
#include "gateway/metadata/old_directory.h"
#include "gateway/metadata/pool_objects.h"
#include "gateway/metadata/run_to_done.h"

namespace lunar::gateway {
namespace {

using objecter::OsdErrc;
using objecter::PoolId;

constexpr int kTriesToKeep = 8;

// Random, and with a header on a server that is up, if one is.
ImageId choose_id(const Client& client, PoolId pool) {
  constexpr int kTries = 256;
  ImageId id = 0;
  for (int i = 0; i < kTries; ++i) {
    id = random_u64() | 1;
    if (server_of(client, header_of(pool, id)).is_up) break;
  }
  return id;
}

// The name leads to it. Success too if somebody has changed it since.
Task<Outcome<ImageHeader>> keep_new_header(Client& client, PoolId pool, ImageHeader header,
                                           objecter::ObjectVersion version) {
  std::error_code not_kept;
  for (int round = 0; round < kTriesToKeep; ++round) {
    const std::error_code error = co_await swap_header(client, pool, header, version);
    if (!error) co_return header;
    not_kept = error;
    const Outcome<VersionedHeader> found = co_await read_header(client, pool, header.id);
    if (!found && found.error().code == OsdErrc::kNoSuchObject) {
      const Outcome<void> dropped = co_await drop_name(client, pool, header.name, header.id);
      static_cast<void>(dropped);
      co_return failure(OsdErrc::kBusy, "the header of image '" + header.name +
                                            "' was removed while the image was being made, as by "
                                            "'lunar repair': make it again");
    }
    if (!found) co_return failure(found.error());
    if (found->version != version) {
      const Outcome<void> dropped =
          co_await drop_unneeded_name(client, pool, header.name, header.id);
      static_cast<void>(dropped);  // left over if it was renamed before we wrote the name again
      co_return found->header;
    }
    if (!must_look_again(error)) break;
  }
  co_return failure(metadata_error(client, "update", header_of(pool, header.id), not_kept));
}

Task<Outcome<ImageHeader>> create(Client& client, ImageSpec spec, CreateOptions options) {
  const auto pool = client.find_pool(spec.pool);
  if (!pool) co_return failure(pool.error());
  if (auto r = validate_image_size(options.size); !r) co_return failure(r.error());
  if (auto r = validate(options.layout); !r) co_return failure(r.error());

  ImageHeader header;
  header.id = choose_id(client, pool->id);
  header.name = spec.image;
  header.uuid = Uuid::random();
  header.size = options.size;
  header.layout = options.layout;
  if (options.is_import) header.state = ImageState::kImporting;
  const objecter::PoolInfo pool_info = *pool;
  const Outcome<void> closed = co_await close_old_directory(client, pool_info);
  if (!closed) co_return failure(closed.error());
  const Outcome<void> written = co_await write_header(client, pool->id, header);
  if (!written) co_return failure(written.error());

  // The header is written again once the name leads to it: whoever decided before that it was left
  // over, as a repair does, fails then, or has been faster and is found out.
  const Outcome<VersionedHeader> made = co_await read_header(client, pool->id, header.id);
  if (!made) co_return failure(made.error());
  const objecter::ObjectVersion version = made->version;
  const Outcome<void> taken = co_await take_name(client, pool->id, spec.image, header.id);
  if (!taken) {
    // Otherwise the name may be there, and would be left without a header. At its version: if the
    // first write of the name was done after all, somebody may use the image.
    const std::error_code why = taken.error().code;
    if (why == OsdErrc::kExists || why == OsdErrc::kNotPermitted) {
      const uint64_t io_id = client.next_io_id();
      const objecter::ObjectId object = header_of(pool->id, header.id);
      const std::error_code deleted =
          co_await swap_metadata(client, object, version, std::nullopt, io_id);
      static_cast<void>(deleted);  // a header without a name is in nobody's way
    }
    co_return failure(taken.error());
  }
  const PoolId pool_id = pool->id;
  Outcome<ImageHeader> kept = co_await keep_new_header(client, pool_id, header, version);
  co_return kept;
}

Task<Outcome<ImageList>> list(Client& client, std::string pool_name, ListOptions options) {
  const auto pool = client.find_pool(pool_name);
  if (!pool) co_return failure(pool.error());
  const objecter::PoolInfo pool_info = *pool;
  const Outcome<ImageNames> names = co_await list_names(client, pool_info);
  if (!names) co_return failure(names.error());
  ImageList list;
  for (const auto& each : names->unlisted) list.missing.push_back({each.osd, each.error});
  if (!options.wants_ids) {
    for (const std::string& name : names->names) list.images.push_back({name, 0});
    co_return list;
  }
  std::vector<std::string> to_read = names->names;
  const std::vector<ReadName> read = co_await read_names(client, pool_info, std::move(to_read));
  for (const ReadName& each : read) {
    if (each.content && !each.content->exists) continue;  // it is gone meanwhile
    const auto id = each.content ? decode_name(each.content->text, each.name) : Outcome<ImageId>(0);
    list.images.push_back({each.name, id.value_or(0)});
  }
  co_return list;
}

Task<Outcome<ImageStatus>> status_of(Client& client, ImageSpec spec) {
  const Outcome<VersionedHeader> found = co_await find_header(client, spec);
  if (!found) co_return failure(found.error());
  const auto pool = client.find_pool(spec.pool);
  if (!pool) co_return failure(pool.error());
  const ImageHeader header = found->header;
  Outcome<std::vector<Holder>> holders = co_await find_holders(client, pool->id, header);
  if (!holders) co_return failure(holders.error());
  ImageStatus status;
  status.header = header;
  status.holders = std::move(*holders);
  co_return status;
}

bool is_silence(std::error_code error) {
  return error == OsdErrc::kUnreachable || error == OsdErrc::kTimedOut;
}

Task<Outcome<std::optional<ImageHeader>>> find_open(Client& client, std::string pool_name) {
  const auto pool = client.find_pool(pool_name);
  if (!pool) co_return failure(pool.error());
  const objecter::PoolInfo pool_info = *pool;
  const std::string all;
  const PoolObjects objects = co_await list_objects(client, pool_info, all);
  for (const auto& each : objects.unlisted) {
    if (is_silence(each.error)) continue;
    co_return failure(each.error, "osd." + std::to_string(each.osd) +
                                      " does not list its objects: " + each.error.message());
  }
  for (std::size_t i = 0; i < objects.names.size(); ++i) {
    const auto id = objecter::parse_header_object(objects.names[i]);
    if (!id) continue;
    const ImageId image = *id;
    const Outcome<VersionedHeader> found = co_await read_header(client, pool_info.id, image);
    if (found && !found->header.registrations.empty()) {
      co_return std::optional<ImageHeader>(found->header);
    }
    const bool is_settled =
        found || is_silence(found.error().code) || found.error().code == OsdErrc::kNoSuchObject;
    if (!is_settled) co_return failure(found.error());
  }
  co_return std::optional<ImageHeader>();
}

}  // namespace

StripeLayout layout_with_defaults(Client& client, const std::string& pool_name,
                                  uint64_t object_size, uint64_t stripe_unit,
                                  uint32_t stripe_count) {
  const Config& config = client.config();
  StripeLayout layout;
  const auto pool = client.find_pool(pool_name);
  layout.object_size = object_size != 0 ? object_size
                       : pool           ? pool->object_size
                                        : config.get_size("lunar_default_object_size");
  layout.stripe_unit =
      stripe_unit != 0 ? stripe_unit : config.get_size("lunar_default_stripe_unit");
  if (layout.stripe_unit == 0) layout.stripe_unit = layout.object_size;
  layout.stripe_count = stripe_count != 0
                            ? stripe_count
                            : static_cast<uint32_t>(config.get_uint("lunar_default_stripe_count"));
  return layout;
}

Error missing_error(const ImageList& list) {
  std::string who;
  for (const auto& each : list.missing) {
    who += (who.empty() ? "osd." : ", osd.") + std::to_string(each.osd) + " (" +
           each.error.message() + ")";
  }
  return {make_error_code(objecter::OsdErrc::kUnreachable),
          "no list from " + who + ": the images whose names are there are missing"};
}

void create_image(Client& client, const ImageSpec& spec, const CreateOptions& options,
                  UniqueFunction<void(Outcome<ImageHeader>)> done) {
  run_to_done(client.center(), create(client, spec, options), std::move(done));
}

void list_images(Client& client, const std::string& pool, const ListOptions& options,
                 UniqueFunction<void(Outcome<ImageList>)> done) {
  run_to_done(client.center(), list(client, pool, options), std::move(done));
}

void find_open_image(Client& client, const std::string& pool,
                     UniqueFunction<void(Outcome<std::optional<ImageHeader>>)> done) {
  run_to_done(client.center(), find_open(client, pool), std::move(done));
}

void image_status(Client& client, const ImageSpec& spec,
                  UniqueFunction<void(Outcome<ImageStatus>)> done) {
  run_to_done(client.center(), status_of(client, spec), std::move(done));
}

void find_image(Client& client, const ImageSpec& spec,
                UniqueFunction<void(Outcome<VersionedHeader>)> done) {
  run_to_done(client.center(), find_header(client, spec), std::move(done));
}

}  // namespace lunar::gateway
