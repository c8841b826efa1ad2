// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <memory>
#include <string>

#include "msgr/buffer.h"
#include "msgr/event_center.h"
#include "objecter/protocol/osd_map.h"
#include "osd/object_store.h"
#include "tests/osd/rados/fake_rados.h"

namespace lunar::osd::test {

// A map with this many pools in RADOS: in pool "lunar" of Ceph, namespaces `prefix` and the id.
objecter::OsdMap map_of_rados_pools(int pools, const std::string& prefix);

// A RadosStore whose home is made in `folder`. With LUNAR_TEST_CEPH_CONF in the environment its
// client is of that Ceph, which has a pool "lunar"; else of `fake`.
std::unique_ptr<ObjectStore> open_rados_under_test(msgr::EventCenter& center,
                                                   msgr::BufferPool& buffers, FakeRados& fake,
                                                   const std::string& folder);

}  // namespace lunar::osd::test
