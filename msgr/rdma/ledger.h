// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "msgr/rdma/credits.h"
#include "msgr/rdma/segment.h"

namespace lunar::msgr::rdma {

// The credits of both directions of a link. Loop-bound.
struct CreditLedger {
  SendCredits send;
  ReceiveCredits receive;
  CreditToken token;

  // What the header of a segment that came does to them. False if the peer does what it may not.
  bool take(const Segment& segment) noexcept {
    if (segment.type == SegmentType::kFrames && !receive.on_frames()) return false;
    if (segment.type == SegmentType::kCredits && !token.on_received()) return false;
    if ((segment.flags & kSegmentAcknowledges) != 0 && !token.on_acknowledged()) return false;
    return receive.on_returned(segment.returned) && send.gain(segment.granted);
  }
};

}  // namespace lunar::msgr::rdma
