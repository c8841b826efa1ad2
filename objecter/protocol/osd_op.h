// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/bytes.h"
#include "common/result.h"
#include "objecter/protocol/delivery.h"
#include "objecter/protocol/types.h"

namespace lunar::objecter {

// MessageMeta::type of everything between clients and object servers. Fronts other than those of
// ops, replies and maps are in control.h.
enum class MessageType : uint16_t {
  kOsdOp = 1,       // meta.tid is the op's
  kOsdOpReply = 2,  // meta.tid is the op's
  kCancel = 3,      // CancelNote
  kCancelled = 4,  // CancelNote: the op is not executing and will not; sent after its reply, if any
  kServerHello = 5,  // ServerHello; the first message of every session, from the server
  kMapSubscribe =
      16,         // MapSubscribe; answered at once by kMap or kMapCurrent, then kMap as they come
  kMap = 17,      // front: an encoded OsdMap
  kOsdBoot = 18,  // OsdBoot, an OSD to the map authority
  kOsdBootReply = 19,  // OsdBootReply
  kCommand = 20,       // front: JSON, as `ceph tell` would send; meta.tid; admin entities only
  kCommandReply = 21,  // CommandReply, with the meta.tid of its kCommand
  kMapCurrent = 22,    // MapSubscribe: the sender has no newer map than this
  // Of watch.h; only if both ends have the feature bit.
  kWatchNotify = 23,  // WatchNotify, to a watcher; acked by a kNotifyAck op
  kWatchLost = 24,    // WatchLost, to a watcher
  kWatchPing = 25,    // WatchPing, to a server
  kWatchPong = 26,    // WatchPing: the answer, with the same stamp
};

enum class OpCode : uint16_t {
  // Take no data, return data (READ, SPARSE_READ, GET_XATTR, MAP_EXTENTS, LIST) or values.
  kRead = 1,           // offset, length → exactly `length` bytes; what was never written is zero.
                       // offset 0, length 0: the whole object as long as it is, at most 1 MiB
  kSparseRead = 2,     // offset, length → ExtentMap, then the bytes of its extents
  kStat = 3,           // → value: size in bytes; kNoSuchObject if absent
  kMapExtents = 4,     // offset, length → ExtentMap of what is allocated (absent object: empty)
  kGetXattr = 5,       // name →
  kList = 6,           // paged: name is the cursor, length the page size → names
  kAssertVersion = 7,  // version; kVersionMismatch unless the object is at it
  kCmpExt = 8,         // offset, length, data; kMiscompare with the offset of the first difference
  // Change the object.
  kWrite = 16,      // offset, length, data; creates the object
  kWriteFull = 17,  // data becomes the whole object
  kWriteSame = 18,  // offset, length, data is the pattern; length a multiple of its size
  kZero = 19,       // offset, length; frees the space; never creates or extends
  kTruncate = 20,   // length is the new size; creates the object
  kDelete = 21,     // an absent object is not an error
  kSetXattr = 22,   // name, data
  kOrWrite = 23,    // offset, length, data; bytes become old | data, atomically
  // Of a server, not of an object.
  kFlush =
      32,  // makes every write of the image durable; version: heard → value: loss, unless heard
  // Of the watches of an object, which are in the memory of its server; the only step of their op.
  // kNoSuchObject if the object is absent, but for UNWATCH and NOTIFY_ACK. `offset` is a cookie.
  kWatch = 33,    // cookie; length 1: again, of a client that had it → value: the watch timeout,
                  // ms. kWatchLost: again, and it is gone
  kUnwatch = 34,  // cookie; no such watch is not an error
  kNotify = 35,   // length: timeout, ms; data → NotifyResult, when all acked or it is over
  kNotifyAck = 36,    // cookie; length: notify_id; data: the reply
  kListWatchers = 37  // → WatcherList
};
constexpr bool changes_object(OpCode code) noexcept {
  return code >= OpCode::kWrite && code < OpCode::kFlush;
}
// Ops on the watches of an object.
constexpr bool is_of_watches(OpCode code) noexcept { return code > OpCode::kFlush; }

// Bits of SubOp::flags. The hints are the caller's, and a store may ignore them.
enum SubOpFlag : uint16_t {
  kFua = 1,                // durable before the reply
  kFadviseDontNeed = 2,    // hint: it is not read again soon
  kFadviseSequential = 4,  // hint: what follows is read or written next
  kOfServer = 8,           // kList: all PGs that this server has of the pool, not the op's alone
};

// One step of an op vector.
struct SubOp {
  OpCode code = OpCode::kRead;
  uint16_t flags = 0;        // SubOpFlag
  uint64_t offset = 0;       // in the object, bytes
  uint64_t length = 0;       // bytes
  uint32_t data_length = 0;  // bytes of the op's data that belong to this step, in order
  ObjectVersion version;     // kAssertVersion; kFlush: incarnation is the loss that was heard of
  std::string name;          // xattr name or list cursor
};

// One object operation as sent: steps applied in order and atomically against other ops; the first
// failing step ends it with nothing changed. Data of all steps is concatenated in the message data.
struct OsdOpHeader {
  static constexpr std::size_t kMaxSubOps = 16;
  static constexpr uint64_t kMaxObjectBytes = 1ull << 40;  // offset + length of a step
  static constexpr uint64_t kMaxDataBytes = 32u << 20;     // of all steps, each way
  static constexpr uint32_t kMaxXattrBytes = 64u << 10;
  static constexpr uint32_t kMaxListed = 10'000;
  static constexpr uint64_t kMaxExtents = 65'536;  // of one ExtentMap
  Tid tid = 0;
  // Results of lower tids need no longer be remembered by this server. A lower tid that it does
  // not know may still come, from another server that a new map took the PG from: execute it.
  Tid oldest_tid = 0;
  uint32_t attempt = 1;  // 1 for the first sending
  Epoch epoch = 0;       // map the target was computed from
  PgId pg;
  std::string object;  // empty only for kFlush and kList
  ImageId image = 0;   // whose unflushed mark a write sets and a FLUSH clears
  uint16_t flags = 0;  // OpFlag
  std::vector<SubOp> steps;
  // With kOpOneSided, and only then: how the payload travels. The message has no data.
  std::optional<DeliveryDescriptor> delivery;
};
// Bits of OsdOpHeader::flags.
enum OpFlag : uint16_t {
  kOpMetadata = 1,  // a metadata object: durable versions, crash-atomic, durable when answered
  // May be executed again after a server restart, and by whoever hears that it timed out. Only for
  // what is as well done twice as once: docs/durability.md, "What is done twice".
  kOpIdempotent = 2,
  kOpOneSided = 4,  // the payload is described, not sent; needs the session's feature bit
};

// What became of one step. A value.
struct SubOpResult {
  OsdErrc error = OsdErrc::kOk;
  uint32_t data_length = 0;  // bytes of the reply's data that belong to this step, in order
  uint64_t value = 0;        // STAT: size; CMPEXT: offset of a difference; FLUSH: the loss, or 0
};

// An OsdOpHeader whose object name, steps and descriptor are somebody else's, so that an op is
// encoded without copying them. Borrows all three.
struct OsdOpView {
  Tid tid = 0;
  Tid oldest_tid = 0;
  uint32_t attempt = 1;
  Epoch epoch = 0;
  PgId pg;
  std::string_view object;
  ImageId image = 0;
  uint16_t flags = 0;
  std::span<const SubOp> steps;
  const DeliveryDescriptor* delivery = nullptr;

