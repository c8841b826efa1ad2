// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/rdma/device/feature_probe.h"

#include <poll.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <optional>
#include <utility>

// A device's capability flags are not to be trusted: some drivers claim what they do not do, and
// the other way around. Two RC QPs of one process, joined to each other, try it.

namespace lunar::msgr::rdma {
namespace {

constexpr uint32_t kPsn = 0x1234;
constexpr uint32_t kInlineSizes[] = {256, 192, 128, 64, 32};
constexpr std::size_t kMessageBytes = 64;
constexpr std::chrono::milliseconds kStepTimeout{1000};

enum class Side : uint64_t { kA = 1, kB = 2 };

// A page of memory for both sides, registered the way a front-end buffer is.
class ProbeMemory {
 public:
  static constexpr std::size_t kHalf = 2048;
  bool create(ibv_pd& pd, bool with_windows) {
    const int access = IBV_ACCESS_LOCAL_WRITE | (with_windows ? IBV_ACCESS_MW_BIND : 0);
    mr_.reset(ibv_reg_mr(&pd, bytes_.data(), bytes_.size(), access));
    return mr_ != nullptr;
  }
  ibv_sge slice(Side side, std::size_t length = kMessageBytes) noexcept {
    return {reinterpret_cast<uint64_t>(at(side)), static_cast<uint32_t>(length), mr_->lkey};
  }
  std::byte* at(Side side) noexcept { return bytes_.data() + (side == Side::kB ? kHalf : 0); }
  // Each try sends another pattern, so that what an earlier one left proves nothing.
  void fill() noexcept {
    pattern_ = static_cast<std::byte>(static_cast<uint8_t>(pattern_) + 1);
    std::fill_n(at(Side::kA), kMessageBytes, pattern_);
    std::fill_n(at(Side::kB), kMessageBytes, std::byte{0});
  }
  bool has_arrived() noexcept {
    return std::all_of(at(Side::kB), at(Side::kB) + kMessageBytes,
                       [&](std::byte b) { return b == pattern_; });
  }
  ibv_mr* mr() noexcept { return mr_.get(); }

 private:
  alignas(4096) std::array<std::byte, 2 * kHalf> bytes_{};
  VerbsPtr<ibv_mr> mr_;
  std::byte pattern_{0x40};
};

// A CQ and two QPs on it, each connected to the other. What B receives goes to an SRQ if wanted.
class ProbePair {
 public:
  std::error_code create(ibv_context& context, ibv_pd& pd, const PortChoice& choice,
                         uint32_t inline_bytes, bool with_srq) {
    cq_.reset(ibv_create_cq(&context, 32, nullptr, nullptr, 0));
    if (cq_ == nullptr) return verbs_error(errno);
    if (with_srq) {
      ibv_srq_init_attr attributes{};
      attributes.attr.max_wr = 8;
      attributes.attr.max_sge = 1;
      srq_.reset(ibv_create_srq(&pd, &attributes));
      if (srq_ == nullptr) return verbs_error(errno);
    }
    for (VerbsPtr<ibv_qp>* qp : {&a_, &b_}) {
      ibv_qp_init_attr attributes{};
      attributes.send_cq = cq_.get();
      attributes.recv_cq = cq_.get();
      attributes.srq = srq_.get();
      attributes.cap = {8, 8, 1, 1, inline_bytes};
      attributes.qp_type = IBV_QPT_RC;
      qp->reset(ibv_create_qp(&pd, &attributes));
      if (*qp == nullptr) return verbs_error(errno);
      inline_bytes_ = attributes.cap.max_inline_data;
    }
    if (const std::error_code error = join(*a_, b_->qp_num, choice)) return error;
    return join(*b_, a_->qp_num, choice);
  }

  uint32_t inline_bytes() const noexcept { return inline_bytes_; }
  ibv_qp* a() noexcept { return a_.get(); }
  ibv_qp* b() noexcept { return b_.get(); }

  bool post_receive(ibv_sge sge) {
    ibv_recv_wr wr{};
    wr.wr_id = static_cast<uint64_t>(Side::kB);
    wr.sg_list = &sge;
    wr.num_sge = 1;
    ibv_recv_wr* bad = nullptr;
    return (srq_ != nullptr ? ibv_post_srq_recv(srq_.get(), &wr, &bad)
                            : ibv_post_recv(b_.get(), &wr, &bad)) == 0;
  }
  static bool post(ibv_qp* qp, ibv_send_wr wr) {
    wr.wr_id = static_cast<uint64_t>(Side::kA);
    wr.send_flags |= IBV_SEND_SIGNALED;
    ibv_send_wr* bad = nullptr;
    return ibv_post_send(qp, &wr, &bad) == 0;
  }
  // The next completion, or none in time. Polling: it takes microseconds, once in a device's life.
  std::optional<ibv_wc> wait() {
    const auto end = std::chrono::steady_clock::now() + kStepTimeout;
    do {
      ibv_wc wc{};
      const int count = ibv_poll_cq(cq_.get(), 1, &wc);
      if (count > 0) return wc;
      if (count < 0) return std::nullopt;
      poll(nullptr, 0, 1);
    } while (std::chrono::steady_clock::now() < end);
    return std::nullopt;
  }
  // Status of the one work request that was posted, or of the one that comes first.
  ibv_wc_status status() {
    const auto wc = wait();
    return wc ? wc->status : IBV_WC_RESP_TIMEOUT_ERR;
  }

