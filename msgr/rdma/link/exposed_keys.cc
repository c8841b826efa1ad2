// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/rdma/link/exposed_keys.h"

#include <utility>

#include "msgr/net/outgoing.h"

namespace lunar::msgr::rdma {

Result<RemoteKey> ExposedKeys::expose(Bytes range, const MemoryKeys& keys, RemoteAccess access) {
  Window window = windows_.take(center_.now());
  if (!window) return failure(std::make_error_code(std::errc::no_buffer_space));
  RemoteKey key;
  key.addr = reinterpret_cast<uint64_t>(range.data());
  key.length = static_cast<uint32_t>(range.size());
  key.rkey = window.next_key();
  ExposedWindow exposed;
  exposed.window = window;
  exposed.region = keys.mr;
  exposed.addr = key.addr;
  exposed.length = key.length;
  exposed.access = access;
  exposed_.emplace(key.rkey, std::move(exposed));
  return key;
}

std::optional<ExposedKeys::BindRequest> ExposedKeys::begin_bind(uint32_t rkey) {
  const auto found = exposed_.find(rkey);
  if (found == exposed_.end()) return std::nullopt;
  ExposedWindow& exposed = found->second;
  if (exposed.is_bind_posted || exposed.is_revoked) return std::nullopt;
  exposed.is_bind_posted = true;
  BindRequest request{};
  request.window = exposed.window.mw;
  request.info.mr = exposed.region;
  request.info.addr = exposed.addr;
  request.info.length = exposed.length;
  request.info.mw_access_flags =
      exposed.access == RemoteAccess::kRead ? IBV_ACCESS_REMOTE_READ : IBV_ACCESS_REMOTE_WRITE;
  return request;
}

bool ExposedKeys::begin_revoke(uint32_t rkey, IoDone done) {
  const auto found = exposed_.find(rkey);
  if (found == exposed_.end() || found->second.is_revoked) {
    post_done(center_, std::move(done), std::make_error_code(std::errc::operation_not_supported));
    return false;
  }
  found->second.is_revoked = true;
  found->second.done = std::move(done);
  if (found->second.is_bind_posted) return true;
  on_invalidated(rkey);
  return false;
}

void ExposedKeys::on_invalidated(uint32_t rkey) {
  const auto found = exposed_.find(rkey);
  if (found == exposed_.end() || !found->second.window) return;
  ExposedWindow& exposed = found->second;
  // Taken back by force: the peer may still use the key at any time, and the keys of a window come
  // round after 255 binds. So the window stays here until the QP ends.
  if (exposed.done) return post_done(center_, std::move(exposed.done), {});
  // Providers expect the window to have its last key when it is bound, and leave it to us.
  if (exposed.is_bind_posted) exposed.window.mw->rkey = rkey;
  windows_.put(exposed.window);
  exposed_.erase(found);
}

std::vector<ibv_mw*> ExposedKeys::take_bound_windows() {
  std::vector<ibv_mw*> bound;
  for (auto& [rkey, exposed] : exposed_) {
    if (!exposed.window) continue;
    if (exposed.is_bind_posted) {
      bound.push_back(exposed.window.mw);
    } else {
      windows_.put(exposed.window);
    }
    exposed.window = {};
  }
  return bound;
}

void ExposedKeys::take_unfinished(std::vector<IoDone>& out) {
  for (auto& [rkey, exposed] : exposed_) {
    if (exposed.done) out.push_back(std::move(exposed.done));
  }
  exposed_.clear();
}

}  // namespace lunar::msgr::rdma
