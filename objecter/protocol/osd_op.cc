// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/protocol/osd_op.h"

#include "objecter/protocol/codec/fields.h"
#include "objecter/protocol/watch.h"

namespace lunar::objecter {
namespace {

constexpr uint16_t kAllStepFlags = kFua | kFadviseDontNeed | kFadviseSequential;
constexpr uint16_t kListFlags = kOfServer;
constexpr uint16_t kAllOpFlags = kOpMetadata | kOpIdempotent | kOpOneSided;
constexpr uint8_t kPushed = 1;
constexpr uint8_t kPushedWithCrc = 3;
constexpr uint64_t kMaxWholeReadBytes = 1u << 20;  // what a kRead of length 0 may return

// Which fields a step carries on the wire, in this order. The table of docs/protocol-osd.md.
enum Field : uint16_t {
  kOffset = 1,
  kLength = 2,
  kData = 4,  // data_length
  kVersionField = 8,
  kName = 16,
  kLengthIsData = 32,  // not sent: length is data_length
  kHeard = 64,         // version.incarnation: a loss
  kCookie = 128,       // offset, which is no place in the object, and makes length none
};

// The Field bits, or kUnknownCode.
constexpr int kUnknownCode = -1;
int fields_of(OpCode code) noexcept {
  switch (code) {
    case OpCode::kRead:
    case OpCode::kSparseRead:
    case OpCode::kMapExtents:
    case OpCode::kZero:
      return kOffset | kLength;
    case OpCode::kStat:
    case OpCode::kDelete:
    case OpCode::kListWatchers:
      return 0;
    case OpCode::kFlush:
      return kHeard;
    case OpCode::kGetXattr:
      return kName;
    case OpCode::kList:
      return kLength | kName;
    case OpCode::kAssertVersion:
      return kVersionField;
    case OpCode::kCmpExt:
    case OpCode::kWrite:
    case OpCode::kOrWrite:
      return kOffset | kData | kLengthIsData;
    case OpCode::kWriteFull:
      return kData | kLengthIsData;
    case OpCode::kWriteSame:
      return kOffset | kLength | kData;
    case OpCode::kTruncate:
      return kLength;
    case OpCode::kSetXattr:
      return kName | kData;
    case OpCode::kWatch:
      return kCookie | kLength;
    case OpCode::kUnwatch:
      return kCookie;
    case OpCode::kNotify:
      return kLength | kData;
    case OpCode::kNotifyAck:
      return kCookie | kLength | kData;
  }
  return kUnknownCode;
}

void put_step(ByteWriter& w, const SubOp& step) {
  const int fields = fields_of(step.code);
  w.put(step.code, step.flags);
  if (fields & (kOffset | kCookie)) w.put(step.offset);
  if (fields & kLength) w.put(step.length);
  if (fields & kData) w.put(step.data_length);
  if (fields & kVersionField) {
    w.put(step.version.incarnation);
    w.put(step.version.counter);
  }
  if (fields & kHeard) w.put(step.version.incarnation);
  if (fields & kName) w.put_string(step.name);
}

SubOp get_step(ByteReader& r) {
  SubOp step;
  step.code = r.get<OpCode>();
  step.flags = r.get<uint16_t>();
  const int fields = fields_of(step.code);
  if (fields == kUnknownCode) {
    r.mark_bad();
    return step;
  }
  if (fields & (kOffset | kCookie)) step.offset = r.get<uint64_t>();
  if (fields & kLength) step.length = r.get<uint64_t>();
  if (fields & kData) step.data_length = r.get<uint32_t>();
  if (fields & kLengthIsData) step.length = step.data_length;
  if (fields & kVersionField) {
    step.version.incarnation = r.get<uint64_t>();
    step.version.counter = r.get<uint64_t>();
  }
  if (fields & kHeard) step.version.incarnation = r.get<uint64_t>();
  if (fields & kName) step.name = r.get_string(ObjectId::kMaxNameBytes);
  return step;
}

bool range_is_valid(const SubOp& step) noexcept {
  return step.offset <= OsdOpHeader::kMaxObjectBytes &&
         step.length <= OsdOpHeader::kMaxObjectBytes - step.offset;
}

bool step_is_valid(const SubOp& step) noexcept {
  const int fields = fields_of(step.code);
  const uint16_t known_flags = step.code == OpCode::kList ? kListFlags : kAllStepFlags;
  if (fields == kUnknownCode || (step.flags & ~known_flags) != 0) return false;
  if (!(fields & kData) && step.data_length != 0) return false;
  if ((fields & kLengthIsData) && step.length != step.data_length) return false;
  const bool has_range = (fields & (kOffset | kLength | kLengthIsData)) && !(fields & kCookie);
  if (has_range && !range_is_valid(step)) return false;
  switch (step.code) {
    case OpCode::kRead:
      if (step.length == 0) return step.offset == 0;
      return step.length <= OsdOpHeader::kMaxDataBytes;
    case OpCode::kSparseRead:
      return step.length > 0 && step.length <= OsdOpHeader::kMaxDataBytes;
    case OpCode::kMapExtents:
    case OpCode::kZero:
      return step.length > 0;
    case OpCode::kCmpExt:
    case OpCode::kWrite:
    case OpCode::kOrWrite:
      return step.data_length > 0;
    case OpCode::kWriteSame:
      return step.data_length > 0 && step.length > 0 && step.length % step.data_length == 0;
    case OpCode::kList:
      return step.length > 0 && step.length <= OsdOpHeader::kMaxListed &&
             (step.name.empty() || is_valid_object_name(step.name));
    case OpCode::kGetXattr:
      return is_valid_object_name(step.name);
    case OpCode::kSetXattr:
      return is_valid_object_name(step.name) && step.data_length <= OsdOpHeader::kMaxXattrBytes;
    case OpCode::kWatch:
      return step.length <= 1;
    case OpCode::kNotify:
      return step.length > 0 && step.data_length <= WatchLimits::kMaxPayloadBytes &&
             step.length <= static_cast<uint64_t>(WatchLimits::kMaxTimeout.count());
    case OpCode::kNotifyAck:
      return step.length > 0 && step.data_length <= WatchLimits::kMaxPayloadBytes;
    default:
      return true;
  }
}

// A descriptor says where exactly the payload of all steps is, or that of the one READ goes.
bool fits(const DeliveryDescriptor& delivery, const OsdOpView& op, uint64_t sent) noexcept {
  if (!is_valid(delivery)) return false;
  if (delivery.access == DeliveryAccess::kPull) return delivery.bytes() == sent;
  return op.steps.size() == 1 && op.steps.front().code == OpCode::kRead &&
         delivery.bytes() == op.steps.front().length;
}

uint64_t max_map_bytes(uint64_t length) noexcept { return 4 + 16 * max_extents(length); }

}  // namespace

uint64_t max_reply_bytes(const SubOp& step) noexcept {
  switch (step.code) {
    case OpCode::kRead:
      return step.length == 0 ? kMaxWholeReadBytes : step.length;
    case OpCode::kSparseRead:
      return max_map_bytes(step.length) + step.length;
    case OpCode::kMapExtents:
      return max_map_bytes(step.length);
    case OpCode::kGetXattr:
      return OsdOpHeader::kMaxXattrBytes;
    case OpCode::kList:
      return 4 + step.length * (4 + ObjectId::kMaxNameBytes);
    case OpCode::kNotify:
    case OpCode::kListWatchers:
      return WatchLimits::kMaxResultBytes;
    default:
      return 0;
  }
}

bool is_valid(const OsdOpView& op) noexcept {
  if (op.tid == 0 || op.oldest_tid > op.tid || op.attempt == 0 || op.pg.pool == 0) return false;
  if ((op.flags & ~kAllOpFlags) != 0) return false;
  if (op.steps.empty() || op.steps.size() > OsdOpHeader::kMaxSubOps) return false;
  const OpCode first = op.steps.front().code;
  if (first == OpCode::kFlush || first == OpCode::kList) {
    if (op.steps.size() != 1 || !op.object.empty()) return false;
  } else if (!is_valid_object_name(op.object)) {
    return false;
  }
  uint64_t sent = 0;
  uint64_t returned = 0;
  for (const SubOp& step : op.steps) {
    if (!step_is_valid(step)) return false;
    const bool is_alone =
        step.code == OpCode::kFlush || step.code == OpCode::kList || is_of_watches(step.code);
    if (is_alone && op.steps.size() != 1) return false;
    sent += step.data_length;
    if (step.code == OpCode::kRead) returned += max_reply_bytes(step);
    if (step.code == OpCode::kSparseRead) returned += step.length;
  }
  if (sent > OsdOpHeader::kMaxDataBytes || returned > OsdOpHeader::kMaxDataBytes) return false;
  if (((op.flags & kOpOneSided) != 0) != (op.delivery != nullptr)) return false;
  return op.delivery == nullptr || fits(*op.delivery, op, sent);
}

void encode(const OsdOpView& op, std::vector<std::byte>& out) {
  out.reserve(out.size() + 64 + op.object.size() + op.steps.size() * 40);
  ByteWriter w(out);
  w.put(op.tid, op.oldest_tid, op.attempt, op.flags, static_cast<uint16_t>(op.steps.size()),
        op.epoch, op.pg.pool, op.pg.seed, op.image);
  w.put_string(op.object);
  for (const SubOp& step : op.steps) put_step(w, step);
  if (op.delivery != nullptr) put_delivery(w, *op.delivery);
}

Result<OsdOpHeader> decode_osd_op(ConstBytes front, std::size_t data_bytes) {
  ByteReader r(front);
  OsdOpHeader op;
  op.tid = r.get<Tid>();
  op.oldest_tid = r.get<Tid>();
  op.attempt = r.get<uint32_t>();
  op.flags = r.get<uint16_t>();
  const auto count = r.get<uint16_t>();
  op.epoch = r.get<Epoch>();
  op.pg.pool = r.get<PoolId>();
  op.pg.seed = r.get<uint32_t>();
  op.image = r.get<ImageId>();
  op.object = r.get_string(ObjectId::kMaxNameBytes);
  if (!r.ok() || count > OsdOpHeader::kMaxSubOps || !r.can_hold(count, 4)) {
    return failure(OsdErrc::kInvalid);
  }
  op.steps.reserve(count);
  uint64_t sum = 0;
  for (uint16_t i = 0; i < count && r.ok(); ++i) {
    op.steps.push_back(get_step(r));
    sum += op.steps.back().data_length;
  }
  if (r.ok() && (op.flags & kOpOneSided) != 0) op.delivery = get_delivery(r);
  const uint64_t in_message = op.delivery ? 0 : sum;
  if (!r.is_finished() || in_message != data_bytes || !is_valid(op))
    return failure(OsdErrc::kInvalid);
  return op;
}

void encode(const OsdReplyHeader& reply, std::vector<std::byte>& out) {
  out.reserve(out.size() + 70 + reply.steps.size() * 16);
  ByteWriter w(out);
  w.put(reply.tid, reply.attempt, reply.error, reply.epoch, reply.version.incarnation,
        reply.version.counter, reply.verifier, reply.bytes_inline, reply.bytes_one_sided,
        static_cast<uint16_t>(reply.steps.size()));
  for (const SubOpResult& step : reply.steps) w.put(step.error, step.data_length, step.value);
  if (reply.is_pushed) w.put(reply.push_crc ? kPushedWithCrc : kPushed);
  if (reply.is_pushed && reply.push_crc) w.put(*reply.push_crc);
}

Result<OsdReplyHeader> decode_osd_reply(ConstBytes front, std::size_t data_bytes) {
  ByteReader r(front);
  OsdReplyHeader reply;
  reply.tid = r.get<Tid>();
  reply.attempt = r.get<uint32_t>();
  reply.error = get_errc(r);
  reply.epoch = r.get<Epoch>();
  reply.version.incarnation = r.get<uint64_t>();
  reply.version.counter = r.get<uint64_t>();
  reply.verifier = r.get<uint64_t>();
  reply.bytes_inline = r.get<uint64_t>();
  reply.bytes_one_sided = r.get<uint64_t>();
  const auto count = r.get<uint16_t>();
  if (count > OsdOpHeader::kMaxSubOps || !r.can_hold(count, 16)) {
    return failure(OsdErrc::kInvalid);
  }
  reply.steps.resize(count);
  uint64_t sum = 0;
  for (SubOpResult& step : reply.steps) {
    step.error = get_errc(r);
    step.data_length = r.get<uint32_t>();
    step.value = r.get<uint64_t>();
    sum += step.data_length;
  }
  if (r.ok() && r.remaining() > 0) {
    const auto how = r.get<uint8_t>();
    if (how != kPushed && how != kPushedWithCrc) r.mark_bad();
    reply.is_pushed = true;
    if (how == kPushedWithCrc) reply.push_crc = r.get<uint32_t>();
  }
  const bool adds_up = reply.is_pushed ? data_bytes == 0 && sum > 0 && reply.error == OsdErrc::kOk
                                       : sum == data_bytes;
  if (!r.is_finished() || !adds_up || reply.tid == 0 || reply.attempt == 0) {
    return failure(OsdErrc::kInvalid);
  }
  return reply;
}

void encode(const ExtentMap& map, std::vector<std::byte>& out) {
  out.reserve(out.size() + 4 + map.extents.size() * 16);
  ByteWriter w(out);
  w.put(static_cast<uint32_t>(map.extents.size()));
  for (const auto& [offset, length] : map.extents) {
    w.put(offset);
    w.put(length);
  }
}

Result<ExtentMap> decode_extent_map(ConstBytes& data) {
  ByteReader r(data);
  const auto count = r.get<uint32_t>();
  if (count > OsdOpHeader::kMaxExtents || !r.can_hold(count, 16)) {
    return failure(OsdErrc::kInvalid);
  }
  ExtentMap map;
  map.extents.reserve(count);
  uint64_t end = 0;
  for (uint32_t i = 0; i < count; ++i) {
    const auto offset = r.get<uint64_t>();
    const auto length = r.get<uint64_t>();
    const bool is_apart = i == 0 || offset > end;
    if (!is_apart || length == 0 || offset > OsdOpHeader::kMaxObjectBytes ||
        length > OsdOpHeader::kMaxObjectBytes - offset) {
      return failure(OsdErrc::kInvalid);
    }
    end = offset + length;
    map.extents.emplace_back(offset, length);
  }
  if (!r.ok()) return failure(OsdErrc::kInvalid);
  data = data.last(r.remaining());
  return map;
}

void encode(const std::vector<std::string>& names, std::vector<std::byte>& out) {
  ByteWriter w(out);
  w.put(static_cast<uint32_t>(names.size()));
  for (const std::string& name : names) w.put_string(name);
}

Result<std::vector<std::string>> decode_names(ConstBytes data) {
  ByteReader r(data);
  const auto count = r.get<uint32_t>();
  if (count > OsdOpHeader::kMaxListed || !r.can_hold(count, 5)) return failure(OsdErrc::kInvalid);
  std::vector<std::string> names;
  names.reserve(count);
  for (uint32_t i = 0; i < count; ++i) {
    names.push_back(r.get_string(ObjectId::kMaxNameBytes));
    if (!is_valid_object_name(names.back())) return failure(OsdErrc::kInvalid);
  }
  if (!r.is_finished()) return failure(OsdErrc::kInvalid);
  return names;
}

}  // namespace lunar::objecter
