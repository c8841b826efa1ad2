// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <system_error>

#include "msgr/connection.h"
#include "msgr/message.h"
#include "objecter/map/map_client.h"
#include "objecter/ops/counters.h"
#include "objecter/ops/op_ending.h"
#include "objecter/ops/op_submission.h"
#include "objecter/ops/op_table.h"
#include "objecter/ops/payload_delivery.h"
#include "objecter/servers/osd_sessions.h"

namespace lunar::objecter {

// What servers say about ops. A server is believed only about ops it was sent, about the sending it
// answers, and as far as lengths add up; everything else is counted and dropped, and the op goes on
// waiting. A reply ends its op, or sends it again: elsewhere, or with the payload inline.
// Loop-bound. Borrows all it is given.
class OpReplies {
 public:
  OpReplies(OpTable& table, PayloadDelivery& delivery, OpEnding& ending,
            UnconfirmedChanges& unconfirmed, OsdSessions& sessions, OpSubmission& submission,
            MapClient& maps, ObjecterCounters& counters) noexcept;

  // Where the data of a reply goes whose front has arrived; empty: the messenger's own memory.
  Bytes payload_for(msgr::Connection& connection, const msgr::MessageMeta& meta, ConstBytes front,
                    std::size_t data_bytes);
  void on_op_reply(const ServerRef& server, msgr::InMessage message);
  void on_cancelled(const ServerRef& server, const msgr::InMessage& message);

 private:
  void take_word(const ServerConnection& server, const OsdReplyHeader& header);
  void ignore(const msgr::InMessage& message, const char* why);
  void retry(Op& op, const OsdReplyHeader& header);
  void retry_inline(Op& op, DeliveryReason because);
  void take(Op& op, OsdReplyHeader header, msgr::InMessage message);
  void take_late(Op& op, OsdReplyHeader header);
  std::error_code account(Op& op, const OsdReplyHeader& header);

  OpTable& table_;
  PayloadDelivery& delivery_;
  OpEnding& ending_;
  UnconfirmedChanges& unconfirmed_;
  OsdSessions& sessions_;
  OpSubmission& submission_;
  MapClient& maps_;
  ObjecterCounters& counters_;
};

}  // namespace lunar::objecter
