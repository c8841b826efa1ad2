// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

namespace lunar::objecter {

struct Op;
struct PoolInfo;

// What the classes that have a part of an op's life tell the Objecter, which knows the next part.
struct OpEvents {
  // A withdraw() or revoke() that was not done at once is done: the op may be sent, or end.
  virtual void on_buffers_returned(Op& op) = 0;
  // An op has left the table and what it held of the limits in flight. Its done comes after this.
  virtual void on_op_removed() = 0;
  // No op waits to run its done.
  virtual void on_all_finished() = 0;
  // The pool of this kPoolFlush is in the map.
  virtual void on_pool_flush_placed(Op& op, const PoolInfo& pool) = 0;

 protected:
  ~OpEvents() = default;
};

}  // namespace lunar::objecter
