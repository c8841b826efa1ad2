// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tools/lunar/allocated_runs.h"

#include <algorithm>

#include "gateway/splitter.h"
#include "tools/lunar/stop_signals.h"

namespace lunar::tools {

Outcome<std::vector<AllocatedRun>> AllocatedRuns::find(uint64_t length, bool is_one_enough) {
  constexpr std::size_t kInFlight = 64;
  is_one_enough_ = is_one_enough;
  uint64_t offset = 0;
  for (gateway::ExtentCursor extents(image_.layout(), 0, length);
       !extents.is_at_end() && !is_over() && !StopSignals::has_received();) {
    cluster_.run_until([this] { return in_flight_ < kInFlight; });
    const uint64_t end = offset + extents.next().length;
    ++in_flight_;
    ask(offset, end);
    offset = end;
    line_.show(offset, length);
  }
  cluster_.run_until([this] { return in_flight_ == 0; });
  if (StopSignals::has_received()) return failure(StopSignals::error());
  if (error_ && !(is_one_enough_ && !runs_.empty())) {
    return failure(error_, "looking for data in the image failed: " + error_.message());
  }
  const auto by_offset = [](const AllocatedRun& run) { return run.offset; };
  std::ranges::sort(runs_, {}, by_offset);
  return std::move(runs_);
}

// Of one stripe unit of an object; what follows in the object is elsewhere in the image.
void AllocatedRuns::ask(uint64_t offset, uint64_t end) {
  image_.allocation_at(offset, image_.client().next_io_id(),
                       [this, offset, end](Result<gateway::Image::Allocation> run) {
                         if (!run) {
                           error_ = run.error();
                           --in_flight_;
                           return;
                         }
                         const uint64_t length = std::min(run->length, end - offset);
                         if (run->is_allocated) runs_.push_back({offset, length});
                         const uint64_t next = offset + length;
                         if (next < end && !is_over()) return ask(next, end);
                         --in_flight_;
                       });
}

}  // namespace lunar::tools
