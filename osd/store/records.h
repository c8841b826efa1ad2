// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <map>
#include <string>
#include <vector>

#include "osd/server_records.h"
#include "osd/store/blocking_pool.h"
#include "osd/store/reserve.h"
#include "osd/store/store_tree.h"

namespace lunar::osd {

// A key of [a-z0-9._-], 1 … 200 bytes.
bool is_valid_record_key(std::string_view key) noexcept;

// Small durable values, a file each under meta/, all kept in memory.
// Loop-bound. Puts that arrive while one is being made durable go together in the next batch, which
// syncs the folder once; so they take effect in call order.
class Records {
 public:
  static constexpr std::size_t kMaxValueBytes = 64 << 20;

  Records(BlockingPool& pool, const StoreTree& tree, Reserve& reserve)
      : pool_(pool), tree_(tree), reserve_(reserve) {}

  // Blocks. Names in the log the files that are no records.
  Outcome<void> load(const std::string& path);
  void put(const std::string& key, ServerRecords::RecordValue value,
           StoreDone done);                                              // an empty value removes
  const ServerRecords::RecordValue* find(const std::string& key) const;  // null if there is none
  std::vector<std::string> keys(const std::string& prefix) const;

 private:
  struct RecordPut {
    std::string key;
    ServerRecords::RecordValue value;
    StoreDone done;
    std::error_code error;
  };
  using Batch = std::vector<RecordPut>;
  void start();
  std::error_code write(Batch& batch);          // on a thread
  std::error_code apply(const RecordPut& put);  // as above
  void finish(Batch& batch);

  BlockingPool& pool_;
  const StoreTree& tree_;
  Reserve& reserve_;
  std::map<std::string, ServerRecords::RecordValue, std::less<>> values_;
  Batch waiting_;  // in call order; empty unless a batch is written
  bool is_busy_ = false;
};

}  // namespace lunar::osd
