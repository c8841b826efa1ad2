// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <vector>

#include "osd/durability.h"
#include "osd/store/blocking_pool.h"
#include "osd/store/flusher.h"
#include "osd/store/runtime_record.h"

namespace lunar::osd {

// Whether acknowledged, unflushed writes may be gone, kept durably in the runtime record.
// Loop-bound, except start(). Borrows pool and tree.
class LossState final : public LossSink {
 public:
  LossState(BlockingPool& pool, const StoreTree& tree) : pool_(pool), tree_(tree) {}

  // Blocks: compares with the last run, runs syncfs, and records that a server runs.
  Outcome<void> start(const std::string& path);
  void set_listener(Durability::OnLoss listener) { listener_ = std::move(listener); }
  bool is_lost() const noexcept { return record_.is_lost; }

  void on_write_back_error(std::error_code error, std::vector<ObjectId> objects,
                           UniqueFunction<void()> then) override;
  void acknowledge(StoreDone done);
  // The last call. `is_clean`: everything is flushed, so that the next start need not ask whether
  // the page cache has survived.
  void record_shutdown(bool is_clean, StoreDone done);

 private:
  void save(StoreDone done);
  void save_next();

  BlockingPool& pool_;
  const StoreTree& tree_;
  Durability::OnLoss listener_;
  RuntimeRecord record_;            // as the file is to become; differs from it while saving
  std::vector<StoreDone> waiting_;  // for the next save; empty unless one runs
  bool is_saving_ = false;
};

}  // namespace lunar::osd
