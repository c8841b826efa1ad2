// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "common/inline_function.h"

namespace lunar::msgr {

// Revocations of keys that somebody waits for: each ends by the transport's answer or with its
// link. Loop-bound. Owns the callbacks that have not run.
class KeyRevocations {
 public:
  using Done = InlineFunction<void()>;

  // Returns a number to finish() it by.
  uint64_t add(Done done) {
    done_.emplace(++last_number_, std::move(done));
    return last_number_;
  }
  // Runs its done, unless take_all() has given that out. May destroy this.
  void finish(uint64_t number) {
    auto revoked = done_.extract(number);
    if (!revoked.empty()) revoked.mapped()();
  }
  // All that are left, the oldest first, for the caller to run: the link is closed, and its keys
  // with it.
  std::vector<Done> take_all() {
    std::vector<Done> taken;
    for (auto& [number, done] : done_) taken.push_back(std::move(done));
    done_.clear();
    return taken;
  }

 private:
  std::map<uint64_t, Done> done_;
  uint64_t last_number_ = 0;
};

}  // namespace lunar::msgr
