// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <unordered_set>
#include <vector>

#include "common/mutex.h"

namespace lunar::msgr::rdma {

// A segment that was received for a QP.
struct EarlyReceive {
  uint32_t qp_num;
  uint32_t buffer;  // index in the receive queue
  uint32_t length;  // bytes
};

// What is received for QPs that carry no link yet: a peer that is quick may send before this side
// has made its link. expect() and forget() are for any thread; the rest is loop-bound. Owns no
// buffer: whoever takes a segment out reposts its buffer.
class EarlyReceives {
 public:
  // A QP with this number may receive before it carries a link; until forget().
  void expect(uint32_t qp_num);
  void forget(uint32_t qp_num);

  void hold(EarlyReceive receive) { held_.push_back(receive); }
  // Those of one QP, in the order in which they came.
  std::vector<EarlyReceive> take(uint32_t qp_num);
  // Those of QPs that are not expected (any more): they were destroyed before they carried a link.
  // Costs nothing while nothing is held.
  std::vector<EarlyReceive> take_unexpected();

 private:
  Mutex mutex_;
  std::unordered_set<uint32_t> expected_ GUARDED_BY(mutex_);  // every QP of the worker that lives

  std::vector<EarlyReceive> held_;  // in the order in which they came
};

}  // namespace lunar::msgr::rdma
