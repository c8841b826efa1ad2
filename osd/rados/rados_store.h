// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "msgr/event_center.h"
#include "osd/object_store.h"
#include "osd/rados/rados_client.h"
#include "osd/rados/rados_vector.h"
#include "osd/store/blocking_pool.h"
#include "osd/store/store_calls.h"

namespace lunar::osd {

// A sentence from what RadosClient::blocklist() returned.
std::string why_not_fenced(const std::string& client, int error);

// Objects in RADOS: those of a pool are in a namespace of a RADOS pool, under their own names.
// What belongs to the server itself (identity, records, lock) is in a store of this host, its home.
// - Whatever ends without an error is durable in Ceph: there is nothing to flush, and no start of
//   this server can have lost a write.
// - A pool's namespace has an object that says whose it is; ops wait until that has been read, and
//   fail if it says somebody else.
// - A map from which a RADOS client has gone may give it PGs of a server that was fenced: ops wait
//   until what Ceph knows of fences is here.
// - A call waits for as long as Ceph does not answer.
// Loop-bound. Owns home and client.
class RadosStore final : public ObjectStore, public ObjectVectors {
 public:
  // `home` is open; `client` is connected, and what an earlier start of this server has sent is
  // fenced (open_rados_store()).
  RadosStore(msgr::EventCenter& center, msgr::BufferPool& buffers,
             std::unique_ptr<ObjectStore> home, std::unique_ptr<RadosClient> client);
  ~RadosStore() override;

  const StoreIdentity& identity() const noexcept override { return home_->identity(); }
  msgr::BufferPool& buffers() noexcept override { return buffers_; }
  ObjectVectors* vectors() noexcept override { return this; }
  void apply(ObjectVector wanted, ObjectVectors::Done done) override;

  void read(const ObjectId& id, uint64_t offset, Bytes into, DataDone done) override;
  void write(const ObjectId& id, uint64_t offset, ConstBytes from, bool fua,
             DataDone done) override;
  void zero(const ObjectId& id, uint64_t offset, uint64_t length, bool fua, DataDone done) override;
  void truncate(const ObjectId& id, uint64_t size, StoreDone done) override;
  void stat(const ObjectId& id, UniqueFunction<void(Result<Stat>)> done) override;
  void map_extents(const ObjectId& id, uint64_t offset, uint64_t length,
                   UniqueFunction<void(Result<ExtentMap>)> done) override;

  void remove(const ObjectId& id, StoreDone done) override;
  void remove_durably(const ObjectId& id, StoreDone done) override { remove(id, std::move(done)); }
  void replace(const ObjectId& id, ConstBytes from, StoreDone done) override;
  void set_xattr(const ObjectId& id, const std::string& name, ConstBytes value,
                 StoreDone done) override;
  void get_xattr(const ObjectId& id, const std::string& name,
                 UniqueFunction<void(Result<AttributeValue>)> done) override;
  void list(objecter::PoolId pool, const std::string& cursor, uint32_t limit, NameFilter contains,
            UniqueFunction<void(Result<Names>)> done) override;

  void flush(StoreDone done) override;
  void set_on_loss(OnLoss) override {}
  bool may_have_lost_writes() const noexcept override { return false; }
  void acknowledge_loss(StoreDone done) override;

  void put_record(const std::string& key, RecordValue value, StoreDone done) override {
    home_->put_record(key, std::move(value), std::move(done));
  }
  Result<RecordValue> get_record(const std::string& key) const override {
    return home_->get_record(key);
  }
  std::vector<std::string> record_keys(const std::string& prefix) const override {
    return home_->record_keys(prefix);
  }

  bool keeps(const objecter::PoolInfo& pool) const noexcept override;
  void on_map(const objecter::OsdMap& map) override;
  void check_new_pool(const objecter::PoolInfo& pool,
                      UniqueFunction<void(Outcome<void>)> done) override;

  objecter::StoreKind kind() const noexcept override { return objecter::StoreKind::kRados; }
  std::string client() const override { return client_->address(); }
  void fence(const std::string& client, UniqueFunction<void(Outcome<void>)> done) override;
  void set_on_fenced(UniqueFunction<void()> on_fenced) override {
    on_fenced_ = std::move(on_fenced);
  }

  // Of the Ceph cluster, as it said a while ago; all zero until it has.
  Usage usage() const override;
  void shutdown(UniqueFunction<void()> done) override;

 private:
  // What waits for a pool to be open; runs once, with the pool or with null.
  using OnOpen = UniqueFunction<void(std::shared_ptr<RadosPool>)>;
  struct KeptPool {
    objecter::PoolInfo info;
    std::string owner;  // the content of its namespace's mark
    std::shared_ptr<RadosPool> open;
    bool is_opening = false;
    std::chrono::steady_clock::time_point next_try;
    std::vector<OnOpen> waiting;
  };
  struct HeldOp {
    objecter::PoolId pool = 0;
    OnOpen then;
  };
  using VectorDone = RadosVector::Done;

  void with_pool(objecter::PoolId id, OnOpen then);
  bool may_have_new_fences(const objecter::OsdMap& map);
  void catch_up();
  void on_caught_up(int error);
  void let_go_of_held();
  void open(objecter::PoolId id);
  void note(int error);
  void on_opened(const objecter::PoolInfo& info, std::shared_ptr<RadosPool> pool,
                 const std::string& why_not);
  void run(std::error_code refusal, ObjectVector wanted, VectorDone done);
  void change(const ObjectId& id, objecter::SubOp step, ConstBytes data, StoreDone done);
  void refresh_space() const;

  msgr::EventCenter& center_;
  msgr::BufferPool& buffers_;
  const std::unique_ptr<ObjectStore> home_;
  std::unique_ptr<RadosClient> client_;
  UniqueFunction<void()> on_fenced_;
  std::map<objecter::PoolId, KeptPool> pools_;
  // What says whether the next map may have new fences.
  objecter::Epoch epoch_ = 0;               // of the last map; 0 before the first
  std::vector<std::string> rados_clients_;  // of that map, in order
  std::vector<HeldOp> held_;                // while is_behind_
  bool is_behind_ = false;                  // fences of the last map may not be known
  bool is_catching_up_ = false;             // catch_up() is under way
  bool must_catch_up_again_ = false;        // a map came since it began
  msgr::TimerId next_try_ = msgr::TimerId::kNone;
  mutable StoreCalls calls_;
  mutable BlockingPool threads_;  // to open pools, and to ask for space
  mutable BlockingPool fences_;   // to fence, and to ask for fences
  BlockingPool lister_;  // takes minutes with a large pool, or for as long as Ceph is silent
  mutable Usage usage_;
  mutable bool is_asking_space_ = false;
};

}  // namespace lunar::osd
