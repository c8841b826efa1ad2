// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/metadata/open_header.h"

#include <utility>

#include "common/log.h"
#include "common/random.h"
#include "gateway/io/counters.h"
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
constexpr std::chrono::seconds kLeaving{1};
// Why it is fenced.
constexpr const char* kRemoved = "the image was removed";
constexpr const char* kRefused = "a server refuses this gateway";

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
      newest_(std::move(found)),
      watch_(client, header_of(pool_.id, header().id), registration_.cookie, *this),
      fence_(client, spec_, pool_.id, header().id, options.read_only),
      until_next_poll_(client.center()),
      until_left_(client.center()),
      counters_(client.counters().of_image(header().id, spec_.to_string())) {}

// --- opening ---

void OpenHeader::open(Client& client, const ImageSpec& spec, const OpenOptions& options,
                      UniqueFunction<void(Outcome<std::shared_ptr<OpenHeader>>)> done) {
  run_to_done(client.center(), open_in_order(client, spec, options), std::move(done));
}

Task<Outcome<std::shared_ptr<OpenHeader>>> OpenHeader::open_in_order(Client& client, ImageSpec spec,
                                                                     OpenOptions options) {
  Outcome<VersionedHeader> found = co_await find_header(client, spec);
  if (!found) co_return failure(found.error());
  const Outcome<void> openable = require_openable(found->header, options);
  if (!openable) co_return failure(openable.error());
  const auto pool = client.find_pool(spec.pool);
  if (!pool) co_return failure(pool.error());
  const std::shared_ptr<OpenHeader> self(
      new OpenHeader(client, spec, *pool, options, std::move(*found)));
  const Outcome<void> opened = co_await open_found(self);
  if (!opened) {
    self->stop();
    msgr::Completion<Outcome<void>> left;
    self->strike(left.callback());
    // As at a close: who is refused may end at once. Not where the server is silent: it was waited
    // for already.
    const std::error_code why = opened.error().code;
    if (why == OsdErrc::kBusy || why == OsdErrc::kFenced) {
      const Outcome<void> ended = co_await left;
      static_cast<void>(ended);
    }
    co_return failure(opened.error());
  }
  follow(self);
  if (!options.read_only) strike_earlier(self);
  co_return self;
}

// Nobody waits for that: a server may be down, and the image serves without it.
Detached OpenHeader::strike_earlier(std::shared_ptr<OpenHeader> self) {
  const objecter::PoolInfo pool = self->pool_;
  const ImageHeader header = self->header();
  const Registration mine = self->registration_;
  const Outcome<void> struck = co_await strike_earlier_starts(self->client_, pool, header, mine);
  if (struck) co_return;
  LUNAR_LOG(kGateway, 0, "image {}: an earlier start of this gateway stays registered: {}",
            self->spec_.to_string(), struck.error().message);
}

// The watch comes first: a registration without one is that of a dead gateway.
Task<Outcome<void>> OpenHeader::open_found(std::shared_ptr<OpenHeader> self) {
  Client& client = self->client_;
  const ImageId id = self->header().id;
  const std::error_code watched = co_await self->watch_.begin();
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
  if (self->is_fenced()) {
    co_return failure(OsdErrc::kFenced, "image '" + self->spec_.to_string() +
                                            "' was taken over while it was being opened");
  }
  co_return Outcome<void>();
}

// --- while it is open ---

// Reads the header when there is a reason to. Acks come after that, and when no IO beyond the end
// of the image is in flight: whoever shrinks it may cut then.
Detached OpenHeader::follow(std::shared_ptr<OpenHeader> self) {
  Client& client = self->client_;
  const auto interval = client.config().get_duration("lunar_header_poll");
  const ObjectId object = header_of(self->pool(), self->header().id);
  for (;;) {
    if (self->is_fenced()) {
      const bool is_back = co_await wait_until_let_in(self);
      if (!is_back) co_return;
    }
    if (!self->acks_.has_any() && self->watch_.is_on()) {
      const std::error_code stopped = co_await self->until_next_poll_.sleep(interval);
      if (stopped) co_return;
    }
    const bool was_lost = !self->watch_.is_on();
    if (was_lost) {
      const bool is_back = co_await watch_again(self);
      if (!is_back) co_return;
    }
    if (self->is_fenced()) continue;
    NotifyAcks::Acks acks = self->acks_.take();
    if (acks.empty() && !was_lost) {
      const ObjectVersion version = self->newest_.version;
      const uint64_t io_id = client.next_io_id();
      const Result<bool> changed = co_await has_metadata_changed(client, object, version, io_id);
      if (self->is_stopped_) co_return;
      if (!changed || !*changed) continue;
    }
    const bool is_read = co_await read_again(self);
    if (self->is_stopped_ || (self->fence_.is_lost() && !is_read)) {
      self->acks_.give_idle(std::move(acks));
      co_return;
    }
    if (!is_read) {  // whoever waits for the acks is told by their absence
      const std::error_code stopped = co_await self->until_next_poll_.sleep(kTryAgain);
      if (stopped) co_return;
      continue;
    }
    if (acks.empty()) continue;
    msgr::Completion<void> given;
    self->acks_.give(std::move(acks), self->size(), given.callback());
    co_await given;
    if (self->is_stopped_) co_return;
  }
}

