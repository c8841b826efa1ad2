// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <unordered_map>
#include <utility>

#include "objecter/protocol/types.h"

namespace lunar::objecter {

// The losses of one server that its FLUSHes have ended with, and whether their callers have heard
// of them. What nobody has heard is said by every further FLUSH; what was heard is named in each,
// so that the server need not say it again. Loop-bound; a value.
class LossReports {
 public:
  // A FLUSH of the image is about to end with kLostWrites. `loss` is the server's number of it; 0:
  // it was noticed here. True if it is another one than before.
  bool on_loss(ImageId image, uint64_t loss) {
    HeardLoss& report = images_[image];
    report.is_heard = false;
    return loss == 0 || std::exchange(report.loss, loss) != loss;
  }
  // The callers of the FLUSHes that ended so far know.
  void on_heard(ImageId image) { set_heard(image, true); }
  // The last of them could not be told after all.
  void on_unheard(ImageId image) { set_heard(image, false); }

  bool is_unheard(ImageId image) const {
    const auto at = images_.find(image);
    return at != images_.end() && !at->second.is_heard;
  }
  // For the next FLUSH: the loss that was heard of, or 0.
  uint64_t heard(ImageId image) const {
    const auto at = images_.find(image);
    return at != images_.end() && at->second.is_heard ? at->second.loss : 0;
  }

 private:
  struct HeardLoss {
    uint64_t loss = 0;  // the server's number of the latest that it named
    bool is_heard = false;
  };
  void set_heard(ImageId image, bool is_heard) {
    const auto at = images_.find(image);
    if (at != images_.end()) at->second.is_heard = is_heard;
  }
  std::unordered_map<ImageId, HeardLoss> images_;
};

}  // namespace lunar::objecter
