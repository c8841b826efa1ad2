// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "osd/object_store.h"

namespace lunar::osd {

// Passes every call on to another store: what a test fakes of one it overrides.
// Loop-bound. Borrows the store.
class ForwardingStore : public ObjectStore {
 public:
  explicit ForwardingStore(ObjectStore& to) : to_(to) {}

  // ObjectData
  void read(const ObjectId& id, uint64_t offset, Bytes into, DataDone done) override {
    to_.read(id, offset, into, std::move(done));
  }
  void write(const ObjectId& id, uint64_t offset, ConstBytes from, bool fua,
             DataDone done) override {
    to_.write(id, offset, from, fua, std::move(done));
  }
  void zero(const ObjectId& id, uint64_t offset, uint64_t length, bool fua,
            DataDone done) override {
    to_.zero(id, offset, length, fua, std::move(done));
  }
  void truncate(const ObjectId& id, uint64_t size, StoreDone done) override {
    to_.truncate(id, size, std::move(done));
  }
  void stat(const ObjectId& id, UniqueFunction<void(Result<Stat>)> done) override {
    to_.stat(id, std::move(done));
  }
  void map_extents(const ObjectId& id, uint64_t offset, uint64_t length,
                   UniqueFunction<void(Result<ExtentMap>)> done) override {
    to_.map_extents(id, offset, length, std::move(done));
  }

  // ObjectNames
  void remove(const ObjectId& id, StoreDone done) override { to_.remove(id, std::move(done)); }
  void remove_durably(const ObjectId& id, StoreDone done) override {
    to_.remove_durably(id, std::move(done));
  }
  void replace(const ObjectId& id, ConstBytes from, StoreDone done) override {
    to_.replace(id, from, std::move(done));
  }
  void set_xattr(const ObjectId& id, const std::string& name, ConstBytes value,
                 StoreDone done) override {
    to_.set_xattr(id, name, value, std::move(done));
  }
  void get_xattr(const ObjectId& id, const std::string& name,
                 UniqueFunction<void(Result<AttributeValue>)> done) override {
    to_.get_xattr(id, name, std::move(done));
  }
  void list(objecter::PoolId pool, const std::string& cursor, uint32_t limit, NameFilter contains,
            UniqueFunction<void(Result<Names>)> done) override {
    to_.list(pool, cursor, limit, std::move(contains), std::move(done));
  }

  // Durability
  void flush(StoreDone done) override { to_.flush(std::move(done)); }
  void set_on_loss(OnLoss on_loss) override { to_.set_on_loss(std::move(on_loss)); }
  bool may_have_lost_writes() const noexcept override { return to_.may_have_lost_writes(); }
  void acknowledge_loss(StoreDone done) override { to_.acknowledge_loss(std::move(done)); }

  // ServerRecords
  void put_record(const std::string& key, RecordValue value, StoreDone done) override {
    to_.put_record(key, std::move(value), std::move(done));
  }
  Result<RecordValue> get_record(const std::string& key) const override {
    return to_.get_record(key);
  }
  std::vector<std::string> record_keys(const std::string& prefix) const override {
    return to_.record_keys(prefix);
  }

  // PoolStores
  bool keeps(const objecter::PoolInfo& pool) const noexcept override { return to_.keeps(pool); }
  void on_map(const objecter::OsdMap& map) override { to_.on_map(map); }
  void check_new_pool(const objecter::PoolInfo& pool,
                      UniqueFunction<void(Outcome<void>)> done) override {
    to_.check_new_pool(pool, std::move(done));
  }

  // StoreSpace, and the whole of it
  Usage usage() const override { return to_.usage(); }
  const StoreIdentity& identity() const noexcept override { return to_.identity(); }
  objecter::StoreKind kind() const noexcept override { return to_.kind(); }
  std::string client() const override { return to_.client(); }
  void fence(const std::string& client, UniqueFunction<void(Outcome<void>)> done) override {
    to_.fence(client, std::move(done));
  }
  void set_on_fenced(UniqueFunction<void()> on_fenced) override {
    to_.set_on_fenced(std::move(on_fenced));
  }
  msgr::BufferPool& buffers() noexcept override { return to_.buffers(); }
  void shutdown(UniqueFunction<void()> done) override { to_.shutdown(std::move(done)); }

 private:
  ObjectStore& to_;
};

}  // namespace lunar::osd
