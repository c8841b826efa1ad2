// SPDX-License-Identifier: LGPL-2.1-or-later
#include "gateway/scrub/object_repair.h"

#include <algorithm>
#include <utility>

#include "gateway/scrub/pool_survey.h"
#include "msgr/awaiters.h"
#include "objecter/protocol/steps.h"

namespace lunar::gateway {
namespace {

using objecter::ImageId;
using objecter::ObjectId;
using objecter::ObjectOp;
using objecter::ObjectVersion;
using objecter::OpCode;
using objecter::OpReply;
using objecter::OsdErrc;

constexpr uint64_t kGrainBytes = 4096;
constexpr std::size_t kZeroesPerOp = 8;

struct ByteRange {
  uint64_t offset = 0;
  uint64_t length = 0;
};

ObjectOp op_on(Client& client, const ObjectId& object) {
  ObjectOp op;
  op.object = object;
  op.io_id = client.next_io_id();
  return op;
}

bool is_medium_error(std::error_code error) {
  return error == OsdErrc::kIoError || error == OsdErrc::kCorrupt;
}

// The extents that cannot be read, as a search by halves finds them.
class UnreadableSearch {
 public:
  explicit UnreadableSearch(uint64_t size) {
    for (uint64_t at = 0; at < size; at += kScrubReadBytes) {
      pending_.push_back({at, std::min(kScrubReadBytes, size - at)});
    }
  }
  bool is_over() const noexcept { return pending_.empty(); }
  ByteRange take_next() {
    const ByteRange next = pending_.back();
    pending_.pop_back();
    return next;
  }
  void on_unreadable(ByteRange range) {
    if (range.length <= kGrainBytes) {
      found_.push_back(range);
      return;
    }
    const uint64_t half = (range.length / 2 + kGrainBytes - 1) / kGrainBytes * kGrainBytes;
    pending_.push_back({range.offset + half, range.length - half});
    pending_.push_back({range.offset, half});
  }
  // Sorted, and neighbours joined.
  std::vector<ByteRange> take_found() {
    std::sort(found_.begin(), found_.end(),
              [](const auto& a, const auto& b) { return a.offset < b.offset; });
    std::vector<ByteRange> joined;
    for (const ByteRange& each : found_) {
      if (!joined.empty() && joined.back().offset + joined.back().length == each.offset) {
        joined.back().length += each.length;
      } else {
        joined.push_back(each);
      }
    }
    return joined;
  }

 private:
  std::vector<ByteRange> pending_;
  std::vector<ByteRange> found_;
};

}  // namespace

Task<LookedAt> look_at(Client& client, ObjectId object, uint16_t flags) {
  ObjectOp op = op_on(client, object);
  op.flags = static_cast<uint16_t>(flags | objecter::kOpIdempotent);
  op.steps = {make_step(OpCode::kStat)};
  msgr::Completion<OpReply> answered;
  client.objecter().submit(std::move(op), answered.callback());
  const OpReply reply = co_await answered;
  LookedAt found;
  found.error = reply.error;
  found.version = reply.version;
  if (!reply.error && !reply.steps.empty()) found.size = reply.steps.front().value;
  co_return found;
}

Task<std::error_code> delete_unchanged(Client& client, ImageId image, ObjectId object,
                                       ObjectVersion version, uint16_t flags) {
  ObjectOp op = op_on(client, object);
  op.image = image;
  op.flags = flags;
  op.steps = {assert_version(version), make_step(OpCode::kDelete)};
  msgr::Completion<OpReply> answered;
  client.objecter().submit(std::move(op), answered.callback());
  const OpReply reply = co_await answered;
  co_return reply.error;
}

Task<Outcome<uint64_t>> zero_unreadable(Client& client, ImageId image, ObjectId object,
                                        LookedAt looked_at) {
  UnreadableSearch search(looked_at.size);
  while (!search.is_over()) {
    const ByteRange range = search.take_next();
    ObjectOp read = op_on(client, object);
    read.flags = objecter::kOpIdempotent;
    read.steps = {make_step(OpCode::kSparseRead, range.offset, range.length)};
    msgr::Completion<OpReply> answered;
    client.objecter().submit(std::move(read), answered.callback());
    const OpReply reply = co_await answered;
    if (is_medium_error(reply.error)) {
      search.on_unreadable(range);
    } else if (reply.error) {
      co_return failure(reply.error,
                        "reading " + object.name + " failed: " + reply.error.message());
    }
  }
  uint64_t zeroed = 0;
  ObjectVersion version = looked_at.version;
  const std::vector<ByteRange> bad = search.take_found();
  for (std::size_t at = 0; at < bad.size(); at += kZeroesPerOp) {
    ObjectOp zero = op_on(client, object);
    zero.image = image;
    zero.steps = {assert_version(version)};
    for (std::size_t i = at; i < std::min(bad.size(), at + kZeroesPerOp); ++i) {
      zero.steps.push_back(make_step(OpCode::kZero, bad[i].offset, bad[i].length));
      zeroed += bad[i].length;
    }
    msgr::Completion<OpReply> answered;
    client.objecter().submit(std::move(zero), answered.callback());
    const OpReply reply = co_await answered;
    if (reply.error) {
      co_return failure(reply.error, "zeroing what cannot be read of " + object.name +
                                         " failed: " + reply.error.message());
    }
    version = reply.version;
  }
  co_return zeroed;
}

}  // namespace lunar::gateway