// False: it is as it was, as stop() was called, the image was removed (it is lost then), or a
// server does not answer.
Task<bool> OpenHeader::read_again(std::shared_ptr<OpenHeader> self) {
  const ImageId id = self->header().id;
  Outcome<VersionedHeader> found = co_await read_header(self->client_, self->pool(), id);
  if (self->is_stopped_) co_return false;
  if (!found) {
    if (found.error().code == OsdErrc::kNoSuchObject) self->fence_.lose(kRemoved);
    co_return false;
  }
  self->adopt(std::move(*found));
  co_return true;
}

// Until it has a watch again, or is fenced: true. False: it is over.
Task<bool> OpenHeader::watch_again(std::shared_ptr<OpenHeader> self) {
  for (;;) {
    const std::error_code error = co_await self->watch_.begin();
    if (self->is_stopped_) co_return false;
    if (!error) co_return true;
    if (error == OsdErrc::kNoSuchObject) {
      self->fence_.lose(kRemoved);
      co_return false;
    }
    if (error == OsdErrc::kFenced) {
      self->fence_.fence(kRefused);
      co_return true;
    }
    const std::error_code stopped = co_await self->until_next_poll_.sleep(kTryAgain);
    if (stopped) co_return false;
  }
}

// True: it is not fenced any more. False: it is over.
Task<bool> OpenHeader::wait_until_let_in(std::shared_ptr<OpenHeader> self) {
  self->acks_.give_idle(self->acks_.take());
  while (!self->fence_.is_lost()) {
    const std::error_code stopped = co_await self->until_next_poll_.sleep(kAskWhetherFenced);
    if (stopped) co_return false;
    if (!self->watch_.is_on()) {
      const std::error_code error = co_await self->watch_.begin();
      if (self->is_stopped_) co_return false;
      if (error) continue;
    }
    self->fence_.on_reading();
    const bool is_read = co_await read_again(self);
    if (self->is_stopped_) co_return false;
    if (!is_read || self->fence_.is_lost()) continue;
    const bool is_let_in = co_await self->fence_.try_to_lift();
    if (self->is_stopped_) co_return false;
    if (is_let_in) co_return true;
  }
  co_return false;
}

void OpenHeader::on_notify(const objecter::NotifyEvent& event, objecter::NotifyReply ack) {
  if (asks_image_counts(event.payload)) {  // nothing has changed, and no IO is waited for
    return ack(as_const_bytes(encode(counters_->counts())));
  }
  if (is_stopped_ || is_fenced()) {
    fence_.on_told();
    NotifyAcks::Acks one;
    one.push_back(std::move(ack));
    acks_.give_idle(std::move(one));
    return;
  }
  acks_.add(std::move(ack));
  until_next_poll_.wake();
}

void OpenHeader::on_watch_lost(std::error_code error) {
  watch_.on_lost();
  LUNAR_LOG(kGateway, 0, "image {}: the watch was lost: {}", spec_.to_string(), error.message());
  until_next_poll_.wake();
}

void OpenHeader::on_fenced() {
  if (is_fenced()) return;
  fence_.fence(kRefused);
  client_.center().post([self = shared_from_this()] { self->until_next_poll_.wake(); });
}

void OpenHeader::adopt(VersionedHeader found) {
  if (is_registered_ && found.header.find_registration(registration_.cookie) == nullptr) {
    fence_.lose("the registration of " + client_.instance() + " was struck");
  }
  const uint64_t old_size = size();
  newest_ = std::move(found);
  if (size() == old_size) return;
  LUNAR_LOG(kGateway, 1, "image {}: size {} -> {}", spec_.to_string(), old_size, size());
  if (on_resize_) on_resize_(size());
}

// --- the end ---

void OpenHeader::stop() {
  is_stopped_ = true;
  acks_.stop();
  until_next_poll_.close();
}

void OpenHeader::strike(UniqueFunction<void(Outcome<void>)> done) {
  const auto self = shared_from_this();
  acks_.release();
  run_to_done<Outcome<void>>(client_.center(), leave(self),
                             [self, done = std::move(done)](Outcome<void> struck) mutable {
                               end_watch(self, struck);
                               if (done) done(std::move(struck));
                             });
}

// Who closes and then ends at once must not leave the watch behind: the next one would wait until
// it is dead. But it waits for a moment only, as the server may be down.
Task<Outcome<void>> OpenHeader::leave(std::shared_ptr<OpenHeader> self) {
  Outcome<void> struck = co_await strike_once(self);
  const bool is_out = struck || struck.error().code == OsdErrc::kFenced;
  if (!is_out) co_return struck;
  self->watch_.end([self](std::error_code) { self->until_left_.wake(); });
  const std::error_code woken = co_await self->until_left_.sleep(kLeaving);
  static_cast<void>(woken);
  co_return struck;
}

Task<Outcome<void>> OpenHeader::strike_once(std::shared_ptr<OpenHeader> self) {
  if (!self->is_registered_ || self->is_fenced()) co_return Outcome<void>();
  const uint64_t cookie = self->registration_.cookie;
  HeaderEditor edit = [cookie](ImageHeader& header) -> Outcome<void> {
    std::erase_if(header.registrations,
                  [cookie](const Registration& each) { return each.cookie == cookie; });
    return {};
  };
  Outcome<void> struck =
      co_await update_header(self->client_, self->pool(), self->header().id, std::move(edit));
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
  self->watch_.end([self](std::error_code) {});
}

}  // namespace lunar::gateway
