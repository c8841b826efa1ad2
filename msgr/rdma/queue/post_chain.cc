// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/rdma/queue/post_chain.h"

#include <cstddef>

#include "common/check.h"

namespace lunar::msgr::rdma {

ibv_send_wr& PostChain::add(ibv_wr_opcode opcode, uint64_t wr_id,
                            std::span<const GatherElement> elements, unsigned flags) noexcept {
  LUNAR_CHECK(!is_full() && elements.size() <= kMaxElements, "room in the chain");
  auto& sges = sges_[count_];
  for (std::size_t i = 0; i < elements.size(); ++i) {
    sges[i] = {reinterpret_cast<uint64_t>(elements[i].data), elements[i].length, elements[i].lkey};
  }
  ibv_send_wr& request = requests_[count_];
  request = {};
  request.wr_id = wr_id;
  request.opcode = opcode;
  request.sg_list = sges.data();
  request.num_sge = static_cast<int>(elements.size());
  request.send_flags = flags;
  if (count_ > 0) requests_[count_ - 1].next = &request;
  ++count_;
  return request;
}

int PostChain::post(ibv_qp* qp, std::size_t* untaken) noexcept {
  *untaken = 0;
  if (count_ == 0) return 0;
  ibv_send_wr* bad = nullptr;
  const int error = ibv_post_send(qp, requests_.data(), &bad);
  if (error != 0) {
    // A provider that names no request it stopped at is believed to have taken none.
    const std::ptrdiff_t first = bad != nullptr ? bad - requests_.data() : 0;
    *untaken = count_ - static_cast<std::size_t>(first);
  }
  count_ = 0;
  return error;
}

}  // namespace lunar::msgr::rdma
