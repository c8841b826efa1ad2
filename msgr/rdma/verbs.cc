// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/rdma/verbs.h"

#include <cerrno>

#include "common/log.h"

namespace lunar::msgr::rdma {
namespace {

// Nothing can be done about a destroy that fails, except to say so: EBUSY means that something
// which uses the object is still there, a fault of ours; EIO that the device is gone.
void report(int error, const char* verb) noexcept {
  if (error == 0) return;
  LUNAR_LOG(kMs, 0, "{}: {}", verb, verbs_error(error).message());
}

class WcCategory final : public std::error_category {
 public:
  const char* name() const noexcept override { return "rdma completion"; }
  std::string message(int status) const override {
    return ibv_wc_status_str(static_cast<ibv_wc_status>(status));
  }
};

}  // namespace

void VerbsDestroy::operator()(ibv_context* context) const noexcept {
  if (ibv_close_device(context) != 0) report(errno, "ibv_close_device");
}
void VerbsDestroy::operator()(ibv_pd* pd) const noexcept {
  report(ibv_dealloc_pd(pd), "ibv_dealloc_pd");
}
void VerbsDestroy::operator()(ibv_mr* mr) const noexcept {
  report(ibv_dereg_mr(mr), "ibv_dereg_mr");
}
void VerbsDestroy::operator()(ibv_mw* mw) const noexcept {
  report(ibv_dealloc_mw(mw), "ibv_dealloc_mw");
}
void VerbsDestroy::operator()(ibv_comp_channel* channel) const noexcept {
  report(ibv_destroy_comp_channel(channel), "ibv_destroy_comp_channel");
}
void VerbsDestroy::operator()(ibv_cq* cq) const noexcept {
  report(ibv_destroy_cq(cq), "ibv_destroy_cq");
}
void VerbsDestroy::operator()(ibv_srq* srq) const noexcept {
  report(ibv_destroy_srq(srq), "ibv_destroy_srq");
}
void VerbsDestroy::operator()(ibv_qp* qp) const noexcept {
  report(ibv_destroy_qp(qp), "ibv_destroy_qp");
}

const std::error_category& wc_category() noexcept {
  static const WcCategory category;
  return category;
}

}  // namespace lunar::msgr::rdma
