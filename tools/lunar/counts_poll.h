// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <system_error>
#include <vector>

#include "gateway/image_counts.h"
#include "tools/lunar/cluster_handle.h"

namespace lunar::tools {

// Asks those who have images open what they do with them, many images at a time. A server that does
// not answer keeps nobody waiting: its images are asked again when it has, or has been given up.
// On the thread that drives the cluster's loop. Borrows the cluster.
class CountsPoll {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;
  struct AnsweredCounts {
    std::vector<gateway::HolderCounts> holders;  // empty: nobody has it open, or it is gone
    TimePoint at;
  };

  explicit CountsPoll(ClusterHandle& cluster) : cluster_(cluster) {}

  // What has been answered about these images of the pool; what is missing will be in a later call,
  // or never. Errors: kNotPermitted.
  Result<std::map<gateway::ImageId, AnsweredCounts>> ask(objecter::PoolId pool,
                                                         const std::vector<gateway::ImageId>& ids);

 private:
  // Shared with the questions, which may end when this object is gone.
  struct Questions {
    std::map<gateway::ImageId, TimePoint> open;          // asked when
    std::map<gateway::ImageId, AnsweredCounts> answers;  // not taken yet
    std::error_code refusal;
  };
  void ask_one(objecter::PoolId pool, gateway::ImageId id);
  // Of the open questions, those that may still be answered in time.
  std::size_t num_waited_for(TimePoint now) const;

  ClusterHandle& cluster_;
  const std::shared_ptr<Questions> questions_ = std::make_shared<Questions>();
};

}  // namespace lunar::tools
