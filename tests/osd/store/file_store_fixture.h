// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include "common/file.h"
#include "osd/store/store_tree.h"
#include "tests/osd/store/store_fixture.h"

namespace lunar::osd::test {

// A new store of files in a folder of its own, over system calls that can be made to fail.
class FileStoreTest : public ::testing::Test {
 protected:
  FileStoreTest() : path_(folder_ / "data") {
    options_.path = path_;
    options_.reserve_bytes = 1 << 20;
    options_.fsid = fsid_;
    options_.osd = 3;
    EXPECT_TRUE(make_file_store(path_, fsid_, 3));
  }
  ~FileStoreTest() override {
    fake_.heal();
    fake_.fail_open(0);
    if (store_) driver_.shutdown(*store_);
  }

  void open() {
    auto opened = try_open();
    ASSERT_TRUE(opened) << opened.error().message;
    store_ = std::move(*opened);
  }
  virtual msgr::BufferPool& pool() { return driver_.buffers(); }
  Outcome<std::unique_ptr<ObjectStore>> try_open() {
    return open_file_store(driver_.center(), pool(), options_, &fake_);
  }
  void close() {
    driver_.shutdown(*store_);
    store_.reset();
  }
  std::string refusal() {
    auto opened = try_open();
    EXPECT_FALSE(opened);
    return opened ? "" : opened.error().message;
  }
  void edit(const std::string& file, const std::string& from, const std::string& to) {
    std::string text = *read_file(path_ + "/" + file, 1 << 20);
    const auto at = text.find(from);
    ASSERT_NE(at, std::string::npos) << text;
    text.replace(at, from.size(), to);
    ASSERT_TRUE(write_file_atomically(path_ + "/" + file, as_const_bytes(text)));
  }
  std::string file_of(const ObjectId& id) { return path_ + "/" + ObjectPath(id).full(); }

  TemporaryFolder folder_;
  const std::string path_;
  const Uuid fsid_ = Uuid::random();
  FakeSyscalls fake_;
  FileStoreOptions options_;
  StoreDriver driver_;
  std::unique_ptr<ObjectStore> store_;
  const ObjectId id_{1, "object"};
  const std::vector<std::byte> bytes_ = pattern(100'000, 7);
};

}  // namespace lunar::osd::test
