// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/osd/store/faulty_store.h"

namespace lunar::osd {

FaultyStore::~FaultyStore() {
  for (const auto& [call, waiting] : held_) {
    LUNAR_CHECK(waiting.empty(), "a FaultyStore was destroyed with calls held");
  }
}

void FaultyStore::fail_next(Call call, std::error_code error, unsigned count) {
  failures_[call].insert(failures_[call].end(), count, error);
}

void FaultyStore::lose(const std::vector<ObjectId>& objects) {
  is_lost_ = true;
  if (*on_loss_) (*on_loss_)(std::make_error_code(std::errc::io_error), objects);
}

void FaultyStore::release(Call call) {
  is_holding_[call] = false;
  for (HeldDone& held : std::exchange(held_[call], {})) {
    center_.post([done = std::move(held.done), error = held.error]() mutable { done(error); });
  }
}

std::size_t FaultyStore::held(Call call) const {
  const auto found = held_.find(call);
  return found == held_.end() ? 0 : found->second.size();
}

std::size_t FaultyStore::calls(Call call) const {
  const auto found = calls_.find(call);
  return found == calls_.end() ? 0 : found->second;
}

void FaultyStore::deliver(Call call, StoreDone done, std::error_code error) {
  if (is_holding_[call]) {
    held_[call].push_back({std::move(done), error});
  } else {
    done(error);
  }
}

StoreDone FaultyStore::pass(Call call, StoreDone done) {
  ++calls_[call];
  auto& failures = failures_[call];
  if (failures.empty()) {
    return [this, call, done = std::move(done)](std::error_code error) mutable {
      deliver(call, std::move(done), error);
    };
  }
  const std::error_code error = failures.front();
  failures.pop_front();
  center_.post([this, call, error, done = std::move(done)]() mutable {
    if (call == Call::kFlush && error != system_error(EMFILE)) {
      is_lost_ = true;
      if (*on_loss_) (*on_loss_)(error, {});
    }
    deliver(call, std::move(done), error);
  });
  return nullptr;
}

void FaultyStore::read(const ObjectId& id, uint64_t offset, Bytes into, DataDone done) {
  if (StoreDone next = pass(Call::kRead, std::move(done))) {
    inner_->read(id, offset, into, std::move(next));
  }
}
void FaultyStore::write(const ObjectId& id, uint64_t offset, ConstBytes from, bool fua,
                        DataDone done) {
  if (StoreDone next = pass(Call::kWrite, std::move(done))) {
    inner_->write(id, offset, from, fua, std::move(next));
  }
}
void FaultyStore::zero(const ObjectId& id, uint64_t offset, uint64_t length, bool fua,
                       DataDone done) {
  if (StoreDone next = pass(Call::kZero, std::move(done))) {
    inner_->zero(id, offset, length, fua, std::move(next));
  }
}
void FaultyStore::truncate(const ObjectId& id, uint64_t size, StoreDone done) {
  if (StoreDone next = pass(Call::kTruncate, std::move(done))) {
    inner_->truncate(id, size, std::move(next));
  }
}
void FaultyStore::remove(const ObjectId& id, StoreDone done) {
  if (StoreDone next = pass(Call::kRemove, std::move(done))) inner_->remove(id, std::move(next));
}
void FaultyStore::replace(const ObjectId& id, ConstBytes from, StoreDone done) {
  if (StoreDone next = pass(Call::kReplace, std::move(done))) {
    inner_->replace(id, from, std::move(next));
  }
}
void FaultyStore::remove_durably(const ObjectId& id, StoreDone done) {
  if (StoreDone next = pass(Call::kRemove, std::move(done))) {
    inner_->remove_durably(id, std::move(next));
  }
}
void FaultyStore::flush(StoreDone done) {
  if (StoreDone next = pass(Call::kFlush, std::move(done))) inner_->flush(std::move(next));
}
void FaultyStore::set_on_loss(OnLoss on_loss) {
  *on_loss_ = std::move(on_loss);
  inner_->set_on_loss(
      [shared = on_loss_](std::error_code error, const std::vector<ObjectId>& objects) {
        if (*shared) (*shared)(error, objects);
      });
}
void FaultyStore::put_record(const std::string& key, std::vector<std::byte> value, StoreDone done) {
  if (StoreDone next = pass(Call::kRecord, std::move(done))) {
    inner_->put_record(key, std::move(value), std::move(next));
  }
}
bool FaultyStore::may_have_lost_writes() const noexcept {
  return is_lost_ || inner_->may_have_lost_writes();
}
void FaultyStore::acknowledge_loss(StoreDone done) {
  is_lost_ = false;
  inner_->acknowledge_loss(std::move(done));
}

}  // namespace lunar::osd
