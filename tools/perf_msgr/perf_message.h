// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <memory>
#include <utility>
#include <vector>

#include "msgr/message.h"
#include "tools/perf_msgr/job.h"

namespace lunar::perf_msgr {

// A message whose data is borrowed: until its session is gone.
class PerfMessage final : public msgr::OutMessage {
 public:
  PerfMessage(Type type, uint64_t tid, std::vector<std::byte> front, ConstBytes data)
      : OutMessage({.type = static_cast<uint16_t>(type), .tid = tid}),
        front_(std::move(front)),
        data_(data) {}
  static std::unique_ptr<PerfMessage> make(Type type, uint64_t tid, std::vector<std::byte> front,
                                           ConstBytes data = {}) {
    return std::make_unique<PerfMessage>(type, tid, std::move(front), data);
  }
  void encode(msgr::Link&, uint64_t, msgr::EncodedMessage& out) override {
    out.front = front_;
    if (!data_.empty()) out.data.push_back(data_);
  }
  std::size_t data_bytes() const noexcept override { return data_.size(); }

 private:
  const std::vector<std::byte> front_;
  const ConstBytes data_;
};

}  // namespace lunar::perf_msgr
