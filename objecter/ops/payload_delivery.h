// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <optional>

#include "msgr/event_center.h"
#include "msgr/message.h"
#include "objecter/ops/counters.h"
#include "objecter/ops/op.h"
#include "objecter/ops/op_events.h"
#include "objecter/ops/op_table.h"
#include "objecter/protocol/osd_op.h"

namespace lunar::objecter {

// How the payload of each op travels, inline or one-sided, and the keys that servers have to it.
//
// The first encoding of an op may expose its memory; every later one carries the data. A key is out
// from that encoding until one of: the server answered, or said CANCELLED, on the very link the key
// was sent on, where whatever it moved has come before that word; Connection::revoke() is done;
// that link is closed, which revoke() knows. Until then the op neither ends nor is sent elsewhere.
//
// Loop-bound. Borrows all it is given. Its state is in Op: key, key_holder, is_revoking,
// was_encoded and inline_because are changed here only.
class PayloadDelivery {
 public:
  // `crc_data`: payload that servers move carries checksums.
  PayloadDelivery(msgr::EventCenter& center, OpTable& table, ObjecterCounters& counters,
                  OpEvents& events, bool crc_data);

  // The delivery decision, for one encoding of the op for a link: the descriptor if the payload
  // goes one-sided (it is exposed on that link then), nothing if it goes inline.
  std::optional<DeliveryDescriptor> decide(Op& op, msgr::Link& link, uint64_t link_generation);
  // Later encodings go inline, and their reason is this.
  static void forbid(Op& op, DeliveryReason because) noexcept { op.inline_because = because; }

  // Takes the key back, if one is out; OpEvents::on_buffers_returned() says when that is done.
  void revoke(Op& op);
  // The holder of the key, if it is `server`, said on that link that it is through with the op. Its
  // key is back at once then; any other one is revoked.
  void on_server_through(Op& op, const ServerRef& server, uint64_t link_generation);
  // Whether what was pushed is not known to be what the server sent.
  bool is_damaged(const Op& op, const OsdReplyHeader& header) const;

 private:
  DeliveryReason decide_reason(const Op& op, const msgr::Link& link) const;
  DeliveryDescriptor make_descriptor(const Op& op, const msgr::Link& link) const;
  void key_is_back(Op& op);

  msgr::EventCenter& center_;
  OpTable& table_;
  ObjecterCounters& counters_;
  OpEvents& events_;
  const bool crc_data_;
};

}  // namespace lunar::objecter