 private:
  static std::error_code join(ibv_qp& qp, uint32_t peer, const PortChoice& choice) {
    ibv_qp_attr attributes{};
    attributes.qp_state = IBV_QPS_INIT;
    attributes.port_num = choice.port;
    attributes.qp_access_flags = IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ;
    if (const int error =
            ibv_modify_qp(&qp, &attributes,
                          IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS)) {
      return verbs_error(error);
    }
    attributes = {};
    attributes.qp_state = IBV_QPS_RTR;
    attributes.path_mtu = IBV_MTU_256;
    attributes.dest_qp_num = peer;
    attributes.rq_psn = kPsn;
    attributes.max_dest_rd_atomic = 1;
    attributes.min_rnr_timer = 12;
    attributes.ah_attr.port_num = choice.port;
    attributes.ah_attr.dlid = choice.lid;
    attributes.ah_attr.is_global = choice.is_ethernet ? 1 : 0;
    if (choice.is_ethernet) {
      std::memcpy(attributes.ah_attr.grh.dgid.raw, choice.gid.data(), choice.gid.size());
      attributes.ah_attr.grh.sgid_index = static_cast<uint8_t>(choice.gid_index);
      attributes.ah_attr.grh.hop_limit = 1;
    }
    if (const int error =
            ibv_modify_qp(&qp, &attributes,
                          IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
                              IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER)) {
      return verbs_error(error);
    }
    attributes = {};
    attributes.qp_state = IBV_QPS_RTS;
    attributes.sq_psn = kPsn;
    attributes.timeout = 14;
    attributes.retry_cnt = 3;
    attributes.rnr_retry = 3;
    attributes.max_rd_atomic = 1;
    return verbs_error(ibv_modify_qp(&qp, &attributes,
                                     IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT |
                                         IBV_QP_RNR_RETRY | IBV_QP_SQ_PSN |
                                         IBV_QP_MAX_QP_RD_ATOMIC));
  }

