// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/store/faulty_store.h"

namespace lunar::osd {

FaultyStore::~FaultyStore() {
  for (const auto& [call, waiting] : held_) {
    LUNAR_CHECK(waiting.empty(), "a FaultyStore was destroyed with calls held");
  }
}

void FaultyStore::fail_next(Call call, std::error_code error, unsigned count) {
  failures_[call].insert(failures_[call].end(), count, error);
}

void FaultyStore::release(Call call) {
  holding_[call] = false;
  std::vector<Held> waiting = std::move(held_[call]);
  held_[call].clear();
  for (Held& one : waiting) {
    auto boxed = std::make_unique<Held>(std::move(one));
    center_.post([boxed = std::move(boxed)] { boxed->done(boxed->error); });
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

void FaultyStore::deliver(Call call, Done done, std::error_code error) {
  if (holding_[call]) {
    held_[call].push_back({std::move(done), error});
  } else {
    done(error);
  }
}

ObjectStore::Done FaultyStore::pass(Call call, Done done) {
  ++calls_[call];
  auto boxed = std::make_unique<Done>(std::move(done));
  auto& failures = failures_[call];
  if (failures.empty()) {
    return [this, call, boxed = std::move(boxed)](std::error_code error) {
      deliver(call, std::move(*boxed), error);
    };
  }
  const std::error_code error = failures.front();
  failures.pop_front();
  center_.post([this, call, error, boxed = std::move(boxed)] {
    if (call == Call::kFlush) {
      is_lost_ = true;
      if (*on_loss_) (*on_loss_)(error, {});
    }
    deliver(call, std::move(*boxed), error);
  });
  return nullptr;
}

void FaultyStore::read(const ObjectId& id, uint64_t offset, Bytes into, Done done) {
  if (Done next = pass(Call::kRead, std::move(done))) {
    inner_->read(id, offset, into, std::move(next));
  }
}
void FaultyStore::map_extents(const ObjectId& id, uint64_t offset, uint64_t length,
                              InlineFunction<void(Result<ExtentMap>)> done) {
  inner_->map_extents(id, offset, length, std::move(done));
}
void FaultyStore::stat(const ObjectId& id, InlineFunction<void(Result<Stat>)> done) {
  inner_->stat(id, std::move(done));
}
void FaultyStore::write(const ObjectId& id, uint64_t offset, ConstBytes from, bool fua, Done done) {
  if (Done next = pass(Call::kWrite, std::move(done))) {
    inner_->write(id, offset, from, fua, std::move(next));
  }
}
void FaultyStore::zero(const ObjectId& id, uint64_t offset, uint64_t length, bool fua, Done done) {
  if (Done next = pass(Call::kZero, std::move(done))) {
    inner_->zero(id, offset, length, fua, std::move(next));
  }
}
void FaultyStore::truncate(const ObjectId& id, uint64_t size, Done done) {
  if (Done next = pass(Call::kTruncate, std::move(done))) {
    inner_->truncate(id, size, std::move(next));
  }
}
void FaultyStore::remove(const ObjectId& id, Done done) {
  if (Done next = pass(Call::kRemove, std::move(done))) inner_->remove(id, std::move(next));
}
void FaultyStore::replace(const ObjectId& id, ConstBytes from, Done done) {
  if (Done next = pass(Call::kReplace, std::move(done))) {
    inner_->replace(id, from, std::move(next));
  }
}
void FaultyStore::remove_durably(const ObjectId& id, Done done) {
  if (Done next = pass(Call::kRemove, std::move(done))) {
    inner_->remove_durably(id, std::move(next));
  }
}
void FaultyStore::set_xattr(const ObjectId& id, const std::string& name, ConstBytes value,
                            Done done) {
  inner_->set_xattr(id, name, value, std::move(done));
}
void FaultyStore::get_xattr(const ObjectId& id, const std::string& name,
                            InlineFunction<void(Result<std::vector<std::byte>>)> done) {
  inner_->get_xattr(id, name, std::move(done));
}
void FaultyStore::list(objecter::PoolId pool, const std::string& cursor, uint32_t limit,
                       bool (*in_pg)(const void* context, const std::string& name),
                       std::shared_ptr<const void> context,
                       InlineFunction<void(Result<std::vector<std::string>>)> done) {
  inner_->list(pool, cursor, limit, in_pg, std::move(context), std::move(done));
}
void FaultyStore::flush(Done done) {
  if (Done next = pass(Call::kFlush, std::move(done))) inner_->flush(std::move(next));
}
void FaultyStore::set_on_loss(OnLoss on_loss) {
  *on_loss_ = std::move(on_loss);
  inner_->set_on_loss(
      [shared = on_loss_](std::error_code error, const std::vector<ObjectId>& objects) {
        if (*shared) (*shared)(error, objects);
      });
}
void FaultyStore::put_record(const std::string& key, std::vector<std::byte> value, Done done) {
  if (Done next = pass(Call::kRecord, std::move(done))) {
    inner_->put_record(key, std::move(value), std::move(next));
  }
}
Result<std::vector<std::byte>> FaultyStore::get_record(const std::string& key) const {
  return inner_->get_record(key);
}
std::vector<std::string> FaultyStore::record_keys(const std::string& prefix) const {
  return inner_->record_keys(prefix);
}
bool FaultyStore::may_have_lost_writes() const noexcept {
  return is_lost_ || inner_->may_have_lost_writes();
}
void FaultyStore::acknowledge_loss(Done done) {
  is_lost_ = false;
  inner_->acknowledge_loss(std::move(done));
}

}  // namespace lunar::osd
