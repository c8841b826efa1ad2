// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/watch/watch_calls.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "objecter/protocol/steps.h"

namespace lunar::objecter {
namespace {

// What a call needs until it is done: its data is borrowed by the op.
struct WatchCall {
  std::vector<std::byte> data;
  WatchCalls::CallDone done;
  OsdId osd = -1;
};

}  // namespace

Tid WatchCalls::watch(const ObjectId& object, uint64_t cookie, bool is_again,
                      std::chrono::nanoseconds timeout, CallDone done) {
  return call(object, make_step(OpCode::kWatch, cookie, is_again ? 1 : 0), {}, timeout,
              std::move(done));
}

Tid WatchCalls::unwatch(const ObjectId& object, uint64_t cookie, std::chrono::nanoseconds timeout,
                        CallDone done) {
  return call(object, make_step(OpCode::kUnwatch, cookie), {}, timeout, std::move(done));
}

Tid WatchCalls::ack(const ObjectId& object, uint64_t cookie, uint64_t notify_id,
                    std::vector<std::byte> reply, CallDone done) {
  return call(object, make_step(OpCode::kNotifyAck, cookie, notify_id), std::move(reply),
              std::chrono::nanoseconds(0), std::move(done));
}

void WatchCalls::notify(ObjectId object, std::vector<std::byte> payload,
                        std::chrono::milliseconds timeout,
                        UniqueFunction<void(Result<NotifyResult>)> done) {
  timeout = std::clamp(timeout, std::chrono::milliseconds(1), WatchLimits::kMaxTimeout);
  // The server answers when that is over; it may also be slow, or restart.
  constexpr std::chrono::seconds kMargin{20};
  call(object, make_step(OpCode::kNotify, 0, static_cast<uint64_t>(timeout.count())),
       std::move(payload), timeout + kMargin, [done = std::move(done)](OpReply reply) mutable {
         if (reply.error) return done(failure(reply.error));
         done(decode_notify_result(reply.data));
       });
}

void WatchCalls::list_watchers(ObjectId object, UniqueFunction<void(Result<WatcherList>)> done) {
  call(object, make_step(OpCode::kListWatchers), {}, std::chrono::nanoseconds(0),
       [done = std::move(done)](OpReply reply) mutable {
         if (reply.error) return done(failure(reply.error));
         done(decode_watcher_list(reply.data));
       });
}

Tid WatchCalls::call(const ObjectId& object, SubOp step, std::vector<std::byte> data,
                     std::chrono::nanoseconds timeout, CallDone done) {
  auto call = std::make_unique<WatchCall>();
  call->data = std::move(data);
  call->done = std::move(done);
  ObjectOp object_op;
  object_op.object = object;
  object_op.timeout = timeout;
  step.data_length = static_cast<uint32_t>(call->data.size());
  object_op.steps.push_back(std::move(step));
  if (!call->data.empty()) object_op.data.push_back(call->data);
  WatchCall& kept = *call;
  const bool is_too_long = kept.data.size() > WatchLimits::kMaxPayloadBytes;
  const bool is_valid = object.pool != 0 && is_valid_object_name(object.name);
  Op& op = submission_.add(OpKind::kOfWatches, std::move(object_op),
                           [this, call = std::move(call)](OpReply reply) mutable {
                             // What an older server says to an op that it cannot read.
                             if (reply.error == OsdErrc::kInvalid && lacks_watches(call->osd))
                               reply.error = OsdErrc::kIncompatible;
                             call->done(std::move(reply));
                           });
  const Tid tid = op.tid;
  if (!is_valid || is_too_long) {
    ending_.end(op, is_valid ? OsdErrc::kTooLarge : OsdErrc::kInvalid);
  } else {
    submission_.begin(op);
    kept.osd = op.osd;
  }
  return tid;
}

bool WatchCalls::lacks_watches(OsdId osd) const {
  const ServerRef server = sessions_.server_of(osd);
  return server != nullptr && server->hello() && !server->connection().peer().has_watches;
}

}  // namespace lunar::objecter
