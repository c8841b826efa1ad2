// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <infiniband/verbs.h>

#include <memory>
#include <string>
#include <system_error>

namespace lunar::msgr::rdma {

// Owning handles of verbs objects. The order to destroy them in is member order, as in
// ibv_dealloc_pd(3) and friends: whatever uses an object is declared after it.
struct VerbsDestroy {
  void operator()(ibv_context* context) const noexcept;
  void operator()(ibv_pd* pd) const noexcept;
  void operator()(ibv_mr* mr) const noexcept;
  void operator()(ibv_mw* mw) const noexcept;
  void operator()(ibv_comp_channel* channel) const noexcept;
  void operator()(ibv_cq* cq) const noexcept;
  void operator()(ibv_srq* srq) const noexcept;
  void operator()(ibv_qp* qp) const noexcept;
};
template <typename T>
using VerbsPtr = std::unique_ptr<T, VerbsDestroy>;

// Errors that are a completion's status (ibv_wc_status).
const std::error_category& wc_category() noexcept;
inline std::error_code wc_error(ibv_wc_status status) noexcept {
  return {static_cast<int>(status), wc_category()};
}
// Of a verb that returns an errno, or that returned null or -1 and set errno (then pass errno).
inline std::error_code verbs_error(int error) noexcept {
  return {error < 0 ? -error : error, std::system_category()};
}

}  // namespace lunar::msgr::rdma
