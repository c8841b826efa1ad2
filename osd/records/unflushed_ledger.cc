// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/records/unflushed_ledger.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "common/log.h"
#include "common/random.h"

// A flush round covers the writes that ended before it began. `round_` is the number of the latest
// round; a write notes it when it ends. When round r succeeds, images whose last write ended in an
// earlier round, and that have no write in progress, have nothing unflushed left.

namespace lunar::osd {
namespace {
constexpr std::chrono::seconds kRecordAgain{1};
}  // namespace

UnflushedLedger::UnflushedLedger(msgr::EventCenter& center, ServerRecords& records,
                                 Durability& durability, uint64_t incarnation)
    : center_(center),
      records_(records),
      durability_(durability),
      incarnation_(incarnation),
      marks_(records, "unflushed", [this] { return encode_marks(); }),
      losses_(records, "losses", [this] { return encode_losses(); }) {}

UnflushedLedger::~UnflushedLedger() {
  center_.cancel(retry_);
  durability_.set_on_loss({});
}

void UnflushedLedger::load(msgr::EventCenter& center, ServerRecords& records,
                           Durability& durability, uint64_t incarnation, LoadDone done) {
  std::unique_ptr<UnflushedLedger> ledger(
      new UnflushedLedger(center, records, durability, incarnation));
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
  return entry.is_marked && entry.is_durable && may_acknowledge();
}

void UnflushedLedger::wait_marked(ImageId image, StoreDone done) {
  try_record_again();  // ahead of the mark, so that it is known first whether that helps
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
    // A mark that is durable stays whatever becomes of this write: it may stand for a loss.
    if (!saved.is_durable) {
      if (!error && marked_images() > kMaxImages) error = OsdErrc::kBusy;
      saved.is_marked = saved.is_durable = !error;
    }
    if (!error && !may_acknowledge()) error = OsdErrc::kIoError;
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

void UnflushedLedger::flush(ImageId image, std::shared_ptr<const ClientName> client, uint64_t heard,
                            FlushDone done) {
  next_flush_.push_back({image, std::move(client), heard, std::move(done)});
  if (!is_flushing_) start_flush();
}

void UnflushedLedger::start_flush() {
  try_record_again();
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
    LUNAR_ERROR(kOsd, "flush failed ({}): {} images have writes that it did not make durable",
                error.message(), marked_images());
    finish(wire_error(error));  // if it is a loss, on_loss() came first
    return;
  }
  const auto answer = [this] { return may_acknowledge() ? OsdErrc::kOk : OsdErrc::kIoError; };
  // The marks are all that is durable of a loss whose record is not.
  if (recording_ > 0 || is_unrecorded_) {
    finish(answer());
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
    finish(answer());
    return;
  }
  marks_.save([finish, answer](std::error_code failed) {
    // The data is durable all the same; a mark that stays can only raise a false alarm.
    if (failed) LUNAR_ERROR(kOsd, "cannot clear unflushed marks: {}", failed.message());
    finish(answer());
  });
}

bool UnflushedLedger::ImageLoss::add(const std::string& client) {
  if (std::find(told.begin(), told.end(), client) != told.end()) return false;
  told.push_back(client);
  if (told.size() > kMaxToldClients) told.pop_front();
  return true;
}

void UnflushedLedger::answer_flushes(std::vector<FlushWaiter> waiters, OsdErrc error) {
  bool has_changed = false;
  for (FlushWaiter& waiter : waiters) {
    OsdErrc answer = error;
    uint64_t unheard = 0;
    if (const auto lost = lost_.find(waiter.image); lost != lost_.end()) {
      ImageLoss& loss = lost->second;
      const std::string name = waiter.client->to_string().substr(0, kMaxClientBytes);
      if (waiter.heard == loss.id) {
        has_changed |= loss.add(name);
      } else if (std::find(loss.told.begin(), loss.told.end(), name) == loss.told.end()) {
        answer = OsdErrc::kLostWrites;
        unheard = loss.id;
        LUNAR_LOG(kOsd, 0, "{} is told that image {:x} may have lost writes", name, waiter.image);
      }
    }
    waiter.done(answer, unheard);
  }
  // After the answers: a crash in between tells them again, which is the safe way round.
  if (has_changed) {
    losses_.save([](std::error_code failed) {
      if (failed)
        LUNAR_ERROR(kOsd, "cannot note who has heard of lost writes: {}", failed.message());
    });
  }
}

void UnflushedLedger::lose_marked() {
  verifier_ = random_u64() | 1;
  for (const auto& [image, entry] : images_)
    if (entry.is_marked || entry.writing > 0) lost_[image] = {verifier_, {}};
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
      has_too_many_damaged_ = true;
  }
  record_loss();
}

void UnflushedLedger::record_loss() {
  ++recording_;
  losses_.save([this](std::error_code error) {
    --recording_;
    on_recorded(error);
    if (recording_ > 0) return;
    for (auto& done : std::exchange(after_recording_, {})) done();
  });
}

void UnflushedLedger::on_recorded(std::error_code error) {
  is_unrecorded_ = static_cast<bool>(error);
  if (error) {
    LUNAR_ERROR(kOsd,
                "lost writes cannot be recorded ({}): no write is acknowledged and no flush "
                "succeeds until they are; see to the disk of the store",
                error.message());
    if (retry_ != msgr::TimerId::kNone || is_shut_down_) return;
    retry_ = center_.run_after(kRecordAgain, [this] {
      retry_ = msgr::TimerId::kNone;
      try_record_again();
    });
    return;
  }
  center_.cancel(std::exchange(retry_, msgr::TimerId::kNone));
  if (recording_ > 0) return;  // a later loss is not in the record yet
  durability_.acknowledge_loss([](std::error_code failed) {
    if (failed) LUNAR_ERROR(kOsd, "cannot acknowledge a loss: {}", failed.message());
  });
}

void UnflushedLedger::try_record_again() {
  if (is_unrecorded_ && recording_ == 0) record_loss();
}

void UnflushedLedger::repaired(const ObjectId& object, StoreDone done) {
  damaged_.erase(object);
  losses_.save([this, object, done = std::move(done)](std::error_code error) mutable {
    if (error) damaged_.insert(object);  // as the record has it
    done(error);
  });
}

void UnflushedLedger::shutdown(UniqueFunction<void()> done) {
  is_shut_down_ = true;
  center_.cancel(std::exchange(retry_, msgr::TimerId::kNone));
  flush(0, std::make_shared<ClientName>(), 0,
        [this, done = std::move(done)](OsdErrc, uint64_t) mutable {
          losses_.save(
              [this, done = std::move(done)](std::error_code) mutable { drain(std::move(done)); });
        });
}

void UnflushedLedger::drain(UniqueFunction<void()> done) {
  RecordWriter* const busy = losses_.is_busy() ? &losses_ : marks_.is_busy() ? &marks_ : nullptr;
  if (busy == nullptr) return done();
  busy->save([this, done = std::move(done)](std::error_code) mutable { drain(std::move(done)); });
}

std::size_t UnflushedLedger::marked_images() const noexcept {
  return static_cast<std::size_t>(std::count_if(
      images_.begin(), images_.end(), [](const auto& entry) { return entry.second.is_marked; }));
}

}  // namespace lunar::osd
