// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <array>
#include <boost/container/flat_map.hpp>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "msgr/buffer.h"
#include "msgr/event_center.h"
#include "osd/object_store.h"
#include "osd/store/post_done.h"

namespace lunar::osd {

// Objects in memory, for tests and benchmarks: pages of 64 KiB that exist where something was
// written, a budget of bytes, nothing durable.
// Loop-bound. Owns the bytes.
class MemStore final : public ObjectStore {
 public:
  struct Options {
    StoreIdentity identity;
    uint64_t budget_bytes = 1ULL << 30;
  };
  static constexpr std::size_t kPageBytes = 64 << 10;

  MemStore(msgr::EventCenter& center, msgr::BufferPool& buffers, Options options)
      : center_(center), buffers_(buffers), options_(options) {}

  const StoreIdentity& identity() const noexcept override { return options_.identity; }
  msgr::BufferPool& buffers() noexcept override { return buffers_; }
  void read(const ObjectId& id, uint64_t offset, Bytes into, DataDone done) override;
  void map_extents(const ObjectId& id, uint64_t offset, uint64_t length,
                   UniqueFunction<void(Result<ExtentMap>)> done) override;
  void stat(const ObjectId& id, UniqueFunction<void(Result<Stat>)> done) override;
  void write(const ObjectId& id, uint64_t offset, ConstBytes from, bool fua,
             DataDone done) override;
  void zero(const ObjectId& id, uint64_t offset, uint64_t length, bool fua, DataDone done) override;
  void truncate(const ObjectId& id, uint64_t size, StoreDone done) override;
  void remove(const ObjectId& id, StoreDone done) override;
  void replace(const ObjectId& id, ConstBytes from, StoreDone done) override;
  void remove_durably(const ObjectId& id, StoreDone done) override { remove(id, std::move(done)); }
  void set_xattr(const ObjectId& id, const std::string& name, ConstBytes value,
                 StoreDone done) override;
  void get_xattr(const ObjectId& id, const std::string& name,
                 UniqueFunction<void(Result<AttributeValue>)> done) override;
  void list(objecter::PoolId pool, const std::string& cursor, uint32_t limit, NameFilter contains,
            UniqueFunction<void(Result<Names>)> done) override;
  void flush(StoreDone done) override { post_done(center_, std::move(done), std::error_code{}); }
  void set_on_loss(OnLoss) override {}
  void put_record(const std::string& key, std::vector<std::byte> value, StoreDone done) override;
  Result<std::vector<std::byte>> get_record(const std::string& key) const override;
  std::vector<std::string> record_keys(const std::string& prefix) const override;
  bool may_have_lost_writes() const noexcept override { return false; }
  void acknowledge_loss(StoreDone done) override {
    post_done(center_, std::move(done), std::error_code{});
  }
  objecter::StoreKind kind() const noexcept override { return objecter::StoreKind::kMem; }
  Usage usage() const override;
  void shutdown(UniqueFunction<void()> done) override;

 private:
  using MemPage = std::array<std::byte, kPageBytes>;
  // By offset / kPageBytes; absent: zeroes. Flat: the nodes of a tree would lie among the pages,
  // and each step of a search would miss the caches.
  using Pages = boost::container::flat_map<uint64_t, std::unique_ptr<MemPage>>;
  struct Object {
    uint64_t size = 0;
    Pages pages;
    std::map<std::string, std::vector<std::byte>> xattrs;
  };

  // The refusal of a call, or none.
  std::error_code check(const ObjectId& id, uint64_t offset, uint64_t length) const;
  Object* find(const ObjectId& id);
  std::error_code put(Object& object, uint64_t offset, ConstBytes from);
  void free_range(Object& object, uint64_t offset, uint64_t length);
  void drop_pages(Object& object);

  msgr::EventCenter& center_;
  msgr::BufferPool& buffers_;
  const Options options_;
  std::map<ObjectId, Object> objects_;
  std::map<std::string, std::vector<std::byte>> records_;
  uint64_t used_ = 0;  // bytes of pages
  bool is_shut_down_ = false;
};

}  // namespace lunar::osd
