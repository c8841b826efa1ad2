// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Every decoder of objecter/protocol stays within its input and its limits, and accepts only input
// that its encoder makes: a decoded value encodes to the bytes of the input. The first byte chooses
// the decoder, the next four are the bytes of data that came with the front.

#include <algorithm>
#include <chrono>
#include <memory>
#include <string>

#include "common/check.h"
#include "common/crc32c.h"
#include "objecter/protocol/control.h"
#include "objecter/protocol/osd_map.h"
#include "objecter/protocol/osd_op.h"
#include "objecter/protocol/watch.h"
#include "tests/fuzz/fuzz.h"

namespace lunar::fuzz {
namespace {

using namespace objecter;              // NOLINT(google-build-using-namespace)
using namespace std::chrono_literals;  // NOLINT(google-build-using-namespace)
using Buffer = std::vector<std::byte>;

enum Kind : uint8_t {
  kOp,
  kReply,
  kExtents,
  kNames,
  kMap,
  kMapResealed,  // its checksum made right, so that what is inside gets looked at
  kJson,
  kHello,
  kSubscribe,
  kCancelNote,
  kBoot,
  kBootReply,
  kCommandReply,
  kWatchers,
  kNotifyResult,
  kWatchNotify,
  kWatchLost,
  kWatchPing,
  kKinds,
};
constexpr std::size_t kPrefix = 5;

template <typename T>
Buffer encoded(const T& value) {
  Buffer out;
  encode(value, out);
  return out;
}

template <typename Decoded>
void expect_same(const Decoded& decoded, ConstBytes in) {
  if (!decoded) return;
  const Buffer again = encoded(*decoded);
  LUNAR_CHECK(std::equal(again.begin(), again.end(), in.begin(), in.end()),
              "accepted what no encoder makes");
}

void check_map(Buffer bytes, bool reseal) {
  if (reseal && bytes.size() >= 4) {
    bytes.resize(bytes.size() - 4);
    const uint32_t crc = crc32c(0, bytes);
    ByteWriter(bytes).put(crc);
  }
  const auto map = decode_osd_map(bytes);
  expect_same(map, bytes);
  if (!map) {
    LUNAR_CHECK(!map.error().message.empty(), "an error without a sentence");
    return;
  }
  const auto again = osd_map_from_json(to_json(*map));
  LUNAR_CHECK(again && *again == *map, "a map that JSON does not keep");
}

void check_extents(ConstBytes in) {
  ConstBytes rest = in;
  const auto map = decode_extent_map(rest);
  LUNAR_CHECK(map || rest.size() == in.size(), "taken from the input without success");
  if (map) expect_same(map, in.first(in.size() - rest.size()));
}

void check_json(ConstBytes in) {
  const auto map = osd_map_from_json(as_text(in));
  if (map) LUNAR_CHECK(validate(*map).has_value(), "accepted a map that is not valid");
}

void check(uint8_t kind, uint32_t data_bytes, const Buffer& in) {
  switch (static_cast<Kind>(kind % kKinds)) {
    case kOp:
      return expect_same(decode_osd_op(in, data_bytes), in);
    case kReply:
      return expect_same(decode_osd_reply(in, data_bytes), in);
    case kExtents:
      return check_extents(in);
    case kNames:
      return expect_same(decode_names(in), in);
    case kMap:
      return check_map(in, false);
    case kMapResealed:
      return check_map(in, true);
    case kJson:
      return check_json(in);
    case kHello:
      return expect_same(decode_server_hello(in), in);
    case kSubscribe:
      return expect_same(decode_map_subscribe(in), in);
    case kCancelNote:
      return expect_same(decode_cancel_note(in), in);
    case kBoot:
      return expect_same(decode_osd_boot(in), in);
    case kBootReply:
      return expect_same(decode_osd_boot_reply(in), in);
    case kCommandReply:
      return expect_same(decode_command_reply(in), in);
    case kWatchers:
      return expect_same(decode_watcher_list(in), in);
    case kNotifyResult:
      return expect_same(decode_notify_result(in), in);
    case kWatchNotify:
      return expect_same(decode_watch_notify(in), in);
    case kWatchLost:
      return expect_same(decode_watch_lost(in), in);
    case kWatchPing:
      return expect_same(decode_watch_ping(in), in);
    case kKinds:
      return;
  }
}

OsdMap some_map() {
  OsdMap map;
  map.fsid = *Uuid::parse("01234567-89ab-4def-8123-456789abcdef");
  map.epoch = 3;
  map.next_pool_id = 2;
  map.osds = {{0, map.fsid, {msgr::Address::loopback(6800)}, true}, {2, Uuid{}, {}, false}};
  map.pools = {{1, "rbd", 64, 4u << 20, StoreKind::kFile, {{0, 0x10000}, {2, 0x8000}}}};
  return map;
}

OsdOpHeader some_op() {
  OsdOpHeader op;
  op.tid = op.oldest_tid = 7;
  op.pg = {1, 3};
  op.object = "image.0000000000000001";
  op.image = 9;
  SubOp version;
  version.code = OpCode::kAssertVersion;
  version.version = {1, 2};
  SubOp write;
  write.code = OpCode::kWrite;
  write.offset = 4096;
  write.length = write.data_length = 512;
  SubOp xattr;
  xattr.code = OpCode::kSetXattr;
  xattr.name = "size";
  xattr.data_length = 8;
  op.steps = {version, write, xattr};
  return op;
}

DeliveryDescriptor some_delivery(DeliveryAccess access, uint32_t bytes) {
  DeliveryDescriptor delivery;
  delivery.link_generation = 5;
  delivery.lease_ms = 2000;
  delivery.access = access;
  delivery.has_crc = true;
  delivery.fragment_bytes = 4096;
  delivery.ranges = {{0x7f0000001000, 4096, 11}, {0x7f0000008000, bytes - 4096, 12}};
  if (access == DeliveryAccess::kPull) delivery.crcs = {1, 2, 3};
  return delivery;
}

OsdOpHeader some_pull() {
  OsdOpHeader op = some_op();
  op.steps = {op.steps[1]};
  op.steps[0].length = op.steps[0].data_length = 10'000;
  op.flags = kOpOneSided | kOpIdempotent;
  op.delivery = some_delivery(DeliveryAccess::kPull, 10'000);
  return op;
}

OsdOpHeader some_push() {
  OsdOpHeader op = some_pull();
  op.steps[0].code = OpCode::kRead;
  op.steps[0].data_length = 0;
  op.delivery = some_delivery(DeliveryAccess::kPush, 10'000);
  return op;
}

}  // namespace

std::vector<Buffer> seeds() {
  std::vector<Buffer> out;
  const auto add = [&out](Kind kind, uint32_t data_bytes, ConstBytes front) {
    Buffer bytes;
    ByteWriter w(bytes);
    w.put(kind);
    w.put(data_bytes);
    w.put_bytes(front);
    out.push_back(std::move(bytes));
  };
  OsdReplyHeader reply;
  reply.tid = 7;
  reply.steps = {{OsdErrc::kOk, 100, 0}, {OsdErrc::kMiscompare, 0, 17}};
  const std::string json = to_json(some_map());
  const Uuid id = some_map().fsid;
  add(kOp, 520, encoded(some_op()));
  add(kOp, 0, encoded(some_pull()));
  add(kOp, 0, encoded(some_push()));
  add(kReply, 100, encoded(reply));
  OsdReplyHeader pushed = reply;
  pushed.steps = {{OsdErrc::kOk, 100, 0}};
  pushed.is_pushed = true;
  add(kReply, 0, encoded(pushed));
  pushed.push_crc = 7;
  add(kReply, 0, encoded(pushed));
  add(kExtents, 0, encoded(ExtentMap{{{0, 4096}, {8192, 512}}}));
  add(kNames, 0, encoded(std::vector<std::string>{"a", "b.1"}));
  add(kMap, 0, encoded(some_map()));
  add(kMapResealed, 0, encoded(some_map()));
  add(kJson, 0, as_const_bytes(json));
  add(kHello, 0, encoded(ServerHello{id, 1, id, 2, 3, 4, true}));
  add(kSubscribe, 0, encoded(MapSubscribe{4}));
  add(kCancelNote, 0, encoded(CancelNote{5}));
  add(kBoot, 0, encoded(OsdBoot{1, id, id, 3, {1, 2}, 4, {msgr::Address::loopback(6801)}}));
  add(kBootReply, 0, encoded(OsdBootReply{OsdErrc::kExists, 0, "osd.1 is up already"}));
  add(kCommandReply, 0, encoded(CommandReply{OsdErrc::kOk, 4, "{}"}));
  const WatcherId watcher{{"client.admin", "host/1", 7}, 9};
  const WatchSettling settling{30s, 5s};
  const Buffer payload(3, std::byte{1});
  add(kWatchers, 0,
      encoded(WatcherList{settling, {{watcher, msgr::Address::loopback(6802), false, 3s}}}));
  add(kNotifyResult, 0, encoded(NotifyResult{settling, {{watcher, payload}}, {watcher}}));
  add(kWatchNotify, 0,
      encoded(WatchNotify{1, {1, "disk1.header"}, 9, watcher.client, 5s, payload}));
  add(kWatchLost, 0, encoded(WatchLost{{1, "disk1.header"}, 9, OsdErrc::kStaleMap}));
  add(kWatchPing, 0, encoded(WatchPing{8}));
  return out;
}

void run_one(ConstBytes input) {
  if (input.size() < kPrefix) return;
  ByteReader prefix(input);
  const auto kind = prefix.get<uint8_t>();
  const auto data_bytes = prefix.get<uint32_t>();
  // A block of exactly its size, for the sanitizer.
  const Buffer front(input.begin() + kPrefix, input.end());
  check(kind, data_bytes, front);
}

}  // namespace lunar::fuzz
