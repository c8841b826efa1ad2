// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/trim.h"

#include <algorithm>
#include <memory>

namespace lunar::gateway {
namespace {

using objecter::ObjectOp;
using objecter::OpCode;
using objecter::OpReply;
using objecter::SubOp;

// Walks objects, not extents: object by object it is at most one delete, or one zero per stripe
// unit for the objects of the set that `from` cuts through.
class Trim : public std::enable_shared_from_this<Trim> {
 public:
  Trim(Client& client, objecter::PoolId pool, const ImageHeader& header, uint64_t from, uint64_t to,
       OnProgress on_progress, InlineFunction<void(std::error_code)> done)
      : client_(client),
        pool_(pool),
        image_(header.id),
        layout_(header.layout),
        io_id_(client.next_io_id()),
        on_progress_(std::move(on_progress)),
        done_(std::move(done)) {
    const uint64_t set_bytes = layout_.object_size * layout_.stripe_count;
    const uint64_t first_whole_set = (from + set_bytes - 1) / set_bytes;
    const uint64_t zero_to = std::min(to, first_whole_set * set_bytes);
    if (from < zero_to) partial_ = ExtentCursor(layout_, from, zero_to - from);
    next_object_ = first_whole_set * layout_.stripe_count;
    end_object_ = std::max(next_object_, layout_.object_count(to));
    total_ = end_object_ - next_object_;
  }

  void run() {
    while (in_flight_ < kWindow && !error_ && step()) {
    }
    if (in_flight_ != 0) return;
    if (error_) return done_(error_);
    client_.objecter().flush(
        pool_, image_, io_id_,
        [self = shared_from_this()](std::error_code error) { self->done_(error); });
  }

 private:
  static constexpr int kWindow = 64;

  bool step() {
    SubOp change;
    uint64_t object_no = 0;
    if (!partial_.done()) {
      const ObjectExtent extent = partial_.next();
      object_no = extent.object_no;
      change.code = OpCode::kZero;
      change.offset = extent.offset;
      change.length = extent.length;
    } else if (next_object_ < end_object_) {
      object_no = next_object_++;
      change.code = OpCode::kDelete;
    } else {
      return false;
    }
    ObjectOp op;
    op.object = {pool_, data_object_name(image_, object_no)};
    op.image = image_;
    op.io_id = io_id_;
    op.flags = objecter::kOpIdempotent;
    op.steps = {change};
    ++in_flight_;
    client_.objecter().submit(
        std::move(op), [self = shared_from_this()](OpReply reply) { self->answered(reply.error); });
    return true;
  }

  void answered(std::error_code error) {
    --in_flight_;
    if (error && error != objecter::OsdErrc::kNoSuchObject && !error_) error_ = error;
    if (on_progress_ && total_ != 0) on_progress_(std::min(++answered_, total_), total_);
    run();
  }

  Client& client_;
  const objecter::PoolId pool_;
  const ImageId image_;
  const StripeLayout layout_;
  const uint64_t io_id_;
  OnProgress on_progress_;
  InlineFunction<void(std::error_code)> done_;
  ExtentCursor partial_;
  uint64_t next_object_ = 0;
  uint64_t end_object_ = 0;
  uint64_t total_ = 0;
  uint64_t answered_ = 0;
  int in_flight_ = 0;
  std::error_code error_;
};

}  // namespace

void trim_image(Client& client, objecter::PoolId pool, const ImageHeader& header, uint64_t from,
                uint64_t to, OnProgress on_progress, InlineFunction<void(std::error_code)> done) {
  std::make_shared<Trim>(client, pool, header, from, to, std::move(on_progress), std::move(done))
      ->run();
}

}  // namespace lunar::gateway
