// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <vector>

#include "gateway/image.h"
#include "tools/lunar/cluster_handle.h"
#include "tools/lunar/progress_line.h"

namespace lunar::tools {

// Bytes of an image that its servers have space for.
struct AllocatedRun {
  uint64_t offset = 0;
  uint64_t length = 0;
};

// Asks the servers of an image, many objects at a time, which of its bytes are allocated. Each
// object is asked at another moment. Borrows everything. Single-threaded.
class AllocatedRuns {
 public:
  AllocatedRuns(ClusterHandle& cluster, gateway::Image& image, ProgressLine& line)
      : cluster_(cluster), image_(image), line_(line) {}

  // Those in the first `length` bytes, or only the first one that comes. Sorted, none crosses a
  // stripe unit.
  Outcome<std::vector<AllocatedRun>> find(uint64_t length, bool is_one_enough = false);

 private:
  bool is_over() const { return error_ || (is_one_enough_ && !runs_.empty()); }
  void ask(uint64_t offset, uint64_t end);

  ClusterHandle& cluster_;
  gateway::Image& image_;
  ProgressLine& line_;
  bool is_one_enough_ = false;
  std::size_t in_flight_ = 0;
  std::vector<AllocatedRun> runs_;
  std::error_code error_;
};

}  // namespace lunar::tools
