// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "msgr/rdma/queue/credits.h"
#include "msgr/rdma/queue/segment.h"

namespace lunar::msgr::rdma {

// The credits of both directions of a link, and whether the peer has sent its farewell. Loop-bound.
struct CreditLedger {
  SendCredits send;
  ReceiveCredits receive;
  CreditToken token;
  bool has_left = false;

  // What the header of a segment that came does to them. False if the peer breaks a rule.
  bool take(const Segment& segment) noexcept {
    if (has_left) return false;  // no credit would hold back any number of farewells
    has_left = segment.type == SegmentType::kBye;
    if (segment.type == SegmentType::kFrames && !receive.on_frames()) return false;
    if (segment.type == SegmentType::kCredits && !token.on_received()) return false;
    if ((segment.flags & kSegmentAcknowledges) != 0 && !token.on_acknowledged()) return false;
    return receive.on_returned(segment.returned) && send.gain(segment.granted);
  }
};

}  // namespace lunar::msgr::rdma