  uint32_t inline_bytes_ = 0;
  VerbsPtr<ibv_cq> cq_;
  VerbsPtr<ibv_srq> srq_;
  VerbsPtr<ibv_qp> a_;
  VerbsPtr<ibv_qp> b_;
};

ibv_send_wr send_of(ibv_sge* sge, ibv_wr_opcode opcode) noexcept {
  ibv_send_wr wr{};
  wr.opcode = opcode;
  wr.sg_list = sge;
  wr.num_sge = sge == nullptr ? 0 : 1;
  return wr;
}

// Whether a message of A reaches B: its two completions, in either order, and its bytes.
bool passes(ProbePair& pair, ProbeMemory& memory, unsigned send_flags) {
  memory.fill();
  if (!pair.post_receive(memory.slice(Side::kB))) return false;
  ibv_sge from = memory.slice(Side::kA);
  if ((send_flags & IBV_SEND_INLINE) != 0) from.lkey = 0;  // which must not be looked at
  ibv_send_wr wr = send_of(&from, IBV_WR_SEND);
  wr.send_flags = send_flags;
  if (!ProbePair::post(pair.a(), wr)) return false;
  return pair.status() == IBV_WC_SUCCESS && pair.status() == IBV_WC_SUCCESS && memory.has_arrived();
}

// How many bytes can go inline; the device may grant more than was asked for.
uint32_t probe_inline(ibv_context& context, ibv_pd& pd, const PortChoice& choice,
                      ProbeMemory& memory) {
  for (const uint32_t bytes : kInlineSizes) {
    ProbePair pair;
    if (pair.create(context, pd, choice, bytes, false)) continue;
    if (pair.inline_bytes() < kMessageBytes) continue;
    if (passes(pair, memory, IBV_SEND_INLINE)) return std::min(pair.inline_bytes(), 1024u);
  }
  return 0;
}

bool probe_srq(ibv_context& context, ibv_pd& pd, const PortChoice& choice, ProbeMemory& memory) {
  ProbePair pair;
  if (pair.create(context, pd, choice, 0, true)) return false;
  return passes(pair, memory, 0) && passes(pair, memory, 0);
}

// One window over B's memory, and what A can do with its key.
class ProbeWindow {
 public:
  bool bind(ibv_pd& pd, ProbePair& pair, ProbeMemory& memory) {
    mw_.reset(ibv_alloc_mw(&pd, IBV_MW_TYPE_2));
    if (mw_ == nullptr) return false;
    ibv_send_wr wr = send_of(nullptr, IBV_WR_BIND_MW);
    rkey_ = ibv_inc_rkey(mw_->rkey);
    wr.bind_mw.mw = mw_.get();
    wr.bind_mw.rkey = rkey_;
    wr.bind_mw.bind_info = {memory.mr(), reinterpret_cast<uint64_t>(memory.at(Side::kB)),
                            kMessageBytes, IBV_ACCESS_REMOTE_WRITE};
    return ProbePair::post(pair.b(), wr) && pair.status() == IBV_WC_SUCCESS;
  }
  ibv_wc_status write(ProbePair& pair, ProbeMemory& memory) {
    memory.fill();
    ibv_sge from = memory.slice(Side::kA);
    ibv_send_wr wr = send_of(&from, IBV_WR_RDMA_WRITE);
    wr.wr.rdma = {reinterpret_cast<uint64_t>(memory.at(Side::kB)), rkey_};
    return ProbePair::post(pair.a(), wr) ? pair.status() : IBV_WC_GENERAL_ERR;
  }
  bool write_arrives(ProbePair& pair, ProbeMemory& memory) {
    return write(pair, memory) == IBV_WC_SUCCESS && memory.has_arrived();
  }
  // With the key taken back: an error at A, and not a byte at B.
  bool write_is_refused(ProbePair& pair, ProbeMemory& memory) {
    const ibv_wc_status status = write(pair, memory);
    return (status == IBV_WC_REM_ACCESS_ERR || status == IBV_WC_REM_OP_ERR ||
            status == IBV_WC_REM_INV_REQ_ERR) &&
           *memory.at(Side::kB) == std::byte{0};
  }
  bool invalidate_here(ProbePair& pair) {
    ibv_send_wr wr = send_of(nullptr, IBV_WR_LOCAL_INV);
    wr.invalidate_rkey = rkey_;
    return ProbePair::post(pair.b(), wr) && pair.status() == IBV_WC_SUCCESS;
  }
  bool invalidate_by_peer(ProbePair& pair, ProbeMemory& memory) {
    memory.fill();
    if (!pair.post_receive(memory.slice(Side::kB))) return false;
    ibv_sge from = memory.slice(Side::kA);
    ibv_send_wr wr = send_of(&from, IBV_WR_SEND_WITH_INV);
    wr.invalidate_rkey = rkey_;
    if (!ProbePair::post(pair.a(), wr)) return false;
    bool was_told = false;
    for (int i = 0; i < 2; ++i) {
      const auto wc = pair.wait();
      if (!wc || wc->status != IBV_WC_SUCCESS) return false;
      if ((wc->wc_flags & IBV_WC_WITH_INV) != 0) was_told = wc->invalidated_rkey == rkey_;
    }
    return was_told;
  }

 private:
  VerbsPtr<ibv_mw> mw_;
  uint32_t rkey_ = 0;
};

bool probe_windows(ibv_context& context, ibv_pd& pd, const PortChoice& choice,
                   ProbeMemory& memory) {
  // A window must be gone before the QP it is bound to: it is declared after it.
  ProbePair pair;
  if (pair.create(context, pd, choice, 0, false)) return false;
  ProbeWindow window;
  return window.bind(pd, pair, memory) && window.write_arrives(pair, memory) &&
         window.invalidate_here(pair) && window.write_is_refused(pair, memory);
}

bool probe_send_with_invalidate(ibv_context& context, ibv_pd& pd, const PortChoice& choice,
                                ProbeMemory& memory) {
  ProbePair pair;
  if (pair.create(context, pd, choice, 0, false)) return false;
  ProbeWindow window;
  return window.bind(pd, pair, memory) && window.write_arrives(pair, memory) &&
         window.invalidate_by_peer(pair, memory) && window.write_is_refused(pair, memory);
}

}  // namespace

Result<Features> probe_features(ibv_context& context, ibv_pd& pd, const PortChoice& choice) {
  // Declared first: the pairs are gone before the memory.
  const auto memory = std::make_unique<ProbeMemory>();
  const bool can_bind = memory->create(pd, true);
  if (!can_bind && !memory->create(pd, false)) return failure(verbs_error(errno));
  {
    ProbePair pair;
    if (const std::error_code error = pair.create(context, pd, choice, 0, false))
      return failure(error);
    if (!passes(pair, *memory, 0)) return failure(make_error_code(std::errc::timed_out));
  }
  Features features;
  features.max_inline_bytes = probe_inline(context, pd, choice, *memory);
  features.srq = probe_srq(context, pd, choice, *memory);
  if (can_bind) {
    features.memory_windows = probe_windows(context, pd, choice, *memory);
    features.send_with_invalidate =
        features.memory_windows && probe_send_with_invalidate(context, pd, choice, *memory);
  }
  return features;
}

}  // namespace lunar::msgr::rdma
