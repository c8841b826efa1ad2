// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "msgr/event_center.h"
#include "tests/osd/store/forwarding_store.h"

namespace lunar::osd {

// A store in front of another that fails or holds back calls of one kind when told to. Everything
// else passes through.
// Loop-bound. Owns the store behind it.
class FaultyStore final : public ForwardingStore {
 public:
  enum class Call : uint8_t { kRead, kWrite, kZero, kTruncate, kRemove, kReplace, kFlush, kRecord };

  FaultyStore(msgr::EventCenter& center, std::unique_ptr<ObjectStore> inner)
      : ForwardingStore(*inner), center_(center), inner_(std::move(inner)) {}
  ~FaultyStore() override;  // REQUIRES: nothing is held

  // The next `count` calls end with `error`. The store behind does not see them: a failed write
  // changes nothing. A failed flush is also a loss, but with EMFILE, which is before all else:
  // on_loss is called first, and may_have_lost_writes() is true until it is acknowledged.
  void fail_next(Call call, std::error_code error, unsigned count = 1);
  // Tells of a failed write-back of these objects, as the store behind might at any time.
  void lose(const std::vector<ObjectId>& objects);
  // From now on calls of this kind are made, but their `done` waits for release().
  void hold(Call call) { is_holding_[call] = true; }
  void release(Call call);
  std::size_t held(Call call) const;   // calls that are made and wait
  std::size_t calls(Call call) const;  // since the start, failed ones too
  void set_may_have_lost_writes(bool is_lost) { is_lost_ = is_lost; }
  ObjectStore& inner() noexcept { return *inner_; }

  void read(const ObjectId& id, uint64_t offset, Bytes into, DataDone done) override;
  void write(const ObjectId& id, uint64_t offset, ConstBytes from, bool fua,
             DataDone done) override;
  void zero(const ObjectId& id, uint64_t offset, uint64_t length, bool fua, DataDone done) override;
  void truncate(const ObjectId& id, uint64_t size, StoreDone done) override;
  void remove(const ObjectId& id, StoreDone done) override;
  void replace(const ObjectId& id, ConstBytes from, StoreDone done) override;
  void remove_durably(const ObjectId& id, StoreDone done) override;
  void flush(StoreDone done) override;
  void set_on_loss(OnLoss on_loss) override;
  void put_record(const std::string& key, std::vector<std::byte> value, StoreDone done) override;
  bool may_have_lost_writes() const noexcept override;
  void acknowledge_loss(StoreDone done) override;
  Usage usage() const override { return usage_ ? *usage_ : inner_->usage(); }
  void set_usage(const Usage& usage) { usage_ = usage; }

 private:
  struct HeldDone {
    StoreDone done;
    std::error_code error;
  };
  // The `done` to call the inner store with; empty if the call fails here.
  StoreDone pass(Call call, StoreDone done);
  void deliver(Call call, StoreDone done, std::error_code error);

  msgr::EventCenter& center_;
  std::unique_ptr<ObjectStore> inner_;
  std::map<Call, std::deque<std::error_code>> failures_;
  std::map<Call, bool> is_holding_;
  std::map<Call, std::vector<HeldDone>> held_;
  std::map<Call, std::size_t> calls_;
  std::shared_ptr<OnLoss> on_loss_ = std::make_shared<OnLoss>();
  bool is_lost_ = false;
  std::optional<Usage> usage_;  // instead of that of the store behind
};

}  // namespace lunar::osd
