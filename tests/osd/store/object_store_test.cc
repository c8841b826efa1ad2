// SPDX-License-Identifier: LGPL-2.1-or-later
//
// What every store does, by its interface alone.
#include "osd/object_store.h"

#include <algorithm>
#include <map>

#include "common/file.h"
#include "common/random.h"
#include "osd/store/mem_store.h"
#include "tests/osd/rados/rados_under_test.h"
#include "tests/osd/store/store_fixture.h"

namespace lunar::osd::test {
namespace {

using objecter::OsdErrc;

enum class Kind { kMem, kFileUring, kFileThreads, kFileSidecar, kRados };

std::string name_of(const ::testing::TestParamInfo<Kind>& info) {
  static constexpr const char* kNames[] = {"Mem", "FileUring", "FileThreads", "FileSidecar",
                                           "Rados"};
  return kNames[static_cast<int>(info.param)];
}

class ObjectStoreTest : public ::testing::TestWithParam<Kind> {
 protected:
  void SetUp() override {
    if (GetParam() == Kind::kMem) {
      store_ = std::make_unique<MemStore>(driver_.center(), driver_.buffers(),
                                          MemStore::Options{{}, 64 << 20});
      return;
    }
    if (GetParam() == Kind::kRados) return open_rados();
    folder_.emplace(GetParam() == Kind::kFileSidecar ? "/dev/shm" : "");
    const auto made = make_file_store(*folder_ / "data", Uuid::random(), 3);
    ASSERT_TRUE(made) << made.error().message;
    if (GetParam() == Kind::kFileSidecar) use_sidecars();
    reopen();
  }
  void TearDown() override {
    if (store_) driver_.shutdown(*store_);
  }
  void open_rados() {
    folder_.emplace();
    fake_.add_pool("lunar");
    store_ = open_rados_under_test(driver_.center(), driver_.buffers(), fake_, *folder_ / "home");
    ASSERT_TRUE(store_);
    store_->on_map(map_of_rados_pools(80, Uuid::random().to_string()));
  }
  // As on a file system without user xattrs, whatever this one has.
  void use_sidecars() {
    const std::string path = *folder_ / "data/identity.json";
    std::string text = *read_file(path, 4096);
    if (const auto at = text.find("xattr-user"); at != std::string::npos) {
      text.replace(at, 10, "xattr-sidecar");
    }
    ASSERT_TRUE(write_file_atomically(path, as_const_bytes(text)));
  }
  void reopen() {
    if (store_) driver_.shutdown(*store_);
    store_.reset();
    FileStoreOptions options;
    options.path = *folder_ / "data";
    options.reserve_bytes = 1 << 20;
    options.max_open_files = 4;
    options.io = GetParam() == Kind::kFileThreads ? FileStoreOptions::Io::kThreads
                                                  : FileStoreOptions::Io::kUring;
    auto opened = open_file_store(driver_.center(), driver_.buffers(), options);
    ASSERT_TRUE(opened) << opened.error().message;
    store_ = std::move(*opened);
  }
  bool is_file() const { return GetParam() != Kind::kMem && !is_rados(); }
  // RADOS does not tell where an object has holes, and cuts it where a ZERO reaches its end.
  bool is_rados() const { return GetParam() == Kind::kRados; }

