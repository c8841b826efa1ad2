// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "common/unique_function.h"
#include "osd/server_records.h"

namespace lunar::osd {

// Keeps one durable record of a store the same as something in memory.
// Loop-bound. Borrows the records, which outlive it; must not be destroyed while is_busy().
class RecordWriter {
 public:
  // `encode` gives the record's bytes as of the moment it is called.
  RecordWriter(ServerRecords& records, std::string key,
               UniqueFunction<ServerRecords::RecordValue()> encode)
      : records_(records), key_(std::move(key)), encode_(std::move(encode)) {}

  // Runs done when what is in memory now (or something newer) is durable. Calls made while one
  // write is under way share the next.
  void save(StoreDone done) {
    waiting_.push_back(std::move(done));
    if (!is_busy_) write();
  }
  bool is_busy() const noexcept { return is_busy_; }

 private:
  void write() {
    is_busy_ = true;
    running_.swap(waiting_);
    records_.put_record(key_, encode_(), [this](std::error_code error) {
      auto finished = std::exchange(running_, {});
      is_busy_ = false;
      if (!waiting_.empty()) write();
      for (auto& done : finished) done(error);
    });
  }

  ServerRecords& records_;
  const std::string key_;
  UniqueFunction<ServerRecords::RecordValue()> encode_;
  std::vector<StoreDone> waiting_;
  std::vector<StoreDone> running_;
  bool is_busy_ = false;  // running_ is being written
};

}  // namespace lunar::osd
