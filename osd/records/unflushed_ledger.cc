// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/records/unflushed_ledger.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "common/log.h"

// A flush round covers the writes that ended before it began. When one succeeds, images whose last
// write ended in an earlier round, and that have no write in progress, have nothing unflushed left.

namespace lunar::osd {

UnflushedLedger::UnflushedLedger(msgr::EventCenter& center, ServerRecords& records,
                                 Durability& durability, uint64_t incarnation)
    : durability_(durability),
      marks_(center, records, incarnation),
      losses_(records),
      recorder_(center, durability, losses_) {}

UnflushedLedger::~UnflushedLedger() { durability_.set_on_loss({}); }

void UnflushedLedger::load(msgr::EventCenter& center, ServerRecords& records,
                           Durability& durability, uint64_t incarnation, LoadDone done) {
  std::unique_ptr<UnflushedLedger> ledger(
      new UnflushedLedger(center, records, durability, incarnation));
  UnflushedLedger& self = *ledger;
  if (const Outcome<void> read = self.read_records(records); !read) {
    center.post(UniqueFunction<void()>(
        [error = read.error(), done = std::move(done)]() mutable { done(failure(error)); }));
    return;
  }
  const bool has_lost = durability.may_have_lost_writes();
  if (has_lost || self.verifier() == 0) self.losses_.lose(self.marks_.at_risk());
  durability.set_on_loss([&self](std::error_code error, const std::vector<ObjectId>& objects) {
    self.on_loss(error, objects);
  });
  if (self.has_too_many_damaged()) self.log_too_many();
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

Outcome<void> UnflushedLedger::read_records(const ServerRecords& records) {
  const auto read = [&records](const char* key, auto& table) -> Outcome<void> {
    const auto record = records.get_record(key);
    if (!record) return {};  // none yet
    if (table.decode(*record)) return {};
    return failure(OsdErrc::kCorrupt,
                   std::string("record ") + key +
                       " of the store is damaged, or of another version of lunar-osd; it says "
                       "which images may have lost writes, so the server does not start");
  };
  auto marks = read(UnflushedMarks::kRecord, marks_);
  if (!marks) return marks;
  return read(LossTable::kRecord, losses_);
}

// --- writes ---

bool UnflushedLedger::begin_write(ImageId image) {
  const bool is_marked = marks_.begin_write(image);
  return is_marked && may_acknowledge();
}

void UnflushedLedger::wait_marked(ImageId image, const std::string& entity, StoreDone done) {
  recorder_.try_again();  // ahead of the mark, so that it is known first whether that helps
  marks_.wait_marked(image, entity, [this, done = std::move(done)](std::error_code error) mutable {
    if (!error && !may_acknowledge()) error = OsdErrc::kIoError;
    done(error);
  });
}

// --- flushes ---

void UnflushedLedger::flush(ImageId image, std::shared_ptr<const ClientName> client, uint64_t heard,
                            FlushDone done) {
  next_flush_.push_back({image, std::move(client), heard, std::move(done)});
  if (!is_flushing_) start_flush();
}

void UnflushedLedger::start_flush() {
  recorder_.try_again();
  is_flushing_ = true;
  this_flush_ = std::exchange(next_flush_, {});
  const uint64_t round = marks_.begin_round();
  durability_.flush([this, round](std::error_code error) { on_flushed(round, error); });
}

void UnflushedLedger::on_flushed(uint64_t round, std::error_code error) {
  if (error) {
    LUNAR_ERROR(kOsd, "flush failed ({}): {} images have writes that it did not make durable",
                error.message(), marks_.at_risk().size());
    return finish_flush(wire_error(error));  // if it is a loss, on_loss() came first
  }
  // The marks are all that is durable of a loss whose record is not.
  const bool may_clear = !recorder_.is_recording() && !recorder_.is_unrecorded();
  if (may_clear) marks_.end_round(round);
  finish_flush(answer_of_success());
}

void UnflushedLedger::finish_flush(OsdErrc answer) {
  auto waiters = std::exchange(this_flush_, {});
  is_flushing_ = false;
  if (!next_flush_.empty()) start_flush();
  answer_flushes(std::move(waiters), answer);
}

void UnflushedLedger::answer_flushes(std::vector<FlushWaiter> waiters, OsdErrc error) {
  bool has_changed = false;
  for (FlushWaiter& waiter : waiters) {
    OsdErrc answer = error;
    has_changed |= losses_.add_heard(waiter.image, *waiter.client, waiter.heard);
    // Of a round that has done nothing, and lost nothing either, another one tells.
    const bool was_tried = error != OsdErrc::kBusy;
    const uint64_t unheard = was_tried ? losses_.unheard_by(waiter.image, *waiter.client) : 0;
    if (unheard != 0) {
      answer = OsdErrc::kLostWrites;
      LUNAR_LOG(kOsd, 0, "{} is told that image {:x} may have lost writes",
                waiter.client->to_string(), waiter.image);
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

// --- losses ---

void UnflushedLedger::on_loss(std::error_code error, const std::vector<ObjectId>& objects) {
  LUNAR_ERROR(kOsd, "the store could not make writes durable ({}); {} images may have lost writes",
              error.message(), marks_.at_risk().size());
  losses_.lose(marks_.at_risk());
  for (const ObjectId& object : objects) {
    LUNAR_ERROR(kOsd, "object {} of pool {} may be damaged and is refused until it is replaced",
                object.name, object.pool);
    losses_.add_damaged(object);
  }
  if (losses_.has_too_many_damaged()) log_too_many();
  recorder_.record();
}

void UnflushedLedger::log_too_many() const {
  LUNAR_ERROR(kOsd,
              "more than {} objects may be damaged, and not all of them are known: every op on an "
              "object is refused from now on; give the server a new store (lunar osd replace)",
              LossTable::kMaxDamaged);
}

// --- the end ---

void UnflushedLedger::shutdown(UniqueFunction<void()> done) {
  recorder_.stop();
  flush(0, std::make_shared<ClientName>(), 0,
        [this, done = std::move(done)](OsdErrc, uint64_t) mutable {
          marks_.clear_flushed([](std::error_code) {});
          losses_.save(
              [this, done = std::move(done)](std::error_code) mutable { drain(std::move(done)); });
        });
}

void UnflushedLedger::drain(UniqueFunction<void()> done) {
  auto again = [this](UniqueFunction<void()> then) {
    return [this, then = std::move(then)](std::error_code) mutable { drain(std::move(then)); };
  };
  if (losses_.is_busy()) return losses_.save(again(std::move(done)));
  if (marks_.is_busy()) return marks_.clear_flushed(again(std::move(done)));
  done();
}

std::vector<std::string> UnflushedLedger::damaged_after(const ObjectId& object) const {
  const std::set<ObjectId>& all = losses_.damaged();
  std::vector<std::string> names;
  for (auto at = all.upper_bound(object); at != all.end() && at->pool == object.pool; ++at) {
    names.push_back(at->name);
  }
  return names;
}

std::string UnflushedLedger::to_json() const {
  using Json = nlohmann::ordered_json;
  Json out;
  out["verifier"] = verifier();
  out["records_failed"] = recorder_.is_unrecorded();
  out["too_many_damaged"] = has_too_many_damaged();
  out["unflushed_images"] = marks_.at_risk();
  out["marked_images"] = marked_images();
  out["lost_writes"] = Json::array();
  for (const auto& [image, loss] : losses_.losses())
    out["lost_writes"].push_back({{"image", image}, {"loss", loss.id}, {"told", loss.told}});
  out["damaged_objects"] = Json::array();
  for (const ObjectId& id : losses_.damaged())
    out["damaged_objects"].push_back({{"pool", id.pool}, {"object", id.name}});
  return out.dump(2, ' ', false, Json::error_handler_t::replace);
}

}  // namespace lunar::osd
