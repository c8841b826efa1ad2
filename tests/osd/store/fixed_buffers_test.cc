// SPDX-License-Identifier: LGPL-2.1-or-later
//
// Direct IO, and the buffers that io_uring knows for it: real rings, files and pages.
#include <fcntl.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <utility>

#include "common/memlock.h"
#include "common/perf_counters.h"
#include "tests/osd/store/file_store_fixture.h"

namespace lunar::osd::test {
namespace {

// Memory of two regions side by side. It hands out nothing.
class TwoRegions final : public msgr::BufferPool {
 public:
  static constexpr std::size_t kRegion = 1u << 20;
  TwoRegions()
      : memory_(::mmap(nullptr, 2 * kRegion, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                       -1, 0)) {
    EXPECT_NE(memory_, MAP_FAILED);
  }
  ~TwoRegions() override { ::munmap(memory_, 2 * kRegion); }
  Bytes all() const { return {static_cast<std::byte*>(memory_), 2 * kRegion}; }

  msgr::RegisteredBuffer allocate(std::size_t) override { return {}; }
  std::size_t bytes_in_use() const noexcept override { return 0; }
  Bytes region_of(const std::byte* byte) const noexcept override {
    const std::less<> before;
    if (before(byte, all().data()) || !before(byte, all().data() + all().size())) return {};
    return all().subspan(static_cast<std::size_t>(byte - all().data()) / kRegion * kRegion,
                         kRegion);
  }

 private:
  void release(Bytes, uint32_t) noexcept override {}
  void* const memory_;
};

struct AlignedBytes {
  explicit AlignedBytes(std::size_t size)
      : memory(static_cast<std::byte*>(std::aligned_alloc(4096, size)), &std::free), length(size) {}
  Bytes bytes() const { return {memory.get(), length}; }
  std::unique_ptr<std::byte, void (*)(void*)> memory;
  std::size_t length;
};

class FixedBuffersTest : public FileStoreTest {
 protected:
  static constexpr std::size_t kLarge = 256u << 10;
  FixedBuffersTest() {
    options_.io = FileStoreOptions::Io::kUring;
    options_.perf = &perf_;
    options_.direct_io_bytes = 64u << 10;
  }
  // Before its memory is gone.
  ~FixedBuffersTest() override {
    if (store_) close();
  }
  msgr::BufferPool& pool() override { return regions_; }

  Bytes filled(std::size_t offset, uint64_t seed) {
    const Bytes memory = regions_.all().subspan(offset, kLarge);
    std::ranges::copy(pattern(kLarge, seed), memory.begin());
    return memory;
  }
  // Where locked memory is limited or the file system has no direct IO, only the results can be
  // checked.
  uint64_t expected_fixed(uint64_t bytes) {
    const bool may_pin = raise_memlock().available() == Memlock::kUnlimited;
    return may_pin && has_direct_io() ? bytes : 0;
  }
  bool has_direct_io() {
    const std::string path = folder_ / "probe";
    return UniqueFd(::open(path.c_str(), O_RDWR | O_CREAT | O_DIRECT | O_CLOEXEC, 0600)).get() >= 0;
  }

