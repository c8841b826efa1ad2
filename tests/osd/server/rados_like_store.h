// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/osd/store/forwarding_store.h"

namespace lunar::osd {

// What Ceph's monitors are told.
struct FakeBlocklist {
  std::vector<std::string> clients;
  bool fails = false;
};

// In memory, but for others one in RADOS. What servers have of a pool is not the same: what an heir
// has not written itself it does not have. Loop-bound. Owns the store; shares the blocklist.
class RadosLikeStore final : public ForwardingStore {
 public:
  RadosLikeStore(std::unique_ptr<ObjectStore> own, std::string client,
                 std::shared_ptr<FakeBlocklist> blocklist)
      : ForwardingStore(*own),
        own_(std::move(own)),
        client_(std::move(client)),
        blocklist_(std::move(blocklist)) {}
  bool keeps(const objecter::PoolInfo& pool) const noexcept override {
    return pool.store == objecter::StoreKind::kRados;
  }
  void check_new_pool(const objecter::PoolInfo&,
                      UniqueFunction<void(Outcome<void>)> done) override {
    done({});
  }
  objecter::StoreKind kind() const noexcept override { return objecter::StoreKind::kRados; }
  std::string client() const override { return client_; }
  void fence(const std::string& client, UniqueFunction<void(Outcome<void>)> done) override {
    if (blocklist_->fails) return done(failure(objecter::OsdErrc::kIoError, "no monitor"));
    blocklist_->clients.push_back(client);
    done({});
  }

 private:
  const std::unique_ptr<ObjectStore> own_;
  const std::string client_;
  const std::shared_ptr<FakeBlocklist> blocklist_;
};

}  // namespace lunar::osd
