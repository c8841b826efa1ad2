// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/osd/rados/rados_under_test.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "osd/rados/rados_opener.h"
#include "osd/rados/rados_store.h"
#include "osd/store/file_store.h"

namespace lunar::osd::test {

objecter::OsdMap map_of_rados_pools(int pools, const std::string& prefix) {
  objecter::OsdMap map;
  map.fsid = Uuid::random();
  map.epoch = 1;
  for (int i = 1; i <= pools; ++i) {
    objecter::PoolInfo pool;
    pool.id = static_cast<objecter::PoolId>(i);
    pool.name = "pool" + std::to_string(i);
    pool.store = objecter::StoreKind::kRados;
    pool.rados_pool = "lunar";
    pool.rados_namespace = prefix + "." + std::to_string(i);
    map.pools.push_back(pool);
  }
  return map;
}

std::unique_ptr<ObjectStore> open_rados_under_test(msgr::EventCenter& center,
                                                   msgr::BufferPool& buffers, FakeRados& fake,
                                                   const std::string& folder) {
  const auto made = make_file_store(folder, Uuid::random(), 3);
  EXPECT_TRUE(made) << made.error().message;
  FileStoreOptions options;
  options.path = folder;
  options.reserve_bytes = 0;
  auto home = open_file_store(center, buffers, options);
  if (!home) {
    ADD_FAILURE() << home.error().message;
    return nullptr;
  }
  const char* const conf = std::getenv("LUNAR_TEST_CEPH_CONF");
  if (conf == nullptr)
    return std::make_unique<RadosStore>(center, buffers, std::move(*home), fake.connect());
  auto store = open_rados_store(center, buffers, std::move(*home), folder, {conf, "admin"});
  EXPECT_TRUE(store) << store.error().message;
  return store ? std::move(*store) : nullptr;
}

}  // namespace lunar::osd::test
