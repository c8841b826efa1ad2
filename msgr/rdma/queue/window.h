// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <infiniband/verbs.h>

#include <cstdint>

namespace lunar::msgr::rdma {

// A memory window of type 2, and the last of its keys that was given out. A frame may still carry
// that key, even if it was never bound, so it is not given out again. A value; borrows the window.
struct Window {
  ibv_mw* mw = nullptr;  // its rkey is the one that was bound last (ibv_bind_mw(3))
  uint32_t key = 0;

  explicit operator bool() const noexcept { return mw != nullptr; }
  // For the next bind. REQUIRES: there is a window.
  uint32_t next_key() noexcept {
    key = ibv_inc_rkey(key);
    if (key == mw->rkey) key = ibv_inc_rkey(key);  // a bind must change it
    return key;
  }
};

}  // namespace lunar::msgr::rdma
