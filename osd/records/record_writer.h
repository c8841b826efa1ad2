// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

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
  void save(StoreDone done) { save({}, std::move(done)); }
  // The same for who changes what is in memory once it is known how the write has ended, to take
  // back what was not written: `settle` does that, before anything else is written and before any
  // `done` of the same write. It calls nobody.
  void save(StoreDone settle, StoreDone done) {
    waiting_.push_back({std::move(settle), std::move(done)});
    if (!is_busy_) write();
  }
  bool is_busy() const noexcept { return is_busy_; }

 private:
  struct Save {
    StoreDone settle;  // or empty
    StoreDone done;
  };

  void write() {
    is_busy_ = true;
    running_.swap(waiting_);
    records_.put_record(key_, encode_(), [this](std::error_code error) {
      auto finished = std::exchange(running_, {});
      for (Save& each : finished)
        if (each.settle) each.settle(error);
      is_busy_ = false;
      if (!waiting_.empty()) write();
      for (Save& each : finished) each.done(error);
    });
  }

  ServerRecords& records_;
  const std::string key_;
  UniqueFunction<ServerRecords::RecordValue()> encode_;
  std::vector<Save> waiting_;
  std::vector<Save> running_;
  bool is_busy_ = false;  // running_ is being written
};

}  // namespace lunar::osd
