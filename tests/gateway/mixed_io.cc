// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/gateway/mixed_io.h"

#include <algorithm>
#include <cstring>

namespace lunar::gateway {

namespace {
constexpr uint64_t kBlock = 512;
constexpr uint64_t kAtomic = 64u << 10;  // divides every stripe unit of these tests
}  // namespace

MixedIo::MixedIo(RandomEngine& random, uint64_t image_bytes, uint64_t regions)
    : random_(random),
      region_bytes_(image_bytes / regions),
      model_(image_bytes, '\0'),
      foreign_(msgr::make_heap_buffer_pool(64u << 20, 0)) {}

void MixedIo::choose_range(Io& io, uint64_t region, uint64_t* length) {
  uint64_t at = random_() % (region_bytes_ / kBlock) * kBlock;
  uint64_t room = region_bytes_ - at;
  if (io.kind == Io::Kind::kCompareAndWrite) {  // within a stripe unit
    at = at / kAtomic * kAtomic;
    room = kAtomic;
  }
  const uint64_t largest = random_() % 4 == 0 ? room : 256u << 10;
  *length = kBlock * (1 + random_() % (std::min(room, largest) / kBlock));
  io.offset = region * region_bytes_ + at;
}

void MixedIo::take_memory(Io& io, Client& client, uint64_t bytes) {
  const auto choice = random_() % 8;
  if (choice >= 3) {
    io.lease = client.front_end_buffers().allocate(bytes);
  } else if (choice >= 1) {
    io.lease = foreign_->allocate(bytes);
  }
  if (!io.lease) io.plain.resize(bytes);
}

void MixedIo::fill(Bytes memory) {
  for (std::byte& byte : memory) byte = static_cast<std::byte>(random_() >> 7);
}

std::unique_ptr<MixedIo::Io> MixedIo::start(Client& client, Image& image, uint64_t region) {
  using Kind = Io::Kind;
  static constexpr Kind kKinds[] = {Kind::kRead,  Kind::kRead,      Kind::kRead,
                                    Kind::kWrite, Kind::kWrite,     Kind::kWrite,
                                    Kind::kWrite, Kind::kWriteSame, Kind::kCompareAndWrite};
  auto io = std::make_unique<Io>();
  io->kind = kKinds[random_() % std::size(kKinds)];
  uint64_t length = 0;
  choose_range(*io, region, &length);
  const std::string before = model_.substr(io->offset, length);
  take_memory(*io, client,
              io->kind == Kind::kWriteSame         ? kBlock
              : io->kind == Kind::kCompareAndWrite ? 2 * length
                                                   : length);
  const Bytes memory = io->memory();
  fill(memory);
  IoOptions with;
  if (io->lease) with.memory = &io->lease;
  auto done = [raw = io.get()](const IoResult& result) { raw->result = result; };
  io->expected = std::string(as_text(memory));
  switch (io->kind) {
    case Kind::kRead:
      io->expected = before;
      image.read(io->offset, memory, with, done);
      break;
    case Kind::kWrite:
      image.write(io->offset, memory, with, done);
      break;
    case Kind::kWriteSame:
      io->expected.clear();
      while (io->expected.size() < length) io->expected += as_text(memory);
      image.write_same(io->offset, length, memory, with, done);
      break;
    case Kind::kCompareAndWrite:
      io->expected.erase(0, length);
      std::memcpy(memory.data(), before.data(), length);
      image.compare_and_write(io->offset, memory.first(length), memory.subspan(length), with, done);
      break;
  }
  io->given = std::string(as_text(memory));
  return io;
}

std::string MixedIo::finish(Io& io) {
  const auto wrong = [&](const std::string& what) {
    return what + ", kind " + std::to_string(static_cast<int>(io.kind)) + " at " +
           std::to_string(io.offset) + " of " + std::to_string(io.expected.size());
  };
  if (io.result->error) return wrong(io.result->error.message());
  const std::string_view now = as_text(io.memory());
  if (io.kind == Io::Kind::kRead) {
    if (now != io.expected) return wrong("other bytes than the last ones written");
  } else {
    if (now != io.given) return wrong("memory that was only to be read has changed");
    model_.replace(io.offset, io.expected.size(), io.expected);
  }
  const bool moves_all = io.kind == Io::Kind::kRead || io.kind == Io::Kind::kWrite;
  if (moves_all && io.result->bytes_inline + io.result->bytes_one_sided != now.size()) {
    return wrong("bytes inline and one-sided are not all of it");
  }
  // The pool lends this memory again, so a late write to it would show in a later IO.
  std::memset(io.memory().data(), 0x55, now.size());
  return {};
}

}  // namespace lunar::gateway
