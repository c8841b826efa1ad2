// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <vector>

#include "osd/object_store.h"
#include "osd/store/blocking_pool.h"
#include "osd/store/flusher.h"
#include "osd/store/runtime_record.h"

namespace lunar::osd {

// Whether acknowledged, unflushed writes may be gone, kept durably in the runtime record.
// Loop-bound, but for start(). Owns nothing.
class LossState final : public LossSink {
 public:
  using Done = InlineFunction<void(std::error_code)>;
  LossState(BlockingPool& pool, const StoreTree& tree) : pool_(pool), tree_(tree) {}

  // Blocking: compares with the last run, runs syncfs, and records that a server runs.
  Outcome<void> start(const std::string& path);
  void set_listener(ObjectStore::OnLoss listener) { listener_ = std::move(listener); }
  bool is_lost() const noexcept { return record_.lost; }

  void on_write_back_error(std::error_code error, std::vector<ObjectId> objects,
                           InlineFunction<void()> then) override;
  void acknowledge(Done done);
  // The last call: everything is flushed.
  void end(bool clean, Done done);

 private:
  void save(Done done);
  void save_next();

  BlockingPool& pool_;
  const StoreTree& tree_;
  ObjectStore::OnLoss listener_;
  RuntimeRecord record_;
  std::vector<Done> waiting_;  // for the next save
  bool is_saving_ = false;
};

}  // namespace lunar::osd
