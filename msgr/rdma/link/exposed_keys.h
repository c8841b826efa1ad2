// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <infiniband/verbs.h>

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "msgr/buffer.h"
#include "msgr/net/link.h"
#include "msgr/rdma/link/window_stock.h"
#include "msgr/rdma/memory/arena.h"

namespace lunar::msgr::rdma {

// The keys that a link has given out: each is of a memory window that is bound to the link's QP. A
// key may be in a frame before its bind is posted, because binds keep their place among the frames.
//
//   expose()  ->  begin_bind()  ->  begin_revoke()  ->  on_invalidated()
//   expose()  ->  begin_revoke(): it is never bound
//
// Loop-bound. Part of a link. Borrows the windows.
class ExposedKeys {
 public:
  ExposedKeys(EventCenter& center, WindowStock& windows) : center_(center), windows_(windows) {}
  ExposedKeys(const ExposedKeys&) = delete;
  ExposedKeys& operator=(const ExposedKeys&) = delete;

  // A key of `range`, which lies in the region of `keys` and stays there until the key is over. Its
  // bind has to be posted next. no_buffer_space: there is no window just now.
  Result<RemoteKey> expose(Bytes range, const MemoryKeys& keys, RemoteAccess access);

  // What to bind: the caller posts it. None if the key was revoked meanwhile.
  struct BindRequest {
    ibv_mw* window;
    ibv_mw_bind_info info;
  };
  std::optional<BindRequest> begin_bind(uint32_t rkey);

  // Takes a key back; an empty `done` says that the peer is through with it. True: its bind was
  // posted, so that the caller has to have it invalidated, and then calls on_invalidated(). False:
  // `done` is posted, with operation_not_supported if that is no key of ours, or revoked before.
  bool begin_revoke(uint32_t rkey, IoDone done);
  // Nothing reaches the memory through the window any more.
  void on_invalidated(uint32_t rkey);

  // For the end of the QP: takes the windows out. Returns those that may be bound to it, to be
  // freed before the QP is destroyed.
  std::vector<ibv_mw*> take_bound_windows();
  // Takes the done of each begin_revoke() that has not ended. REQUIRES: take_bound_windows() was
  // called.
  void take_unfinished(std::vector<IoDone>& out);

 private:
  // A key that is out, or that the peer may still have.
  struct ExposedWindow {
    Window window;  // none once take_bound_windows() has taken it
    ibv_mr* region = nullptr;
    uint64_t addr = 0;
    uint32_t length = 0;
    RemoteAccess access = RemoteAccess::kRead;
    bool is_bind_posted = false;
    bool is_revoked = false;  // never bound from here on
    IoDone done;              // of begin_revoke(), until it is posted
  };

  EventCenter& center_;
  WindowStock& windows_;
  std::unordered_map<uint32_t, ExposedWindow> exposed_;  // by rkey
};

}  // namespace lunar::msgr::rdma
