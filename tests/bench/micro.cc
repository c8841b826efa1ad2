// SPDX-License-Identifier: LGPL-2.1-or-later
// What the steps of the path of an IO of 4 KiB cost by themselves: splitter, placement, frames,
// checksum, op table.

#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "common/crc32c.h"
#include "gateway/splitter.h"
#include "msgr/wire/frame.h"
#include "msgr/wire/frame_decoder.h"
#include "objecter/ops/op_table.h"
#include "objecter/protocol/image_objects.h"
#include "objecter/protocol/osd_op.h"
#include "objecter/protocol/placement.h"

namespace lunar::bench {
namespace {

constexpr std::size_t kIoBytes = 4096;

objecter::PoolInfo make_pool(int64_t members) {
  objecter::PoolInfo pool;
  pool.id = 1;
  pool.pg_num = 1024;
  for (int64_t i = 0; i < members; ++i)
    pool.members.push_back({static_cast<objecter::OsdId>(i), 0x10000});
  return pool;
}

objecter::OsdOpHeader make_write() {
  objecter::OsdOpHeader op;
  op.tid = op.oldest_tid = 7;
  op.attempt = 1;
  op.epoch = 1;
  op.pg = {1, 3};
  op.image = 0x1234;
  op.object = objecter::data_object_name(op.image, 5);
  objecter::SubOp step;
  step.code = objecter::OpCode::kWrite;
  step.length = step.data_length = kIoBytes;
  op.steps.push_back(step);
  return op;
}

void split(benchmark::State& state) {
  gateway::StripeLayout layout;
  layout.stripe_unit = 64u << 10;
  layout.stripe_count = 4;
  uint64_t offset = 0;
  for (auto _ : state) {
    uint64_t sum = 0;
    for (gateway::ExtentCursor at(layout, offset, static_cast<uint64_t>(state.range(0)));
         !at.is_at_end();)
      sum += at.next().offset;
    benchmark::DoNotOptimize(sum);
    offset += kIoBytes;
  }
}
BENCHMARK(split)->Arg(4 << 10)->Arg(1 << 20);

void object_name(benchmark::State& state) {
  uint64_t number = 0;
  for (auto _ : state) benchmark::DoNotOptimize(objecter::data_object_name(0x1234, ++number));
}
BENCHMARK(object_name);

void pg_of_object(benchmark::State& state) {
  const objecter::PoolInfo pool = make_pool(1);
  const std::string name = objecter::data_object_name(0x1234, 5);
  for (auto _ : state) benchmark::DoNotOptimize(objecter::pg_of_object(pool, name));
}
BENCHMARK(pg_of_object);

void osd_of_pg(benchmark::State& state) {
  const objecter::PoolInfo pool = make_pool(state.range(0));
  uint32_t seed = 0;
  for (auto _ : state) benchmark::DoNotOptimize(objecter::osd_of_pg(pool, {1, ++seed % 1024}));
}
BENCHMARK(osd_of_pg)->Arg(1)->Arg(3)->Arg(100)->Arg(1000);

void crc(benchmark::State& state) {
  const std::vector<std::byte> bytes(static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) benchmark::DoNotOptimize(crc32c(0, bytes));
  state.SetBytesProcessed(state.iterations() * state.range(0));
}
BENCHMARK(crc)->Arg(64)->Arg(kIoBytes)->Arg(1 << 20);

void encode_op(benchmark::State& state) {
  const objecter::OsdOpHeader op = make_write();
  objecter::OsdOpView view;
  view.tid = view.oldest_tid = op.tid;
  view.attempt = op.attempt;
  view.epoch = op.epoch;
  view.pg = op.pg;
  view.image = op.image;
  view.object = op.object;
  view.steps = op.steps;
  for (auto _ : state) {
    std::vector<std::byte> front;
    objecter::encode(view, front);
    benchmark::DoNotOptimize(front.data());
  }
}
BENCHMARK(encode_op);

std::vector<std::byte> encoded_write() {
  const objecter::OsdOpHeader op = make_write();
  objecter::OsdOpView view;
  view.tid = view.oldest_tid = op.tid;
  view.attempt = op.attempt;
  view.pg = op.pg;
  view.object = op.object;
  view.steps = op.steps;
  std::vector<std::byte> front;
  objecter::encode(view, front);
  return front;
}

void decode_op(benchmark::State& state) {
  const std::vector<std::byte> front = encoded_write();
  for (auto _ : state) {
    auto op = objecter::decode_osd_op(front, kIoBytes);
    if (!op) state.SkipWithError("the op cannot be read");
    benchmark::DoNotOptimize(op);
  }
}
BENCHMARK(decode_op);

msgr::Frame make_frame(ConstBytes data, std::vector<std::byte> front) {
  msgr::Frame frame;
  frame.header.tag = static_cast<uint8_t>(msgr::FrameTag::kMessage);
  frame.header.seq = 1;
  frame.front = std::move(front);
  frame.data.push_back(data);
  return frame;
}

// With the checksum of the payload, and without.
void seal_frame(benchmark::State& state) {
  const std::vector<std::byte> data(kIoBytes);
  msgr::Frame frame = make_frame(data, encoded_write());
  for (auto _ : state) {
    msgr::seal_frame(frame, state.range(0) != 0);
    benchmark::DoNotOptimize(frame.header);
  }
}
BENCHMARK(seal_frame)->Arg(1)->Arg(0);

void decode_frame(benchmark::State& state) {
  const std::vector<std::byte> data(kIoBytes);
  msgr::Frame frame = make_frame(data, encoded_write());
  msgr::seal_frame(frame, state.range(0) != 0);
  const auto* header = reinterpret_cast<const std::byte*>(&frame.header);
  std::vector<std::byte> wire(header, header + sizeof frame.header);
  wire.insert(wire.end(), frame.front.begin(), frame.front.end());
  wire.insert(wire.end(), data.begin(), data.end());
  std::vector<std::byte> place(kIoBytes);
  msgr::FrameDecoder decoder((msgr::FrameLimits()));
  for (auto _ : state) {
    ConstBytes in = wire;
    auto event = decoder.feed(in);
    decoder.place_payload(Bytes(place));
    event = decoder.feed(in);
    if (event != msgr::FrameDecoder::DecodeEvent::kFrame) state.SkipWithError("no frame");
    benchmark::DoNotOptimize(decoder.take_frame());
  }
}
BENCHMARK(decode_frame)->Arg(1)->Arg(0);

// An op comes, is found by its reply and goes, while so many others are under way.
void op_table(benchmark::State& state) {
  objecter::OpTable table({});
  std::vector<objecter::Op*> others;
  for (int64_t i = 1; i < state.range(0); ++i) others.push_back(&table.add());
  for (auto _ : state) {
    objecter::Op& op = table.add();
    benchmark::DoNotOptimize(table.admit(op));
    benchmark::DoNotOptimize(table.find(op.tid));
    table.remove(op);
    table.recycle(op);
  }
  for (objecter::Op* op : others) {
    table.remove(*op);
    table.recycle(*op);
  }
}
BENCHMARK(op_table)->Arg(1)->Arg(32)->Arg(1000);

}  // namespace
}  // namespace lunar::bench

BENCHMARK_MAIN();
