// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <vector>

#include "objecter/cluster/server_connection.h"
#include "objecter/ops/op.h"
#include "objecter/protocol/osd_map.h"
#include "objecter/servers/loss_reports.h"
#include "objecter/servers/unflushed_writes.h"

namespace lunar::objecter {

// The ops that one OSD has to answer, in the order of their tids, whether sent yet or not, and what
// must be known of that OSD across its restarts.
// Loop-bound. Borrows the ops; shares the connection.
class OsdSession {
 public:
  explicit OsdSession(OsdId id) noexcept : id_(id) { info_.id = id; }

  OsdId id() const noexcept { return id_; }
  const ServerRef& server() const noexcept { return server_; }
  void set_server(ServerRef server) noexcept { server_ = std::move(server); }
  bool is_up() const noexcept { return info_.up; }
  // What the newest map says of it; default if it is not in that.
  void set_info(const OsdInfo& info) {
    info_ = info;
    info_.id = id_;
  }
  // The server said hello, and is the one that the newest map means.
  bool is_meant() const noexcept;
  // Up, meant, and what was under way has been decided upon.
  bool is_ready() const noexcept { return is_up() && has_begun_ && is_meant(); }
  // The hello of the present session was acted upon. Implies that there was one.
  bool has_begun() const noexcept { return has_begun_; }
  void set_begun(bool has_begun) noexcept { has_begun_ = has_begun; }

  // Asks the server to give the op up; one in kMoving may come back to it. Passes what is queued,
  // and whatever throttles ops. Never overtakes the op, which is withdrawn first.
  // REQUIRES: is_ready().
  void send_cancel(const Op& op);
  void send_cancel(Tid ended);  // of all sendings of an op that has ended
  // Whether this CANCELLED covers all cancelled sendings of the op. One that names fewer is of an
  // earlier move, after which the op came back. REQUIRES: is_ready(), or was.
  bool is_cancelled_by(const Op& op, const CancelNote& note) const;

  // Keeps the order of tids: a resend keeps the order of submitting.
  void add(Op& op) noexcept;
  OpQueue& ops() noexcept { return ops_; }
  const OpQueue& ops() const noexcept { return ops_; }
  // Lower tids will not be asked about again here.
  Tid oldest_tid() const noexcept { return ops_.empty() ? 0 : ops_.front().tid; }

  // A new session said hello. Returns whether it remembers what was sent on the ones before.
  bool remembers(const ServerHello& hello) const noexcept {
    return hello.incarnation == incarnation_ && hello.remembers_client;
  }
  uint64_t incarnation() const noexcept { return incarnation_; }
  void set_incarnation(uint64_t incarnation) noexcept { incarnation_ = incarnation; }

  UnflushedWrites& unflushed() noexcept { return unflushed_; }
  const UnflushedWrites& unflushed() const noexcept { return unflushed_; }

  LossReports& losses() noexcept { return losses_; }

  // Which of its addresses is used, for trying the next.
  std::size_t address_index() const noexcept { return address_index_; }
  void set_address_index(std::size_t index) noexcept { address_index_ = index; }

 private:
  uint32_t sendings_to_cancel(const Op& op) const;

  const OsdId id_;
  ServerRef server_;  // null until it was up once
  OsdInfo info_;      // of the newest map
  bool has_begun_ = false;
  OpQueue ops_;               // sorted by tid; op.session is this
  uint64_t incarnation_ = 0;  // of the process that ops were last sent to; 0 if none were
  UnflushedWrites unflushed_;
  LossReports losses_;
  std::size_t address_index_ = 0;
};

}  // namespace lunar::objecter
