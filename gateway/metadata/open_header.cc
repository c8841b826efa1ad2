// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/metadata/open_header.h"

#include <utility>

#include "common/log.h"
#include "gateway/metadata/header_object.h"
#include "gateway/metadata/metadata_object.h"
#include "gateway/metadata/run_to_done.h"

namespace lunar::gateway {
namespace {

using objecter::ObjectId;
using objecter::ObjectVersion;
using objecter::OsdErrc;

// An earlier start of the same gateway left its registration: that one is taken over.
Outcome<void> add_registration(const Client& client, ImageHeader& header) {
  if (auto* mine = header.find_registration(client.entity(), client.instance())) {
    mine->nonce = client.nonce();
    return {};
  }
  if (header.registrations.size() >= ImageHeader::kMaxRegistrations) {
    return failure(OsdErrc::kBusy, "image '" + header.name +
                                       "' has 64 registrations already: strike dead ones with "
                                       "'lunar unregister'");
  }
  header.registrations.push_back({client.entity(), client.instance(), client.nonce()});
  return {};
}

bool is_ours(const Registration& each, const Client& client) {
  return each.entity == client.entity() && each.instance == client.instance() &&
         each.nonce == client.nonce();
}

}  // namespace

OpenHeader::OpenHeader(Client& client, ImageSpec spec, objecter::PoolId pool, bool is_read_only,
                       VersionedHeader found)
    : client_(client),
      spec_(std::move(spec)),
      pool_(pool),
      is_read_only_(is_read_only),
      header_(std::move(found.header)),
      version_(found.version),
      until_next_poll_(client.center()) {}

void OpenHeader::open(Client& client, const ImageSpec& spec, bool is_read_only,
                      UniqueFunction<void(Outcome<std::shared_ptr<OpenHeader>>)> done) {
  run_to_done(client.center(), open_in_order(client, spec, is_read_only), std::move(done));
}

Task<Outcome<std::shared_ptr<OpenHeader>>> OpenHeader::open_in_order(Client& client, ImageSpec spec,
                                                                     bool is_read_only) {
  Outcome<VersionedHeader> found = co_await find_header(client, spec);
  if (!found) co_return failure(found.error());
  if (found->header.state == ImageState::kRemoving) {
    co_return failure(OsdErrc::kBusy,
                      "image '" + spec.to_string() + "' is being removed: finish with 'lunar rm'");
  }
  const auto pool = client.find_pool(spec.pool);
  if (!pool) co_return failure(pool.error());
  if (!is_read_only) {
    HeaderEditor edit = [&client](ImageHeader& header) { return add_registration(client, header); };
    const Outcome<void> registered =
        co_await update_header(client, pool->id, found->header.id, std::move(edit));
    if (!registered) co_return failure(registered.error());
    Outcome<VersionedHeader> with_ours = co_await find_header(client, spec);
    if (!with_ours) co_return failure(with_ours.error());
    found = std::move(with_ours);
  }
  const std::shared_ptr<OpenHeader> self(
      new OpenHeader(client, spec, pool->id, is_read_only, std::move(*found)));
  poll(self);
  co_return self;
}

Detached OpenHeader::poll(std::shared_ptr<OpenHeader> self) {
  Client& client = self->client_;
  const auto interval = client.config().get_duration("lunar_header_poll");
  if (interval.count() == 0) co_return;
  const ObjectId object{self->pool_, header_object_name(self->header_.id)};
  const ImageSpec spec = self->spec_;
  while (true) {
    const std::error_code stopped = co_await self->until_next_poll_.sleep(interval);
    if (stopped) co_return;
    const ObjectVersion version = self->version_;
    const uint64_t io_id = client.next_io_id();
    const Result<bool> has_changed = co_await has_metadata_changed(client, object, version, io_id);
    if (self->is_stopped_) co_return;
    if (!has_changed || !*has_changed) continue;
    Outcome<VersionedHeader> found = co_await find_header(client, spec);
    if (self->is_stopped_) co_return;
    if (found && found->header.id == self->header_.id) self->adopt(std::move(*found));
  }
}

void OpenHeader::adopt(VersionedHeader found) {
  const auto* mine = found.header.find_registration(client_.entity(), client_.instance());
  if (!is_read_only_ && !is_fenced_ && (mine == nullptr || !is_ours(*mine, client_))) {
    is_fenced_ = true;
    LUNAR_ERROR(kGateway, "image {}: the registration of {} was struck: fenced, IO is refused",
                spec_.to_string(), client_.instance());
  }
  const uint64_t old_size = header_.size;
  header_ = std::move(found.header);
  version_ = found.version;
  if (header_.size == old_size) return;
  LUNAR_LOG(kGateway, 1, "image {}: size {} -> {}", spec_.to_string(), old_size, header_.size);
  if (on_resize_) on_resize_(header_.size);
}

void OpenHeader::stop() {
  is_stopped_ = true;
  until_next_poll_.close();
}

void OpenHeader::strike(UniqueFunction<void(Outcome<void>)> done) {
  run_to_done(client_.center(), strike_in_order(shared_from_this()), std::move(done));
}

Task<Outcome<void>> OpenHeader::strike_in_order(std::shared_ptr<OpenHeader> self) {
  if (self->is_read_only_ || self->is_fenced_) co_return Outcome<void>();
  HeaderEditor edit = [&self](ImageHeader& header) -> Outcome<void> {
    std::erase_if(header.registrations,
                  [&](const Registration& each) { return is_ours(each, self->client_); });
    return {};
  };
  Outcome<void> struck =
      co_await update_header(self->client_, self->pool_, self->header_.id, std::move(edit));
  co_return struck;
}

}  // namespace lunar::gateway
