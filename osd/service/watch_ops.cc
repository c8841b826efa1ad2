// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/service/watch_ops.h"

#include <chrono>
#include <utility>

namespace lunar::osd {
namespace {

objecter::ClientIdentity identity_of(const ClientOp& op) {
  return {op.client->entity, op.client->instance, op.nonce};
}

template <typename T>
void add_data(OpResult& result, const T& content) {
  ReplyData data;
  encode(content, data.small);
  result.header.steps[0].data_length = static_cast<uint32_t>(data.small.size());
  result.header.bytes_inline += data.small.size();
  result.data.push_back(std::move(data));
}

}  // namespace

void WatchOps::run(ClientOpRef op, const OpResult& executed) {
  const SubOp& step = op->header.steps.front();
  // It was cancelled, or its client fenced, while it executed.
  if (op->is_given_up) {
    auto refused = make_error_result(*op, OsdErrc::kCancelled);
    return on_done_(std::move(op), std::move(refused));
  }
  if (step.code == OpCode::kNotify) return notify(std::move(op));
  auto result = std::make_shared<OpResult>();
  result->header = executed.header;
  result->header.steps[0] = {};
  const objecter::ClientIdentity client = identity_of(*op);
  switch (step.code) {
    case OpCode::kWatch: {
      const auto timeout = table_.watch(client, op->object, step.offset, step.length != 0);
      if (timeout)
        result->header.steps[0].value = static_cast<uint64_t>(timeout->count());
      else
        result->header.error = result->header.steps[0].error = wire_error(timeout.error());
      break;
    }
    case OpCode::kUnwatch:
      table_.unwatch(client, op->object, step.offset);
      break;
    case OpCode::kNotifyAck:
      table_.take_ack(client, op->object, step.offset, step.length, op->data());
      break;
    default:
      add_data(*result, table_.list(op->object));
  }
  on_done_(std::move(op), std::move(result));
}

void WatchOps::notify(ClientOpRef op) {
  ClientOp& asked = *op;
  const auto timeout =
      std::chrono::milliseconds(static_cast<int64_t>(asked.header.steps.front().length));
  table_.notify(&asked, identity_of(asked), asked.object, timeout, asked.data(),
                [this, op = std::move(op)](Result<objecter::NotifyResult> told,
                                           msgr::FairShares::Held held) mutable {
                  auto result = std::make_shared<OpResult>();
                  result->header.tid = op->header.tid;
                  result->header.steps.resize(1);
                  if (told)
                    add_data(*result, *told);
                  else
                    result->header.error = result->header.steps[0].error = wire_error(told.error());
                  op->reply_share = std::make_shared<msgr::FairShares::Held>(std::move(held));
                  on_done_(std::move(op), std::move(result));
                });
  // Its payload is copied: while it waits for acks, which have data too, it has no part of the
  // throttle.
  const msgr::MessageMeta meta = asked.message.meta;
  asked.message = {};
  asked.message.meta = meta;
}

}  // namespace lunar::osd