  StoreDriver driver_;
  std::optional<TemporaryFolder> folder_;
  FakeRados fake_;
  std::unique_ptr<ObjectStore> store_;
  const ObjectId id_{1, "0123.0000000000000007"};
};

TEST_P(ObjectStoreTest, ReadOfAnAbsentObjectSaysSoAndGivesZeroes) {
  std::vector<std::byte> into(100, std::byte{0xee});
  EXPECT_EQ(driver_.read(*store_, id_, 0, Bytes(into)), OsdErrc::kNoSuchObject);
  EXPECT_EQ(into, std::vector<std::byte>(100));
}

TEST_P(ObjectStoreTest, ReadGivesWhatWasWrittenAtAnyAlignmentAndSize) {
  for (const std::size_t length : {1UL, 511UL, 4096UL, 65'537UL, 1'500'001UL}) {
    const ObjectId id{2, "size." + std::to_string(length)};
    const auto bytes = pattern(length, length);
    EXPECT_EQ(driver_.write(*store_, id, 777, bytes), kNone);
    EXPECT_EQ(driver_.read(*store_, id, 777, length), bytes);
  }
}

TEST_P(ObjectStoreTest, WhatWasNeverWrittenReadsAsZeroesBeforeBetweenAndBehind) {
  const auto bytes = pattern(5000, 1);
  ASSERT_EQ(driver_.write(*store_, id_, 200'000, bytes), kNone);
  std::vector<std::byte> expected(400'000);
  std::copy(bytes.begin(), bytes.end(), expected.begin() + 200'000);
  EXPECT_EQ(driver_.read(*store_, id_, 0, 400'000), expected);
  EXPECT_EQ(driver_.read(*store_, id_, 1 << 30, 10), std::vector<std::byte>(10));
}

TEST_P(ObjectStoreTest, EmptyReadsAndWritesEnd) {
  EXPECT_EQ(driver_.write(*store_, id_, 10, {}), kNone);
  EXPECT_TRUE(driver_.read(*store_, id_, 10, 0).empty());
  EXPECT_EQ(driver_.stat(*store_, id_)->size, 0U);
}

TEST_P(ObjectStoreTest, StatTellsTheSizeAndWhatIsAllocated) {
  EXPECT_EQ(driver_.stat(*store_, id_).error(), OsdErrc::kNoSuchObject);
  ASSERT_EQ(driver_.write(*store_, id_, 4 << 20, pattern(4096, 1)), kNone);
  const auto stat = driver_.stat(*store_, id_);
  ASSERT_TRUE(stat);
  EXPECT_EQ(stat->size, (4U << 20) + 4096);
  EXPECT_GE(stat->allocated, 4096U);
  EXPECT_LE(stat->allocated, is_rados() ? stat->size : 128U << 10);
}

TEST_P(ObjectStoreTest, ZeroFreesTheRangeAndKeepsTheSize) {
  const auto bytes = pattern(1 << 20, 1);
  ASSERT_EQ(driver_.write(*store_, id_, 0, bytes), kNone);
  ASSERT_EQ(driver_.zero(*store_, id_, 100'001, 700'000), kNone);
  auto expected = bytes;
  std::fill_n(expected.begin() + 100'001, 700'000, std::byte{});
  EXPECT_EQ(driver_.read(*store_, id_, 0, 1 << 20), expected);
  EXPECT_EQ(driver_.stat(*store_, id_)->size, 1U << 20);
  EXPECT_LT(driver_.stat(*store_, id_)->allocated, is_rados() ? (1U << 20) + 1 : 600U << 10);
}

TEST_P(ObjectStoreTest, ZeroNeitherMakesNorExtendsAnObject) {
  EXPECT_EQ(driver_.zero(*store_, id_, 0, 4096), kNone);
  EXPECT_EQ(driver_.stat(*store_, id_).error(), OsdErrc::kNoSuchObject);
  ASSERT_EQ(driver_.write(*store_, id_, 0, pattern(5000, 1)), kNone);
  EXPECT_EQ(driver_.zero(*store_, id_, 4000, ~0ULL - 4000, true), kNone);
  EXPECT_EQ(driver_.zero(*store_, id_, 1 << 20, 4096), kNone);
  EXPECT_EQ(driver_.stat(*store_, id_)->size, is_rados() ? 4000U : 5000U);
  EXPECT_EQ(driver_.read(*store_, id_, 4000, 2000), std::vector<std::byte>(2000));
}

TEST_P(ObjectStoreTest, TruncateShrinksGrowsWithZeroesAndCreates) {
  ASSERT_EQ(driver_.truncate(*store_, id_, 10'000), kNone);
  EXPECT_EQ(driver_.stat(*store_, id_)->size, 10'000U);
  const auto bytes = pattern(10'000, 1);
  ASSERT_EQ(driver_.write(*store_, id_, 0, bytes), kNone);
  ASSERT_EQ(driver_.truncate(*store_, id_, 3000), kNone);
  ASSERT_EQ(driver_.truncate(*store_, id_, 10'000), kNone);
  auto expected = bytes;
  std::fill(expected.begin() + 3000, expected.end(), std::byte{});
  EXPECT_EQ(driver_.read(*store_, id_, 0, 10'000), expected);
}

TEST_P(ObjectStoreTest, RemoveMakesTheObjectAbsentAndANewOneStartsEmpty) {
  EXPECT_EQ(driver_.remove(*store_, id_), kNone) << "absent is no error";
  ASSERT_EQ(driver_.write(*store_, id_, 0, pattern(9000, 1)), kNone);
  ASSERT_EQ(driver_.set_xattr(*store_, id_, "a", as_const_bytes("1")), kNone);
  ASSERT_EQ(driver_.remove(*store_, id_), kNone);
  EXPECT_EQ(driver_.stat(*store_, id_).error(), OsdErrc::kNoSuchObject);
  ASSERT_EQ(driver_.write(*store_, id_, 0, pattern(10, 2)), kNone);
  EXPECT_EQ(driver_.stat(*store_, id_)->size, 10U);
  EXPECT_EQ(driver_.get_xattr(*store_, id_, "a").error(), OsdErrc::kNoSuchAttribute);
  EXPECT_EQ(driver_.remove_durably(*store_, id_), kNone);
  EXPECT_EQ(driver_.remove_durably(*store_, {77, "nothing"}), kNone);
}

TEST_P(ObjectStoreTest, ReplaceChangesAllBytesAndKeepsXattrs) {
  ASSERT_EQ(driver_.write(*store_, id_, 0, pattern(90'000, 1)), kNone);
  ASSERT_EQ(driver_.set_xattr(*store_, id_, "kept", as_const_bytes("yes")), kNone);
  const auto bytes = pattern(5000, 2);
  ASSERT_EQ(driver_.replace(*store_, id_, bytes), kNone);
  EXPECT_EQ(driver_.stat(*store_, id_)->size, 5000U);
  EXPECT_EQ(driver_.read(*store_, id_, 0, 5000), bytes);
  EXPECT_EQ(*driver_.get_xattr(*store_, id_, "kept"), "yes");
  ASSERT_EQ(driver_.replace(*store_, {9, "new"}, bytes), kNone);
  EXPECT_EQ(driver_.read(*store_, {9, "new"}, 0, 5000), bytes);
}

TEST_P(ObjectStoreTest, XattrsAreSetReplacedAndChecked) {
  EXPECT_EQ(driver_.get_xattr(*store_, id_, "a").error(), OsdErrc::kNoSuchObject);
  ASSERT_EQ(driver_.set_xattr(*store_, id_, "a", as_const_bytes("one")), kNone);
  ASSERT_EQ(driver_.set_xattr(*store_, id_, "b", {}), kNone);
  ASSERT_EQ(driver_.set_xattr(*store_, id_, "a", as_const_bytes("two")), kNone);
  EXPECT_EQ(*driver_.get_xattr(*store_, id_, "a"), "two");
  EXPECT_EQ(*driver_.get_xattr(*store_, id_, "b"), "");
  EXPECT_EQ(driver_.get_xattr(*store_, id_, "c").error(), OsdErrc::kNoSuchAttribute);
  EXPECT_EQ(driver_.set_xattr(*store_, id_, "a/b", {}), OsdErrc::kInvalid);
  EXPECT_EQ(driver_.set_xattr(*store_, id_, "a", pattern(2049, 1)), OsdErrc::kTooLarge);
}

TEST_P(ObjectStoreTest, NamesAreCheckedBeforeAnythingIsTouched) {
  const std::string long_name(ObjectId::kMaxNameBytes, 'n');
  EXPECT_EQ(driver_.write(*store_, {1, long_name}, 0, pattern(10, 1)), kNone);
  for (const std::string& bad : {std::string(), std::string("a/b"), std::string("a\0b", 3),
                                 std::string("../x"), long_name + "n"}) {
    EXPECT_EQ(driver_.write(*store_, {1, bad}, 0, pattern(10, 1)), OsdErrc::kInvalid) << bad;
    EXPECT_EQ(driver_.remove(*store_, {1, bad}), OsdErrc::kInvalid) << bad;
    EXPECT_EQ(driver_.replace(*store_, {1, bad}, {}), OsdErrc::kInvalid) << bad;
    EXPECT_EQ(driver_.zero(*store_, {1, bad}, 0, 1), OsdErrc::kInvalid) << bad;
  }
  for (const char* odd : {".", "..", "o.x", "-"}) {
    EXPECT_EQ(driver_.write(*store_, {1, odd}, 0, pattern(10, 1)), kNone) << odd;
  }
  EXPECT_EQ(driver_.write(*store_, id_, ~0ULL - 5, pattern(10, 1)), OsdErrc::kTooLarge);
  EXPECT_EQ(driver_.truncate(*store_, id_, ~0ULL), OsdErrc::kTooLarge);
}

TEST_P(ObjectStoreTest, ListPagesInByteOrderThroughOnePoolAndPg) {
  std::vector<std::string> names;
  for (int i = 0; i < 25; ++i) names.push_back("img." + std::to_string(i));
  for (const std::string& name : names) {
    ASSERT_EQ(driver_.write(*store_, {5, name}, 0, pattern(1, 1)), kNone);
  }
  ASSERT_EQ(driver_.set_xattr(*store_, {5, "img.3"}, "a", as_const_bytes("1")), kNone);
  ASSERT_EQ(driver_.write(*store_, {5, "img.4-other"}, 0, pattern(1, 1)), kNone);
  ASSERT_EQ(driver_.write(*store_, {6, "elsewhere"}, 0, pattern(1, 1)), kNone);
  std::sort(names.begin(), names.end());
  std::vector<std::string> seen;
  for (std::string cursor;;) {
    const auto page = driver_.list(*store_, 5, cursor, 7);
    ASSERT_TRUE(page);
    EXPECT_LE(page->size(), 7U);
    if (page->empty()) break;
    seen.insert(seen.end(), page->begin(), page->end());
    cursor = seen.back();
  }
  EXPECT_EQ(seen, names);
  EXPECT_TRUE(driver_.list(*store_, 8, "", 10)->empty());
  EXPECT_TRUE(driver_.list(*store_, 5, "", 0)->empty());
}

TEST_P(ObjectStoreTest, MapExtentsCoversWhatWasWrittenAndIsCutToTheRange) {
  EXPECT_TRUE(driver_.map_extents(*store_, id_, 0, 1 << 20)->extents.empty());
  ASSERT_EQ(driver_.write(*store_, id_, 0, pattern(128 << 10, 1)), kNone);
  ASSERT_EQ(driver_.write(*store_, id_, 1 << 20, pattern(128 << 10, 1)), kNone);
  using Extents = std::vector<std::pair<uint64_t, uint64_t>>;
  if (is_rados()) {
    EXPECT_EQ(driver_.map_extents(*store_, id_, 1001, 4 << 20)->extents,
              (Extents{{1001, (1 << 20) + (128 << 10) - 1001}}));
    EXPECT_TRUE(driver_.map_extents(*store_, id_, ~0ULL - 10, 20)->extents.empty());
    return;
  }
  EXPECT_EQ(driver_.map_extents(*store_, id_, 0, 4 << 20)->extents,
            (Extents{{0, 128 << 10}, {1 << 20, 128 << 10}}));
  EXPECT_EQ(driver_.map_extents(*store_, id_, 1001, (1 << 20) + 500 - 1001)->extents,
            (Extents{{1001, (128 << 10) - 1001}, {1 << 20, 500}}));
  EXPECT_TRUE(driver_.map_extents(*store_, id_, 300 << 10, 4096)->extents.empty());
  EXPECT_TRUE(driver_.map_extents(*store_, id_, ~0ULL - 10, 20)->extents.empty());
}

TEST_P(ObjectStoreTest, RecordsAreKeptByKeyListedByPrefixAndRemovedByAnEmptyValue) {
  EXPECT_EQ(store_->get_record("map").error(), OsdErrc::kNoSuchObject);
  ASSERT_EQ(driver_.put_record(*store_, "map", "one"), kNone);
  ASSERT_EQ(driver_.put_record(*store_, "mark.2", "b"), kNone);
  ASSERT_EQ(driver_.put_record(*store_, "mark.1", "a"), kNone);
  ASSERT_EQ(driver_.put_record(*store_, "map", "two"), kNone);
  EXPECT_EQ(as_text(*store_->get_record("map")), "two");
  EXPECT_EQ(store_->record_keys("mark."), (std::vector<std::string>{"mark.1", "mark.2"}));
  ASSERT_EQ(driver_.put_record(*store_, "mark.1", ""), kNone);
  EXPECT_EQ(store_->record_keys(""), (std::vector<std::string>{"map", "mark.2"}));
  for (const char* bad : {"", "A", "a/b", "a b"}) {
    EXPECT_EQ(driver_.put_record(*store_, bad, "x"), OsdErrc::kInvalid) << bad;
  }
}

TEST_P(ObjectStoreTest, PutsOfOneKeyTakeEffectInCallOrder) {
  int left = 20;
  bool is_done = false;
  for (int i = 1; i <= 20; ++i) {
    store_->put_record("k", std::vector<std::byte>(static_cast<std::size_t>(i)),
                       [&](std::error_code error) {
                         EXPECT_EQ(error, kNone);
                         is_done = --left == 0;
                       });
  }
  driver_.run_until(is_done);
  EXPECT_EQ(store_->get_record("k")->size(), 20U);
}

TEST_P(ObjectStoreTest, FlushesThatRunBesideWritesAllEndOnce) {
  const auto bytes = pattern(100'000, 1);
  int left = 0;
  bool is_done = false;
  const auto count = [&](std::error_code error) {
    EXPECT_EQ(error, kNone);
    is_done = --left == 0;
  };
  for (int i = 0; i < 40; ++i) {
    left += 2;
    const std::size_t length = i % 2 == 0 ? 100 : bytes.size();
    store_->write({1, "object." + std::to_string(i)}, 0, ConstBytes(bytes).first(length),
                  i % 5 == 0, count);
    store_->flush(count);
  }
  driver_.run_until(is_done);
  for (int i = 0; i < 40; ++i) {
    const std::size_t length = i % 2 == 0 ? 100 : bytes.size();
    const auto read = driver_.read(*store_, {1, "object." + std::to_string(i)}, 0, length);
    EXPECT_TRUE(std::equal(read.begin(), read.end(), bytes.begin()));
  }
}

TEST_P(ObjectStoreTest, CallsAfterShutdownAreRefused) {
  driver_.shutdown(*store_);
  EXPECT_EQ(driver_.write(*store_, id_, 0, pattern(10, 1)), OsdErrc::kShutdown);
  EXPECT_EQ(driver_.stat(*store_, id_).error(), OsdErrc::kShutdown);
  EXPECT_EQ(driver_.put_record(*store_, "k", "v"), OsdErrc::kShutdown);
  store_.reset();
}

// Random calls, compared with a plain model.
class Model {
 public:
  std::map<std::string, std::vector<std::byte>> objects;
  bool cuts = false;  // where a zeroing reaches the end
  void write(const std::string& name, uint64_t offset, ConstBytes from) {
    auto& bytes = objects[name];
    bytes.resize(std::max<std::size_t>(bytes.size(), from.empty() ? 0 : offset + from.size()));
    std::copy(from.begin(), from.end(), bytes.begin() + static_cast<ptrdiff_t>(offset));
  }
  void zero(const std::string& name, uint64_t offset, uint64_t length) {
    const auto found = objects.find(name);
    if (found == objects.end() || offset >= found->second.size()) return;
    length = std::min<uint64_t>(length, found->second.size() - offset);
    if (cuts && length > 0 && offset + length == found->second.size())
      return found->second.resize(offset);
    std::fill_n(found->second.begin() + static_cast<ptrdiff_t>(offset), length, std::byte{});
  }
  std::vector<std::byte> read(const std::string& name, uint64_t offset, std::size_t length) {
    std::vector<std::byte> out(length);
    const auto& bytes = objects[name];
    for (std::size_t i = 0; i < length && offset + i < bytes.size(); ++i)
      out[i] = bytes[offset + i];
    return out;
  }
};

TEST_P(ObjectStoreTest, BehavesAsAPlainMapOfBytesDoes) {
  for (const uint64_t seed : {1, 2, 3}) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    RandomEngine random = seeded_engine(seed);
    const objecter::PoolId pool = 10 + seed;
    Model model;
    model.cuts = is_rados();
    for (int step = 0; step < 150; ++step) {
      const std::string name = "m." + std::to_string(random() % 9);
      const uint64_t offset = random() % 300'000;
      const uint64_t length = random() % 4 == 0 ? random() % 200'000 : random() % 9000;
      const ObjectId id{pool, name};
      switch (random() % 10) {
        case 0:
        case 1:
        case 2:
        case 3: {
          const auto bytes = pattern(length + 1, random());
          ASSERT_EQ(driver_.write(*store_, id, offset, bytes, random() % 8 == 0), kNone);
          model.write(name, offset, bytes);
          break;
        }
        case 4:
        case 5:
          ASSERT_EQ(driver_.zero(*store_, id, offset, length, random() % 8 == 0), kNone);
          model.zero(name, offset, length);
          break;
        case 6:
          ASSERT_EQ(driver_.truncate(*store_, id, offset), kNone);
          model.objects[name].resize(offset);
          break;
        case 7:
          ASSERT_EQ(driver_.remove(*store_, id), kNone);
          model.objects.erase(name);
          break;
        case 8: {
          const auto bytes = pattern(length, random());
          ASSERT_EQ(driver_.replace(*store_, id, bytes), kNone);
          model.objects[name] = bytes;
          break;
        }
        default:
          ASSERT_EQ(driver_.flush(*store_), kNone);
          if (is_file() && random() % 4 == 0) reopen();
      }
      ASSERT_EQ(driver_.stat(*store_, id).has_value(), model.objects.contains(name));
      if (!model.objects.contains(name)) continue;
      ASSERT_EQ(driver_.stat(*store_, id)->size, model.objects[name].size());
      ASSERT_EQ(driver_.read(*store_, id, offset, length + 100),
                model.read(name, offset, length + 100));
    }
    std::vector<std::string> names;
    for (const auto& [name, bytes] : model.objects) {
      names.push_back(name);
      ASSERT_EQ(driver_.read(*store_, {pool, name}, 0, bytes.size()), bytes);
    }
    EXPECT_EQ(*driver_.list(*store_, pool, "", 100), names);
  }
}

INSTANTIATE_TEST_SUITE_P(Stores, ObjectStoreTest,
                         ::testing::Values(Kind::kMem, Kind::kFileUring, Kind::kFileThreads,
                                           Kind::kFileSidecar, Kind::kRados),
                         name_of);

}  // namespace
}  // namespace lunar::osd::test
