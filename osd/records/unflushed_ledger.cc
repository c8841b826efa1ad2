// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/records/unflushed_ledger.h"

#include <algorithm>
#include <utility>

#include "common/log.h"
#include "common/random.h"

// A flush round covers the writes that ended before it began. `round_` is the number of the latest
// round; a write notes it when it ends. When round r succeeds, images whose last write ended in an
// earlier round, and that have no write in progress, have nothing unflushed left.

namespace lunar::osd {

UnflushedLedger::UnflushedLedger(ServerRecords& records, Durability& durability,
                                 uint64_t incarnation)
    : records_(records),
      durability_(durability),
      incarnation_(incarnation),
      marks_(records, "unflushed", [this] { return encode_marks(); }),
      losses_(records, "losses", [this] { return encode_losses(); }) {}

UnflushedLedger::~UnflushedLedger() { durability_.set_on_loss({}); }

void UnflushedLedger::load(msgr::EventCenter& center, ServerRecords& records,
                           Durability& durability, uint64_t incarnation, LoadDone done) {
  std::unique_ptr<UnflushedLedger> ledger(new UnflushedLedger(records, durability, incarnation));
  UnflushedLedger& self = *ledger;
  if (const Outcome<void> read = self.read_records(); !read) {
    center.post(UniqueFunction<void()>(
        [error = read.error(), done = std::move(done)]() mutable { done(failure(error)); }));
    return;
  }
  const bool has_lost = durability.may_have_lost_writes();
  if (has_lost || self.verifier_ == 0) self.lose_marked();
  durability.set_on_loss([&self](std::error_code error, const std::vector<ObjectId>& objects) {
    self.on_loss(error, objects);
  });
  auto finish = [ledger = std::move(ledger),
                 done = std::move(done)](std::error_code error) mutable {
    if (!error) return done(std::move(ledger));
    done(failure(error,
                 "the store cannot write its record of lost writes (" + error.message() + ")"));
  };
  self.losses_.save(
      [&durability, has_lost, finish = std::move(finish)](std::error_code error) mutable {
        if (error || !has_lost) return finish(error);
        durability.acknowledge_loss(std::move(finish));
      });
}

bool UnflushedLedger::begin_write(ImageId image) {
  ImageMark& entry = images_[image];
  ++entry.writing;
  return entry.is_marked && entry.is_durable && !has_failed_;
}

void UnflushedLedger::wait_marked(ImageId image, StoreDone done) {
  ImageMark& entry = images_[image];
  entry.waiting.push_back(std::move(done));
  if (!entry.is_saving) save_mark(image);
}

void UnflushedLedger::save_mark(ImageId image) {
  ImageMark& entry = images_[image];
  entry.is_saving = true;
  entry.is_marked = true;
  marks_.save([this, image](std::error_code error) {
    ImageMark& saved = images_[image];
    saved.is_saving = false;
    if (!error && has_failed_) error = OsdErrc::kIoError;
    if (!error && marked_images() > kMaxImages) error = OsdErrc::kBusy;
    saved.is_marked = saved.is_durable = !error;
    auto waiting = std::exchange(saved.waiting, {});
    forget_if_idle(image);
    for (auto& done : waiting) done(error);
  });
}

void UnflushedLedger::end_write(ImageId image) {
  ImageMark& entry = images_[image];
  LUNAR_CHECK(entry.writing > 0, "a write ended twice");
  --entry.writing;
  entry.last_write = round_;
  forget_if_idle(image);
}

void UnflushedLedger::forget_if_idle(ImageId image) {
  const auto found = images_.find(image);
  if (found == images_.end()) return;
  const ImageMark& entry = found->second;
  if (!entry.is_marked && entry.writing == 0 && !entry.is_saving) images_.erase(found);
}

void UnflushedLedger::flush(ImageId image, std::shared_ptr<const ClientName> client,
                            InlineFunction<void(OsdErrc)> done) {
  next_flush_.push_back({image, std::move(client), std::move(done)});
  if (!is_flushing_) start_flush();
}

void UnflushedLedger::start_flush() {
  is_flushing_ = true;
  this_flush_ = std::exchange(next_flush_, {});
  const uint64_t round = ++round_;
  durability_.flush([this, round](std::error_code error) { flush_done(round, error); });
}

void UnflushedLedger::flush_done(uint64_t round, std::error_code error) {
  const auto finish = [this](OsdErrc answer) {
    auto waiters = std::exchange(this_flush_, {});
    is_flushing_ = false;
    if (!next_flush_.empty()) start_flush();
    answer_flushes(std::move(waiters), answer);
  };
  if (error) {
    LUNAR_ERROR(kOsd, "flush failed ({}): unflushed writes of {} images may be lost",
                error.message(), marked_images());
    finish(wire_error(error));  // on_loss() came first
    return;
  }
  std::vector<ImageId> cleared;
  for (auto& [image, entry] : images_) {
    if (!entry.is_marked || entry.writing > 0 || entry.is_saving || entry.last_write >= round)
      continue;
    entry.is_marked = entry.is_durable = false;
    cleared.push_back(image);
  }
  for (const ImageId image : cleared) forget_if_idle(image);
  if (cleared.empty()) {
    finish(has_failed_ ? OsdErrc::kIoError : OsdErrc::kOk);
    return;
  }
  marks_.save([this, finish](std::error_code failed) {
    // The data is durable all the same; a mark that stays can only raise a false alarm.
    if (failed) LUNAR_ERROR(kOsd, "cannot clear unflushed marks: {}", failed.message());
    finish(has_failed_ ? OsdErrc::kIoError : OsdErrc::kOk);
  });
}

void UnflushedLedger::answer_flushes(std::vector<FlushWaiter> waiters, OsdErrc error) {
  bool was_told_to_someone = false;
  for (FlushWaiter& waiter : waiters) {
    if (!waiter.done) continue;
    OsdErrc answer = error;
    const auto lost = lost_.find(waiter.image);
    if (lost != lost_.end()) {
      auto& told = lost->second;
      const std::string name = waiter.client->to_string().substr(0, kMaxClientBytes);
      if (std::find(told.begin(), told.end(), name) == told.end()) {
        told.push_back(name);
        if (told.size() > kMaxToldClients) told.pop_front();
        was_told_to_someone = true;
        answer = OsdErrc::kLostWrites;
        LUNAR_LOG(kOsd, 0, "{} is told that image {:x} may have lost writes", name, waiter.image);
      }
    }
    waiter.done(answer);
  }
  // After the answers: a crash in between tells them again, which is the safe way round.
  if (was_told_to_someone) {
    losses_.save([](std::error_code failed) {
      if (failed)
        LUNAR_ERROR(kOsd, "cannot note who was told of lost writes: {}", failed.message());
    });
  }
}

void UnflushedLedger::lose_marked() {
  verifier_ = random_u64() | 1;
  for (const auto& [image, entry] : images_)
    if (entry.is_marked || entry.writing > 0) lost_[image].clear();
}

void UnflushedLedger::on_loss(std::error_code error, const std::vector<ObjectId>& objects) {
  LUNAR_ERROR(kOsd, "the store could not make writes durable ({}); {} images may have lost writes",
              error.message(), marked_images());
  lose_marked();
  for (const ObjectId& object : objects) {
    LUNAR_ERROR(kOsd, "object {} of pool {} may be damaged and is refused until it is replaced",
                object.name, object.pool);
    if (damaged_.size() < kMaxDamaged)
      damaged_.insert(object);
    else
      has_failed_ = true;
  }
  record_loss();
}

void UnflushedLedger::record_loss() {
  ++recording_;
  losses_.save([this](std::error_code error) {
    --recording_;
    if (error) {
      has_failed_ = true;
      LUNAR_ERROR(
          kOsd,
          "lost writes cannot be recorded ({}): no write is acknowledged until the store is "
          "repaired and the server restarted",
          error.message());
    } else {
      durability_.acknowledge_loss([](std::error_code failed) {
        if (failed) LUNAR_ERROR(kOsd, "cannot acknowledge a loss: {}", failed.message());
      });
    }
    if (recording_ > 0) return;
    for (auto& done : std::exchange(after_recording_, {})) done();
  });
}

void UnflushedLedger::repaired(const ObjectId& object, StoreDone done) {
  damaged_.erase(object);
  losses_.save(std::move(done));
}

void UnflushedLedger::shutdown(UniqueFunction<void()> done) {
  flush(0, std::make_shared<ClientName>(), [this, done = std::move(done)](OsdErrc) mutable {
    losses_.save(
        [this, done = std::move(done)](std::error_code) mutable { settle(std::move(done)); });
  });
}

void UnflushedLedger::settle(UniqueFunction<void()> done) {
  RecordWriter* const busy = losses_.is_busy() ? &losses_ : marks_.is_busy() ? &marks_ : nullptr;
  if (busy == nullptr) return done();
  busy->save([this, done = std::move(done)](std::error_code) mutable { settle(std::move(done)); });
}

std::size_t UnflushedLedger::marked_images() const noexcept {
  return static_cast<std::size_t>(std::count_if(
      images_.begin(), images_.end(), [](const auto& entry) { return entry.second.is_marked; }));
}

}  // namespace lunar::osd
