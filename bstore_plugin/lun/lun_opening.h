// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "bstore_plugin/lun/shared_cluster.h"
#include "common/result.h"
#include "common/unique_function.h"
#include "gateway/image.h"
#include "gateway/image_header.h"
#include "gateway/open_options.h"
#include "msgr/event_center.h"

namespace lunar::bstore_plugin {

// The opening of a LUN's image, for as long as it takes: while nobody answers it is tried again.
// What is tried again is told to the administrator, each change of the reason once.
//
// On tgtd's thread. Shared with what it has asked for. Borrows the cluster.
class LunOpening : public std::enable_shared_from_this<LunOpening> {
 public:
  using ImageOutcome = Outcome<std::shared_ptr<gateway::Image>>;
  LunOpening(SharedCluster& cluster, gateway::ImageSpec spec, gateway::OpenOptions options);

  // Begins. `done` runs once, later, unless end() is called before: with the image, or an error
  // that trying again would not change. Once.
  void start(UniqueFunction<void(ImageOutcome)> done);
  // Blocks tgtd's loop up to lunar_lun_open_wait, until `done` has run; not at all while another
  // LUN's opening has outlasted that, as the cluster is known to be silent then. Returns whether it
  // has run. Once, right after start().
  bool wait();
  // Nobody wants the image any more: nothing is done for it, and one that comes all the same gives
  // up its lock.
  void end();

 private:
  void try_once(std::chrono::nanoseconds patience);
  void on_tried(ImageOutcome image);
  void settle();
  void tell(const std::string& reason);

  SharedCluster& cluster_;
  const gateway::ImageSpec spec_;
  const std::shared_ptr<bool> is_unwanted_ = std::make_shared<bool>(false);
  gateway::OpenOptions options_;
  const std::chrono::nanoseconds wait_;  // of wait()
  UniqueFunction<void(ImageOutcome)> done_;
  bool has_ended_ = false;     // done_ has run or never will
  bool is_overdue_ = false;    // counted by the cluster; not once it has ended
  bool is_waited_for_ = true;  // by tgtadm: until wait() returns
  std::string told_;           // the last reason
  msgr::TimerId retry_ = msgr::TimerId::kNone;
};

}  // namespace lunar::bstore_plugin
