// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <vector>

#include "osd/durability.h"
#include "osd/store/blocking_pool.h"
#include "osd/store/flusher.h"
#include "osd/store/reserve.h"
#include "osd/store/runtime_record.h"

namespace lunar::osd {

// Whether acknowledged, unflushed writes may be gone, kept durably in the runtime record.
// Loop-bound, except start(). Borrows pool, tree and reserve.
class LossState final : public LossSink {
 public:
  LossState(BlockingPool& pool, const StoreTree& tree, Reserve& reserve)
      : pool_(pool), tree_(tree), reserve_(reserve) {}

  // Blocks: compares with the last run, runs syncfs, and records that a server runs. May take from
  // the reserve.
  Outcome<void> start(const std::string& path);
  void set_listener(Durability::OnLoss listener) { listener_ = std::move(listener); }
  bool is_lost() const noexcept { return record_.is_lost; }

  void on_write_back_error(std::error_code error, std::vector<ObjectId> objects,
                           UniqueFunction<void()> then) override;
  // The losses that the listener has heard of are recorded elsewhere.
  void acknowledge(StoreDone done);
  // The last attempt to write the record failed: save_again() is another.
  bool is_unsaved() const noexcept { return is_unsaved_; }
  void save_again(StoreDone done) { save(std::move(done)); }
  // The last call. `is_clean`: everything is flushed, so that the next start need not ask whether
  // the page cache has survived.
  void record_shutdown(bool is_clean, StoreDone done);

 private:
  void save(StoreDone done);
  void save_next();
  std::error_code write(const RuntimeRecord& record) const;  // blocks

  BlockingPool& pool_;
  const StoreTree& tree_;
  Reserve& reserve_;
  Durability::OnLoss listener_;
  RuntimeRecord record_;            // as the file is to become; differs from it while saving
  std::vector<StoreDone> waiting_;  // for the next save; empty unless one runs
  bool is_saving_ = false;
  bool is_unsaved_ = false;  // the last save failed
  std::size_t unheard_ = 0;  // losses that the listener has not been told of yet
};

}  // namespace lunar::osd
