// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/metadata/open_header.h"

#include <utility>

#include "common/log.h"
#include "common/random.h"
#include "gateway/metadata/header_object.h"
#include "gateway/metadata/image_lock.h"
#include "gateway/metadata/metadata_object.h"
#include "gateway/metadata/run_to_done.h"

namespace lunar::gateway {
namespace {

using namespace std::chrono_literals;
using objecter::ObjectId;
using objecter::ObjectVersion;
using objecter::OsdErrc;

constexpr std::chrono::seconds kTryAgain{1};
constexpr std::chrono::seconds kAskWhetherFenced{2};

Registration new_registration(const Client& client, const OpenOptions& options) {
  Registration mine;
  mine.entity = client.entity();
  mine.instance = client.instance();
  mine.nonce = client.nonce();
  mine.cookie = random_u64() | 1;
  mine.lock = options.lock == OpenLock::kShared ? LockMode::kShared : LockMode::kExclusive;
  return mine;
}

}  // namespace

OpenHeader::OpenHeader(Client& client, ImageSpec spec, objecter::PoolInfo pool,
                       const OpenOptions& options, VersionedHeader found)
    : client_(client),
      spec_(std::move(spec)),
      pool_(std::move(pool)),
      options_(options),
      registration_(new_registration(client, options)),
      header_(std::move(found.header)),
      version_(found.version),
      until_next_poll_(client.center()) {}

// --- opening ---

void OpenHeader::open(Client& client, const ImageSpec& spec, const OpenOptions& options,
                      UniqueFunction<void(Outcome<std::shared_ptr<OpenHeader>>)> done) {
  run_to_done(client.center(), open_in_order(client, spec, options), std::move(done));
}

Task<Outcome<std::shared_ptr<OpenHeader>>> OpenHeader::open_in_order(Client& client, ImageSpec spec,
                                                                     OpenOptions options) {
  Outcome<VersionedHeader> found = co_await find_header(client, spec);
  if (!found) co_return failure(found.error());
  if (found->header.state == ImageState::kRemoving) {
    co_return failure(OsdErrc::kBusy,
                      "image '" + spec.to_string() + "' is being removed: finish with 'lunar rm'");
  }
  const auto pool = client.find_pool(spec.pool);
  if (!pool) co_return failure(pool.error());
  const std::shared_ptr<OpenHeader> self(
      new OpenHeader(client, spec, *pool, options, std::move(*found)));
  const Outcome<void> opened = co_await open_found(self);
  if (!opened) {
    self->stop();
    self->strike({});
    co_return failure(opened.error());
  }
  follow(self);
  if (!options.read_only) strike_earlier(self);
  co_return self;
}

// Nobody waits for that: a server may be down, and the image serves without it.
Detached OpenHeader::strike_earlier(std::shared_ptr<OpenHeader> self) {
  const objecter::PoolInfo pool = self->pool_;
  const ImageHeader header = self->header_;
  const Registration mine = self->registration_;
  const Outcome<void> struck = co_await strike_earlier_starts(self->client_, pool, header, mine);
  if (struck) co_return;
  LUNAR_LOG(kGateway, 0, "image {}: an earlier start of this gateway stays registered: {}",
            self->spec_.to_string(), struck.error().message);
}

// The watch comes first: a registration without one is that of a dead gateway.
Task<Outcome<void>> OpenHeader::open_found(std::shared_ptr<OpenHeader> self) {
  Client& client = self->client_;
  const ImageId id = self->header_.id;
  const std::error_code watched = co_await watch(self);
  if (watched)
    co_return failure(metadata_error(client, "watch", header_of(self->pool(), id), watched));
  if (!self->options_.read_only) {
    self->is_registered_ = true;  // it may be, from now on
    const objecter::PoolInfo pool = self->pool_;
    const Registration mine = self->registration_;
    const OpenOptions options = self->options_;
    const Outcome<void> locked = co_await take_lock(client, pool, id, mine, options);
    if (!locked) co_return failure(locked.error());
  }
  Outcome<VersionedHeader> found = co_await read_header(client, self->pool(), id);
  if (!found) co_return failure(found.error());
  self->adopt(std::move(*found));
  if (self->is_fenced_) {
    co_return failure(OsdErrc::kFenced, "image '" + self->spec_.to_string() +
                                            "' was taken over while it was being opened");
  }
  co_return Outcome<void>();
}

Task<std::error_code> OpenHeader::watch(std::shared_ptr<OpenHeader> self) {
  const ObjectId object = header_of(self->pool(), self->header_.id);
  objecter::WatchHandler& handler = *self;
  self->is_watching_ = true;
  msgr::Completion<std::error_code> watched;
  self->client_.objecter().watch(object, self->registration_.cookie, handler, watched.callback());
  const std::error_code error = co_await watched;
  if (error) self->is_watching_ = false;
  co_return error;
}

// --- while it is open ---

// Reads the header when there is a reason to. Acks come after that, and when no IO beyond the end
// of the image is in flight: whoever shrinks it may cut then.
Detached OpenHeader::follow(std::shared_ptr<OpenHeader> self) {
  Client& client = self->client_;
  const auto interval = client.config().get_duration("lunar_header_poll");
  const ObjectId object = header_of(self->pool(), self->header_.id);
  for (;;) {
    if (self->is_fenced_) {
      const bool is_back = co_await wait_until_let_in(self);
      if (!is_back) co_return;
    }
    if (self->acks_.empty() && self->is_watching_) {
      const std::error_code stopped = co_await self->until_next_poll_.sleep(interval);
      if (stopped) co_return;
    }
    const bool was_lost = !self->is_watching_;
    if (was_lost) {
      const bool is_back = co_await watch_again(self);
      if (!is_back) co_return;
    }
    if (self->is_fenced_) continue;
    Acks acks = std::exchange(self->acks_, {});
    if (acks.empty() && !was_lost) {
      const ObjectVersion version = self->version_;
      const uint64_t io_id = client.next_io_id();
      const Result<bool> changed = co_await has_metadata_changed(client, object, version, io_id);
      if (self->is_stopped_) co_return;
      if (!changed || !*changed) continue;
    }
    Outcome<VersionedHeader> found = co_await read_header(client, self->pool(), self->header_.id);
    if (self->is_stopped_) {
      ack_without_ios(self, std::move(acks));
      co_return;
    }
    if (!found && found.error().code == OsdErrc::kNoSuchObject) {
      self->lose("the image was removed");
      ack_without_ios(self, std::move(acks));
      co_return;
    }
    if (!found) {  // whoever waits for the acks is told by their absence
      const std::error_code stopped = co_await self->until_next_poll_.sleep(kTryAgain);
      if (stopped) co_return;
      continue;
    }
    self->adopt(std::move(*found));
    if (acks.empty()) continue;
    const uint64_t end = self->size();
    co_await wait_for_ends(self, end);
    for (objecter::NotifyReply& ack : acks) ack({});
    if (self->is_stopped_) co_return;
  }
}

// True, when no IO that reaches beyond `end` is in flight.
Task<bool> OpenHeader::wait_for_ends(std::shared_ptr<OpenHeader> self, uint64_t end) {
  if (!self->when_ended_) co_return true;
  msgr::Completion<std::error_code> ended;
  UniqueFunction<void(std::error_code)> on_ended = ended.callback();
  self->when_ended_(end, [on_ended = std::move(on_ended)]() mutable { on_ended({}); });
  const std::error_code nothing = co_await ended;
  co_return !nothing;
}

// Of one that begins no more IO: what it has in flight may be beyond any end.
Detached OpenHeader::ack_without_ios(std::shared_ptr<OpenHeader> self, Acks acks) {
  if (self->is_stopped_ && !self->is_struck_) {  // strike() acks them
    for (objecter::NotifyReply& ack : acks) self->acks_.push_back(std::move(ack));
    co_return;
  }
  if (!self->is_struck_) co_await wait_for_ends(self, 0);
  for (objecter::NotifyReply& ack : acks) ack({});
}

// Until it has a watch again, or is fenced: true. False: it is over.
Task<bool> OpenHeader::watch_again(std::shared_ptr<OpenHeader> self) {
  for (;;) {
    const std::error_code error = co_await watch(self);
    if (self->is_stopped_) co_return false;
    if (!error) co_return true;
    if (error == OsdErrc::kNoSuchObject) {
      self->lose("the image was removed");
      co_return false;
    }
    if (error == OsdErrc::kFenced) {
      self->fence("a server refuses this gateway");
      co_return true;
    }
    const std::error_code stopped = co_await self->until_next_poll_.sleep(kTryAgain);
    if (stopped) co_return false;
  }
}

// An operator may let us in again. Whoever takes over strikes our registration, after fencing us at
// every server: if it is there when the header can be read, and then no server refuses us, nobody
// has. True: it is not fenced any more.
Task<bool> OpenHeader::wait_until_let_in(std::shared_ptr<OpenHeader> self) {
  Client& client = self->client_;
  Acks acks = std::exchange(self->acks_, {});
  ack_without_ios(self, std::move(acks));
  for (;;) {
    if (self->is_lost_) co_return false;
    const std::error_code stopped = co_await self->until_next_poll_.sleep(kAskWhetherFenced);
    if (stopped) co_return false;
    if (!self->is_watching_) {
      const std::error_code error = co_await watch(self);
      if (self->is_stopped_) co_return false;
      if (error) continue;
    }
    self->was_told_ = false;
    Outcome<VersionedHeader> found = co_await read_header(client, self->pool(), self->header_.id);
    if (self->is_stopped_) co_return false;
    if (!found && found.error().code == OsdErrc::kNoSuchObject) self->lose("the image was removed");
    if (!found) continue;
    self->adopt(std::move(*found));
    if (self->is_lost_) co_return false;
    const std::error_code refused = co_await ask_all_servers(self);
    if (self->is_stopped_) co_return false;
    // A change that was told since then was acked as by one that begins no IO: it is read first.
    if (refused || self->was_told_) continue;
    self->is_fenced_ = false;
    LUNAR_LOG(kGateway, 0, "image {}: no server refuses this gateway any more: IO goes on",
              self->spec_.to_string());
    co_return true;
  }
}

// Success if all of the pool carry out an op of ours, which changes nothing.
Task<std::error_code> OpenHeader::ask_all_servers(std::shared_ptr<OpenHeader> self) {
  objecter::Objecter& objecter = self->client_.objecter();
  const ImageId id = self->header_.id;
  std::error_code error;
  bool has_lost = false;
  // That writes are lost hides what other servers said, but not from a second flush.
  for (int round = 0; round < 2; ++round) {
    msgr::Completion<std::error_code> flushed;
    objecter.flush(self->pool(), id, self->client_.next_io_id(), flushed.callback());
    const std::error_code answer = co_await flushed;
    error = answer;
    if (error != OsdErrc::kLostWrites) break;
    has_lost = true;
  }
  if (has_lost) objecter.on_loss_unheard(id);  // that is for a flush of the initiator's
  // Whoever may only read is refused a flush, and harms nobody.
  if (self->options_.read_only && error == OsdErrc::kNotPermitted) error = {};
  co_return error;
}

void OpenHeader::on_notify(const objecter::NotifyEvent&, objecter::NotifyReply ack) {
  if (is_stopped_ || is_fenced_) {
    was_told_ = true;
    Acks one;
    one.push_back(std::move(ack));
    ack_without_ios(shared_from_this(), std::move(one));
    return;
  }
  acks_.push_back(std::move(ack));
  until_next_poll_.wake();
}

void OpenHeader::on_watch_lost(std::error_code error) {
  is_watching_ = false;
  LUNAR_LOG(kGateway, 0, "image {}: the watch was lost: {}", spec_.to_string(), error.message());
  until_next_poll_.wake();
}

void OpenHeader::fence(const std::string& why) {
  if (is_fenced_) return;
  is_fenced_ = true;
  LUNAR_ERROR(kGateway, "image {}: {}: fenced, IO is refused", spec_.to_string(), why);
}

void OpenHeader::lose(const std::string& why) {
  is_lost_ = true;
  fence(why);
}

void OpenHeader::on_fenced() {
  if (is_fenced_) return;
  fence("a server refuses this gateway");
  client_.center().post([self = shared_from_this()] { self->until_next_poll_.wake(); });
}

void OpenHeader::adopt(VersionedHeader found) {
  if (is_registered_ && found.header.find_registration(registration_.cookie) == nullptr) {
    lose("the registration of " + client_.instance() + " was struck");
  }
  const uint64_t old_size = size();
  header_ = std::move(found.header);
  version_ = found.version;
  if (size() == old_size) return;
  LUNAR_LOG(kGateway, 1, "image {}: size {} -> {}", spec_.to_string(), old_size, size());
  if (on_resize_) on_resize_(size());
}

// --- the end ---

void OpenHeader::stop() {
  is_stopped_ = true;
  when_ended_ = nullptr;
  until_next_poll_.close();
}

void OpenHeader::strike(UniqueFunction<void(Outcome<void>)> done) {
  const auto self = shared_from_this();
  is_struck_ = true;
  for (objecter::NotifyReply& ack : std::exchange(acks_, {})) ack({});
  run_to_done<Outcome<void>>(client_.center(), strike_once(self),
                             [self, done = std::move(done)](Outcome<void> struck) mutable {
                               end_watch(self, struck);
                               if (done) done(std::move(struck));
                             });
}

Task<Outcome<void>> OpenHeader::strike_once(std::shared_ptr<OpenHeader> self) {
  if (!self->is_registered_ || self->is_fenced_) co_return Outcome<void>();
  const uint64_t cookie = self->registration_.cookie;
  HeaderEditor edit = [cookie](ImageHeader& header) -> Outcome<void> {
    std::erase_if(header.registrations,
                  [cookie](const Registration& each) { return each.cookie == cookie; });
    return {};
  };
  Outcome<void> struck =
      co_await update_header(self->client_, self->pool(), self->header_.id, std::move(edit));
  if (!struck && struck.error().code == OsdErrc::kNoSuchObject) struck = Outcome<void>();
  co_return struck;
}

// The watch stays until the registration is out: one without it would be that of a dead gateway,
// and this gateway would be fenced for it.
Detached OpenHeader::end_watch(std::shared_ptr<OpenHeader> self, Outcome<void> struck) {
  Client& client = self->client_;
  while (!struck && struck.error().code != OsdErrc::kFenced) {
    Client::RetryDelay delay(client);
    const std::error_code ended = co_await delay.sleep(kTryAgain);
    if (ended) co_return;
    Outcome<void> again = co_await strike_once(self);
    struck = std::move(again);
  }
  if (!std::exchange(self->is_watching_, false)) co_return;
  const ObjectId object = header_of(self->pool(), self->header_.id);
  client.objecter().unwatch(object, self->registration_.cookie, [self](std::error_code) {});
}

}  // namespace lunar::gateway