  PerfRegistry perf_;
  uint64_t counted(const char* name) const {
    return nlohmann::json::parse(perf_.dump("osd_store"))["osd_store"][name];
  }
  TwoRegions regions_;
};

TEST_F(FixedBuffersTest, MemoryOfARegionIsFixedBothWaysAndARegionOnce) {
  open();
  ASSERT_EQ(driver_.write(*store_, id_, 0, filled(0, 1)), kNone);
  ASSERT_EQ(driver_.write(*store_, id_, kLarge, filled(kLarge, 2), true), kNone);
  EXPECT_EQ(counted("ring_bytes"), 2 * kLarge);
  EXPECT_EQ(counted("ring_fixed_bytes"), expected_fixed(2 * kLarge));
  EXPECT_EQ(fake_.count("set_fixed_buffer"), expected_fixed(1));
  const Bytes into = regions_.all().subspan(TwoRegions::kRegion + 4096, kLarge);
  ASSERT_EQ(driver_.read(*store_, id_, kLarge, into), kNone);
  EXPECT_TRUE(std::ranges::equal(into, pattern(kLarge, 2)));
  EXPECT_EQ(counted("ring_fixed_bytes"), expected_fixed(3 * kLarge));
  EXPECT_EQ(fake_.count("set_fixed_buffer"), expected_fixed(2));
  EXPECT_EQ(fake_.count("reopen"), 1u) << "the descriptor stays";
}

TEST_F(FixedBuffersTest, DirectAndCachedBytesOfAnObjectAreTheSame) {
  open();
  ASSERT_EQ(driver_.write(*store_, id_, 0, filled(0, 1)), kNone);
  // Into the page cache, in the midst of it and behind it.
  ASSERT_EQ(driver_.write(*store_, id_, 1000, bytes_), kNone);
  ASSERT_EQ(driver_.write(*store_, id_, kLarge, ConstBytes(bytes_).first(700)), kNone);
  auto expected = pattern(kLarge, 1);
  std::ranges::copy(bytes_, expected.begin() + 1000);
  const Bytes into = regions_.all().first(kLarge);
  ASSERT_EQ(driver_.read(*store_, id_, 0, into), kNone);
  EXPECT_TRUE(std::ranges::equal(into, expected));
  // Over the end of the object, which is not aligned.
  ASSERT_EQ(driver_.read(*store_, id_, kLarge, into), kNone);
  EXPECT_TRUE(std::ranges::equal(into.first(700), ConstBytes(bytes_).first(700)));
  EXPECT_TRUE(std::ranges::all_of(into.subspan(700), [](std::byte b) { return b == std::byte{}; }));
  // Over what the page cache has.
  ASSERT_EQ(driver_.write(*store_, id_, 0, filled(0, 2)), kNone);
  EXPECT_EQ(driver_.read(*store_, id_, 0, kLarge), pattern(kLarge, 2));
}

TEST_F(FixedBuffersTest, OtherMemoryAndWhatReachesOutOfARegionIsNot) {
  open();
  const auto memory = AlignedBytes(kLarge);
  std::ranges::copy(pattern(kLarge, 3), memory.bytes().begin());
  ASSERT_EQ(driver_.write(*store_, id_, 0, memory.bytes()), kNone);
  const Bytes across = filled(TwoRegions::kRegion - 8192, 4);
  ASSERT_EQ(driver_.write(*store_, id_, kLarge, across), kNone);
  EXPECT_EQ(counted("ring_bytes"), 2 * kLarge);
  EXPECT_EQ(counted("ring_fixed_bytes"), 0u);
  EXPECT_EQ(driver_.read(*store_, id_, 0, kLarge), pattern(kLarge, 3));
  EXPECT_EQ(driver_.read(*store_, id_, kLarge, kLarge), pattern(kLarge, 4));
}

TEST_F(FixedBuffersTest, WhatIsNotAlignedOrSmallGoesThroughThePageCache) {
  open();
  ASSERT_EQ(driver_.write(*store_, id_, 512, filled(0, 1)), kNone);
  ASSERT_EQ(driver_.write(*store_, id_, 1u << 20, filled(0, 1).subspan(8, 128u << 10)), kNone);
  ASSERT_EQ(driver_.write(*store_, id_, 2u << 20, filled(0, 1).first(32u << 10)), kNone);
  EXPECT_EQ(fake_.count("reopen"), 0u);
  EXPECT_EQ(fake_.count("reserve_fixed_buffers"), 0u) << "nothing has use for them";
  EXPECT_EQ(counted("ring_fixed_bytes"), 0u);
  EXPECT_EQ(driver_.read(*store_, id_, 512, kLarge), pattern(kLarge, 1));
}

TEST_F(FixedBuffersTest, AFileSystemWithoutDirectIoServesThroughThePageCache) {
  for (const char* call : {"reopen", "write"}) {
    SCOPED_TRACE(call);
    open();
    bool was_refused = false;
    fake_.set_rule([&, call = std::string(call)](const std::string& made) {
      return made == call && !std::exchange(was_refused, true) ? -EINVAL : 0;
    });
    ASSERT_EQ(driver_.write(*store_, id_, 0, filled(0, 1)), kNone);
    EXPECT_TRUE(was_refused);
    EXPECT_EQ(driver_.read(*store_, id_, 0, kLarge), pattern(kLarge, 1));
    const auto fixed = counted("ring_fixed_bytes");
    ASSERT_EQ(driver_.write(*store_, id_, 0, filled(0, 2)), kNone);
    EXPECT_EQ(counted("ring_fixed_bytes"), fixed) << "it is not tried again";
    EXPECT_EQ(driver_.read(*store_, id_, 0, kLarge), pattern(kLarge, 2));
    fake_.heal();
    close();
    store_.reset();
  }
}

TEST_F(FixedBuffersTest, ARegionThatIsRefusedIsPlainMemoryAndNotAskedForAgain) {
  open();
  fake_.fail("set_fixed_buffer", ENOMEM);
  for (uint64_t seed : {5, 6}) {
    ASSERT_EQ(driver_.write(*store_, id_, 0, filled(0, seed), true), kNone);
    EXPECT_EQ(driver_.read(*store_, id_, 0, kLarge), pattern(kLarge, seed));
  }
  EXPECT_EQ(fake_.count("set_fixed_buffer"), expected_fixed(1));
  EXPECT_EQ(counted("ring_fixed_bytes"), 0u);
}

TEST_F(FixedBuffersTest, AKernelWithoutThemServesAsBefore) {
  fake_.fail("reserve_fixed_buffers", EINVAL);
  open();
  ASSERT_EQ(driver_.write(*store_, id_, 0, filled(0, 7)), kNone);
  EXPECT_EQ(driver_.read(*store_, id_, 0, kLarge), pattern(kLarge, 7));
  EXPECT_GE(counted("ring_bytes"), kLarge);
  EXPECT_EQ(counted("ring_fixed_bytes"), 0u);
}

}  // namespace
}  // namespace lunar::osd::test
