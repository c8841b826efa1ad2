// SPDX-License-Identifier: LGPL-2.1-or-later
//
// One-sided operations of RdmaLink, and the keys it gives out. Writes and binds keep their place
// among the frames; reads go as READ credits allow; a key is taken back as soon as may be, but
// never before its bind is posted.

#include <algorithm>
#include <utility>

#include "common/check.h"
#include "msgr/net/outgoing.h"
#include "msgr/rdma/link/rdma_link.h"

namespace lunar::msgr::rdma {

const std::byte* RdmaLink::local_range(const RegisteredSlice& local,
                                       uint32_t* lkey) const noexcept {
  const Bytes memory = local.buffer->bytes();
  LUNAR_CHECK(local.offset <= memory.size() && local.length <= memory.size() - local.offset,
              "a slice lies in its buffer");
  const Bytes range = memory.subspan(local.offset, local.length);
  return find(range, lkey) ? range.data() : nullptr;
}

// Any error but kStaleKey is the end of the link: callers rely on it to make their answer again.
void RdmaLink::refuse(IoDone done) {
  const auto error = std::make_error_code(std::errc::invalid_argument);
  post_done(center_, std::move(done), error);
  fail(error);
}

void RdmaLink::remote_read(RemoteKey from, RegisteredSlice local, IoDone done) {
  center_.assert_in_loop();
  LUNAR_CHECK(capabilities_.one_sided, "this link has no one-sided operations");
  if (!is_open()) return post_done(center_, std::move(done), error_);
  uint32_t lkey = 0;
  const std::byte* const memory = local_range(local, &lkey);
  if (memory == nullptr || local.length > from.length) return refuse(std::move(done));
  reads_.push_back({Fragments(from.addr, local.length, options_.fragment_bytes), memory, lkey,
                    from.rkey, std::move(done)});
  schedule_flush();
}

void RdmaLink::remote_write(RegisteredSlice local, RemoteKey to, IoDone done) {
  center_.assert_in_loop();
  LUNAR_CHECK(capabilities_.one_sided, "this link has no one-sided operations");
  if (!is_open()) return post_done(center_, std::move(done), error_);
  uint32_t lkey = 0;
  const std::byte* const memory = local_range(local, &lkey);
  if (memory == nullptr || local.length > to.length) return refuse(std::move(done));
  queue_.push_back(RemoteJob{Fragments(to.addr, local.length, options_.fragment_bytes), memory,
                             lkey, to.rkey, std::move(done)});
  schedule_flush();
}

void RdmaLink::add_reads() {
  while (!reads_.empty() && read_credits_.free() > 0 && has_slot()) {
    read_credits_.take();
    add_fragment(reads_.front(), Kind::kRead);
    if (reads_.front().fragments.is_done()) reads_.pop_front();
  }
}

void RdmaLink::add_fragment(RemoteJob& job, Kind kind) {
  const Fragment fragment = job.fragments.peek();
  job.fragments.pop();
  const bool is_read = kind == Kind::kRead;
  const SegmentPart part{job.local + fragment.local_offset, fragment.length, job.lkey};
  ibv_send_wr& request =
      worker_->chain().add(is_read ? IBV_WR_RDMA_READ : IBV_WR_RDMA_WRITE, next_wr_id(),
                           {&part, fragment.length > 0 ? std::size_t{1} : std::size_t{0}}, 0);
  request.wr.rdma.remote_addr = fragment.remote_addr;
  request.wr.rdma.rkey = job.rkey;
  Posted posted;
  posted.kind = kind;
  if (fragment.is_last) {
    posted.num_done = 1;
    awaiting_.push_back(std::move(job.done));
  }
  note(posted, is_read || fragment.is_last);
  count(is_read ? Count::kReads : Count::kWrites);
  count(is_read ? Count::kReadBytes : Count::kWriteBytes, fragment.length);
}

Result<RemoteKey> RdmaLink::expose(RegisteredSlice local, RemoteAccess access) {
  center_.assert_in_loop();
  if (!is_open()) return failure(error_);
  const Bytes memory = local.buffer->bytes();
  LUNAR_CHECK(local.offset <= memory.size() && local.length <= memory.size() - local.offset,
              "a slice lies in its buffer");
  const Bytes range = memory.subspan(local.offset, local.length);
  const MemoryKeys* const keys =
      worker_->parts().front_end.find(worker_->device(), range.data(), range.size());
  if (keys == nullptr || range.empty()) {
    return failure(std::make_error_code(std::errc::operation_not_supported));
  }
  RemoteKey key;
  key.addr = reinterpret_cast<uint64_t>(range.data());
  key.length = local.length;
  key.rkey = keys->rkey;
  if (options_.rkey_scope == RkeyScope::kArena) return key;
  Window window = worker_->device().features().memory_windows ? worker_->take_window() : Window();
  if (!window) return failure(std::make_error_code(std::errc::no_buffer_space));
  key.rkey = window.next_key();
  Exposed exposed;
  exposed.window = window;
  exposed.region = keys->mr;
  exposed.addr = key.addr;
  exposed.length = key.length;
  exposed.access = access;
  exposed_.emplace(key.rkey, std::move(exposed));
  queue_.push_back(BindJob{key.rkey});
  schedule_flush();
  return key;
}

void RdmaLink::add_bind(const BindJob& job) {
  const auto found = exposed_.find(job.rkey);
  if (found == exposed_.end()) return;
  Exposed& exposed = found->second;
  if (exposed.is_posted || exposed.is_revoked) return;  // revoked before it was bound
  ibv_send_wr& request = worker_->chain().add(IBV_WR_BIND_MW, next_wr_id(), {}, 0);
  request.bind_mw.mw = exposed.window.mw;
  request.bind_mw.rkey = job.rkey;
  request.bind_mw.bind_info.mr = exposed.region;
  request.bind_mw.bind_info.addr = exposed.addr;
  request.bind_mw.bind_info.length = exposed.length;
  request.bind_mw.bind_info.mw_access_flags =
      exposed.access == RemoteAccess::kRead ? IBV_ACCESS_REMOTE_READ : IBV_ACCESS_REMOTE_WRITE;
  exposed.is_posted = true;
  Posted posted;
  posted.kind = Kind::kBind;
  note(posted, false);
  count(Count::kBinds);
}

void RdmaLink::revoke(const RemoteKey& key, IoDone done) {
  center_.assert_in_loop();
  if (!is_open()) return post_done(center_, std::move(done), error_);
  const auto found = exposed_.find(key.rkey);
  if (found == exposed_.end() || found->second.is_revoked) {
    return post_done(center_, std::move(done),
                     std::make_error_code(std::errc::operation_not_supported));
  }
  found->second.is_revoked = true;
  found->second.done = std::move(done);
  if (!found->second.is_posted) return finish_invalidation(key.rkey);
  invalidations_.push_back(key.rkey);
  schedule_flush();
}

void RdmaLink::add_invalidations() {
  while (!invalidations_.empty() && has_slot()) {
    const uint32_t rkey = invalidations_.front();
    invalidations_.pop_front();
    ibv_send_wr& request = worker_->chain().add(IBV_WR_LOCAL_INV, next_wr_id(), {}, 0);
    request.invalidate_rkey = rkey;
    Posted posted;
    posted.kind = Kind::kInvalidate;
    posted.rkey = rkey;
    note(posted, true);
    count(Count::kInvalidations);
  }
}

// Nothing reaches the memory through the window any more.
void RdmaLink::finish_invalidation(uint32_t rkey) {
  const auto found = exposed_.find(rkey);
  if (found == exposed_.end() || !found->second.window) return;
  Exposed& exposed = found->second;
  // Taken back by force: the peer may use the key at any time yet, and those of a window come round
  // after 255 binds. So the window stays here until the QP ends.
  if (exposed.done) return post_done(center_, std::move(exposed.done), {});
  // Providers want the key of before in the window when it is bound, and leave it to us.
  if (exposed.is_posted) exposed.window.mw->rkey = rkey;
  worker_->put_window(exposed.window);
  exposed_.erase(found);
}

std::vector<ibv_mw*> RdmaLink::take_bound_windows() {
  std::vector<ibv_mw*> bound;
  for (auto& [rkey, exposed] : exposed_) {
    if (!exposed.window) continue;
    if (exposed.is_posted) {
      bound.push_back(exposed.window.mw);
    } else {
      worker_->put_window(exposed.window);
    }
    exposed.window = {};
  }
  return bound;
}

}  // namespace lunar::msgr::rdma
