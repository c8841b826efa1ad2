// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <memory>
#include <string>

#include "common/result.h"
#include "msgr/buffer.h"
#include "msgr/event_center.h"
#include "osd/object_store.h"
#include "osd/rados/rados_client.h"

namespace lunar::osd {

// Loads the module that has librados, which stays loaded, and connects a client. Blocks, for some
// seconds if Ceph does not answer: host_unreachable, or timed_out. Every error is a sentence.
Outcome<std::unique_ptr<RadosClient>> connect_rados(const RadosOptions& options);

// A RadosStore whose home is `home`, open in the folder `path`. A file there names the RADOS client
// of the last start: it is put on Ceph's blocklist first, so that nothing which a killed server had
// sent is carried out behind the back of this one. Blocks, as connect_rados().
Outcome<std::unique_ptr<ObjectStore>> open_rados_store(msgr::EventCenter& center,
                                                       msgr::BufferPool& buffers,
                                                       std::unique_ptr<ObjectStore> home,
                                                       const std::string& path,
                                                       const RadosOptions& options);

}  // namespace lunar::osd
