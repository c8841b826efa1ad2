// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/metadata/trim.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "msgr/awaiters.h"

namespace lunar::gateway {
namespace {

using objecter::ObjectOp;
using objecter::OpCode;
using objecter::OpReply;
using objecter::SubOp;

constexpr uint64_t kWindow = 64;
constexpr int kRounds = 4;

// The ops of a trim, in order. Walks objects, not extents: object by object it is at most one
// delete, or one zero per stripe unit for the objects of the set that `from` cuts through.
class TrimOps {
 public:
  TrimOps(Client& client, objecter::PoolId pool, const ImageHeader& header, uint64_t from,
          uint64_t to)
      : pool_(pool), image_(header.id), io_id_(client.next_io_id()) {
    const StripeLayout& layout = header.layout;
    const uint64_t set_bytes = layout.object_size * layout.stripe_count;
    const uint64_t first_whole_set = (from + set_bytes - 1) / set_bytes;
    const uint64_t zero_to = std::min(to, first_whole_set * set_bytes);
    if (from < zero_to) partial_ = ExtentCursor(layout, from, zero_to - from);
    next_object_ = first_whole_set * layout.stripe_count;
    end_object_ = std::max(next_object_, layout.object_count(to));
    whole_objects_ = end_object_ - next_object_;
  }

  uint64_t io_id() const noexcept { return io_id_; }
  uint64_t whole_objects() const noexcept { return whole_objects_; }

  // Nothing once all have been given.
  std::optional<ObjectOp> next() {
    SubOp change;
    if (!partial_.is_at_end()) {
      const ObjectExtent extent = partial_.next();
      change.code = OpCode::kZero;
      change.offset = extent.offset;
      change.length = extent.length;
      return op_on(extent.object_no, change);
    }
    if (next_object_ == end_object_) return std::nullopt;
    change.code = OpCode::kDelete;
    return op_on(next_object_++, change);
  }

 private:
  ObjectOp op_on(uint64_t object_no, const SubOp& change) const {
    ObjectOp op;
    op.object = {pool_, data_object_name(image_, object_no)};
    op.image = image_;
    op.io_id = io_id_;
    op.flags = objecter::kOpIdempotent;
    op.steps = {change};
    return op;
  }

  const objecter::PoolId pool_;
  const ImageId image_;
  const uint64_t io_id_;
  ExtentCursor partial_;
  uint64_t next_object_ = 0;
  uint64_t end_object_ = 0;
  uint64_t whole_objects_ = 0;
};

// All ops of the trim, and then a flush.
Task<std::error_code> trim_once(Client& client, objecter::PoolId pool, ImageHeader header,
                                uint64_t from, uint64_t to, OnProgress& on_progress) {
  TrimOps ops(client, pool, header, from, to);
  msgr::Inbox<OpReply> replies;  // this frame outlives every op: it takes all replies
  const uint64_t total = ops.whole_objects();
  uint64_t in_flight = 0;
  uint64_t answered = 0;
  std::error_code error;
  std::optional<ObjectOp> op = ops.next();
  while (true) {
    for (; op && !error && in_flight < kWindow; op = ops.next(), ++in_flight) {
      client.objecter().submit(std::move(*op),
                               [&replies](OpReply reply) { replies.push(std::move(reply)); });
    }
    if (in_flight == 0) break;
    const Result<OpReply> reply = co_await replies.next();
    --in_flight;
    ++answered;
    const bool has_failed = reply->error && reply->error != objecter::OsdErrc::kNoSuchObject;
    if (has_failed && !error) error = reply->error;
    if (on_progress && total != 0) on_progress(std::min(answered, total), total);
  }
  if (error) co_return error;

  msgr::Completion<std::error_code> flushed;
  client.objecter().flush(pool, header.id, ops.io_id(), flushed.callback());
  const std::error_code flush_error = co_await flushed;
  co_return flush_error;
}

}  // namespace

// That writes were lost may be of earlier ones, which does not matter here, or of what was freed
// just now by a server that lost its power since: it does not say which, so all is done again.
Task<std::error_code> trim_image(Client& client, objecter::PoolId pool, ImageHeader header,
                                 uint64_t from, uint64_t to, OnProgress on_progress) {
  std::error_code error = objecter::OsdErrc::kLostWrites;
  for (int round = 0; round < kRounds && error == objecter::OsdErrc::kLostWrites; ++round) {
    const std::error_code ended = co_await trim_once(client, pool, header, from, to, on_progress);
    error = ended;
  }
  co_return error;
}

}  // namespace lunar::gateway
