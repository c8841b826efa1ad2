// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/metadata/trim.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>
#include <vector>

#include "gateway/metadata/own_flush.h"
#include "gateway/metadata/pool_objects.h"
#include "msgr/awaiters.h"
#include "objecter/protocol/image_objects.h"

namespace lunar::gateway {
namespace {

using objecter::ObjectOp;
using objecter::OpCode;
using objecter::OpReply;
using objecter::OsdErrc;
using objecter::PoolInfo;
using objecter::SubOp;

constexpr uint64_t kWindow = 64;
constexpr std::chrono::milliseconds kAskAgain{500};

// What a trim takes apart, object by object: bytes of the stripe set that `from` cuts through,
// which are zeroed, and whole objects, which are deleted.
struct TrimExtents {
  TrimExtents(const StripeLayout& layout, uint64_t from, uint64_t to) {
    const uint64_t set_bytes = layout.object_size * layout.stripe_count;
    const uint64_t first_whole_set = (from + set_bytes - 1) / set_bytes;
    const uint64_t zero_to = std::min(to, first_whole_set * set_bytes);
    if (from < zero_to) partial = ExtentCursor(layout, from, zero_to - from);
    first_object = first_whole_set * layout.stripe_count;
    end_object = std::max(first_object, layout.object_count(to));
  }

  uint64_t whole_objects() const noexcept { return end_object - first_object; }
  bool holds(uint64_t object) const noexcept {
    return object >= first_object && object < end_object;
  }

  ExtentCursor partial;
  uint64_t first_object = 0;
  uint64_t end_object = 0;
};

using ObjectNumbers = std::vector<uint64_t>;

// Which of the whole objects there are; nothing if there are so many that asking for them takes
// longer than deleting each that may be, or if this client may not ask. A server that is away is
// waited for as its ops would be.
Task<Result<std::optional<ObjectNumbers>>> list_whole_objects(Client& client, PoolInfo pool,
                                                              ImageId image, TrimExtents extents) {
  const auto deadline = client.center().now() + client.config().get_duration("objecter_op_timeout");
  const std::string prefix = objecter::image_id_text(image) + ".";
  const uint64_t most = std::max(kTrimListsFrom, extents.whole_objects() / 1024);
  PoolObjects found = co_await list_objects(client, pool, prefix, most);
  while (!found.unlisted.empty() && !found.is_cut) {
    const std::error_code why = found.unlisted.front().error;
    if (why == OsdErrc::kNotPermitted) co_return std::optional<ObjectNumbers>();
    if (client.center().now() >= deadline) co_return failure(why);
    Client::RetryDelay delay(client);
    const std::error_code ended = co_await delay.sleep(kAskAgain);
    if (ended) co_return failure(OsdErrc::kShutdown);
    PoolObjects again = co_await list_objects(client, pool, prefix, most);
    found = std::move(again);
  }
  if (found.is_cut) co_return std::optional<ObjectNumbers>();
  ObjectNumbers numbers;
  for (const std::string& name : found.names) {
    const auto object = objecter::parse_data_object(name);
    if (object && extents.holds(object->number)) numbers.push_back(object->number);
  }
  co_return std::optional<ObjectNumbers>(std::move(numbers));
}

// The ops of a trim, in order: at most one delete per object, or one zero per stripe unit.
class TrimOps {
 public:
  // Deletes the `listed` of the whole objects, or each if they are not known.
  TrimOps(Client& client, objecter::PoolId pool, ImageId image, const TrimExtents& extents,
          std::optional<ObjectNumbers> listed)
      : pool_(pool),
        image_(image),
        io_id_(client.next_io_id()),
        partial_(extents.partial),
        first_object_(extents.first_object),
        listed_(std::move(listed)),
        deletes_(listed_ ? listed_->size() : extents.whole_objects()) {}

  uint64_t io_id() const noexcept { return io_id_; }
  uint64_t deletes() const noexcept { return deletes_; }

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
    if (given_deletes_ == deletes_) return std::nullopt;
    change.code = OpCode::kDelete;
    const uint64_t at = given_deletes_++;
    return op_on(listed_ ? (*listed_)[at] : first_object_ + at, change);
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
  const uint64_t first_object_;
  const std::optional<ObjectNumbers> listed_;
  const uint64_t deletes_;
  uint64_t given_deletes_ = 0;
};

// All ops of the trim, and then a flush.
Task<std::error_code> trim_once(Client& client, PoolInfo pool, ImageHeader header, uint64_t from,
                                uint64_t to, OnProgress& on_progress) {
  OwnFlush flush(client, pool.id, header.id);
  const TrimExtents extents(header.layout, from, to);
  std::optional<ObjectNumbers> listed;
  if (extents.whole_objects() > kTrimListsFrom) {
    Result<std::optional<ObjectNumbers>> found =
        co_await list_whole_objects(client, pool, header.id, extents);
    if (!found) co_return found.error();
    listed = std::move(*found);
  }
  TrimOps ops(client, pool.id, header.id, extents, std::move(listed));
  msgr::Inbox<OpReply> replies;  // this frame outlives every op: it takes all replies
  const uint64_t total = ops.deletes();
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
    const bool has_failed = reply->error && reply->error != OsdErrc::kNoSuchObject;
    if (has_failed && !error) error = reply->error;
    if (on_progress && total != 0) on_progress(std::min(answered, total), total);
  }
  if (error) co_return error;

  const uint64_t io_id = ops.io_id();
  const std::error_code flush_error = co_await flush.run(io_id);
  co_return flush_error;
}

}  // namespace

// A server that lost its power since may have lost what was freed just now: it does not say, so all
// is done again.
Task<std::error_code> trim_image(Client& client, PoolInfo pool, ImageHeader header, uint64_t from,
                                 uint64_t to, OnProgress on_progress) {
  std::error_code error = OsdErrc::kLostWrites;
  for (int round = 0; round < kLostWritesRounds && error == OsdErrc::kLostWrites; ++round) {
    const std::error_code ended = co_await trim_once(client, pool, header, from, to, on_progress);
    error = ended;
  }
  co_return error;
}

}  // namespace lunar::gateway