  OsdOpView() noexcept = default;
  OsdOpView(const OsdOpHeader& op) noexcept  // NOLINT(google-explicit-constructor)
      : tid(op.tid),
        oldest_tid(op.oldest_tid),
        attempt(op.attempt),
        epoch(op.epoch),
        pg(op.pg),
        object(op.object),
        image(op.image),
        flags(op.flags),
        steps(op.steps),
        delivery(op.delivery ? &*op.delivery : nullptr) {}
};

// Whether every count, range and combination is one that docs/protocol-osd.md allows. What the
// decoder demands, and submit() before it sends.
bool is_valid(const OsdOpView& op) noexcept;
// How many extents may a step's ExtentMap have? A store with more of them joins neighbours.
constexpr uint64_t max_extents(uint64_t length) noexcept {
  const uint64_t count = length / 4096 + 2;
  return count < OsdOpHeader::kMaxExtents ? count : OsdOpHeader::kMaxExtents;
}
// The most data bytes a reply may carry for this step.
uint64_t max_reply_bytes(const SubOp& step) noexcept;

// The answer to one attempt of an op. Remembered by the server, so that a resend gets it again.
struct OsdReplyHeader {
  Tid tid = 0;                   // of the op it answers
  uint32_t attempt = 1;          // and which sending of it
  OsdErrc error = OsdErrc::kOk;  // of the op: that of its first failing step
  Epoch epoch = 0;               // the server's; newer than the op's: fetch it
  ObjectVersion version;         // after the op
  uint64_t verifier = 0;      // of the server's unflushed writes; a new one means they may be lost
  uint64_t bytes_inline = 0;  // payload carried in frames, both directions
  uint64_t bytes_one_sided = 0;  // payload moved by RDMA READ/WRITE
  std::vector<SubOpResult> steps;
  // The data was written into the op's delivery descriptor before this, and is not in the message.
  bool is_pushed = false;
  std::optional<uint32_t> push_crc;  // crc32c of what was pushed; only with is_pushed
};

// Runs of allocated bytes, sorted, not touching each other.
struct ExtentMap {
  std::vector<std::pair<uint64_t, uint64_t>> extents;  // offset, length; bytes
  friend bool operator==(const ExtentMap&, const ExtentMap&) = default;
};

// docs/protocol-osd.md has the tables. Decoders accept exactly what the encoders make: every count,
// length and enum is checked, nothing may be left over. A field that a step's code has no use for
// is not sent. Errors: kInvalid.
void encode(const OsdOpView& op, std::vector<std::byte>& out);
void encode(const OsdReplyHeader& reply, std::vector<std::byte>& out);
void encode(const ExtentMap& map, std::vector<std::byte>& out);
void encode(const std::vector<std::string>& names, std::vector<std::byte>& out);
Result<OsdOpHeader> decode_osd_op(ConstBytes front, std::size_t data_bytes);
Result<OsdReplyHeader> decode_osd_reply(ConstBytes front, std::size_t data_bytes);
// Reads from the front of `data` and advances it.
Result<ExtentMap> decode_extent_map(ConstBytes& data);
Result<std::vector<std::string>> decode_names(ConstBytes data);

}  // namespace lunar::objecter
