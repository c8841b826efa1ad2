// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/rdma/link/queue_pair.h"

#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "msgr/errors.h"
#include "msgr/rdma/link/rdma_link.h"

namespace lunar::msgr::rdma {
namespace {

// Credits that every link of an SRQ has at least: a small request can be answered without a segment
// for credits alone.
constexpr uint32_t kBaseCredits = 4;
constexpr uint8_t kRetries = 6;       // of a packet; rxe takes 7 as "without limit"
constexpr uint8_t kRnrRetries = 6;    // finite: credits make a missing buffer an error
constexpr uint8_t kMinRnrTimer = 12;  // 0.64 ms
constexpr uint8_t kHopLimit = 64;

uint32_t random_psn() {
  uint32_t value = 0;
  while (getrandom(&value, sizeof value, 0) < 0 && errno == EINTR) {
  }
  return value & 0xffffff;
}

uint8_t at_most_255(int value, uint32_t option) {
  return static_cast<uint8_t>(
      std::min({static_cast<uint32_t>(std::max(value, 0)), option, uint32_t{255}}));
}

}  // namespace

Result<std::unique_ptr<Endpoint>> Endpoint::create(std::shared_ptr<Worker> worker,
                                                   const PortChoice& choice) {
  auto made = QueuePair::create(std::move(worker), choice);
  if (!made) return failure(made.error());
  return std::unique_ptr<Endpoint>(std::move(*made));
}

QueuePair::QueuePair(std::shared_ptr<Worker> worker, const PortChoice& choice)
    : worker_(std::move(worker)), choice_(choice) {}

QueuePair::~QueuePair() { destroy({}); }

Result<std::unique_ptr<QueuePair>> QueuePair::create(std::shared_ptr<Worker> worker,
                                                     const PortChoice& choice) {
  if (worker->device().is_gone()) return failure(std::make_error_code(std::errc::no_such_device));
  std::unique_ptr<QueuePair> qp(new QueuePair(std::move(worker), choice));
  if (const auto error = qp->make()) return failure(error);
  if (const auto error = qp->to_init()) return failure(error);
  return qp;
}

std::error_code QueuePair::make() {
  const RdmaOptions& options = worker_->stack().options;
  const ibv_device_attr& limits = worker_->device().limits();
  const auto full = std::make_error_code(std::errc::no_buffer_space);
  WorkerResources& resources = worker_->resources();

  ibv_qp_init_attr wanted{};
  wanted.qp_context = this;
  wanted.send_cq = wanted.recv_cq = resources.cq();
  wanted.srq = resources.srq();
  wanted.qp_type = IBV_QPT_RC;
  wanted.cap.max_send_wr =
      std::min(options.send_queue_len, static_cast<uint32_t>(std::max(limits.max_qp_wr, 1)));
  wanted.cap.max_send_sge =
      std::min(PostChain::kMaxElements, static_cast<uint32_t>(std::max(limits.max_sge, 1)));
  wanted.cap.max_inline_data =
      std::min(worker_->device().features().max_inline_bytes, PostChain::kMaxInline);
  uint32_t own_buffers = 0;
  if (worker_->has_srq()) {
    reserved_receives_ = kBaseCredits + kControlBuffers;
    if (!resources.reserve_receives(reserved_receives_)) {
      reserved_receives_ = 0;
      return full;
    }
    local_.credits = kBaseCredits;
  } else {
    own_buffers = std::min({options.receive_queue_len, ReceiveQueue::kBuffersPerBlock,
                            static_cast<uint32_t>(std::max(limits.max_qp_wr, 2)) - 1});
    own_buffers = std::max(own_buffers, kControlBuffers + 2);
    wanted.cap.max_recv_wr = own_buffers + 1;  // and the beacon
    wanted.cap.max_recv_sge = 1;
    local_.credits = static_cast<uint16_t>(own_buffers - kControlBuffers);
  }
  send_slots_ = wanted.cap.max_send_wr;
  max_elements_ = wanted.cap.max_send_sge;
  const uint32_t inline_wanted = wanted.cap.max_inline_data;
  const uint32_t completions = send_slots_ + wanted.cap.max_recv_wr;
  if (!resources.reserve_completions(completions)) return full;
  reserved_completions_ = completions;

  qp_.reset(ibv_create_qp(worker_->device().pd(), &wanted));
  if (!qp_) return verbs_error(errno);
  max_inline_bytes_ = std::min(inline_wanted, wanted.cap.max_inline_data);
  if (!worker_->has_srq()) {
    own_receives_ = std::make_unique<ReceiveQueue>(
        std::shared_ptr<Device>(worker_, &worker_->device()), options.segment_bytes, false);
    own_receives_->set_target(qp_.get());
  }

  local_.gid = choice_.gid;
  local_.lid = choice_.lid;
  local_.mtu = choice_.mtu;
  local_.qp_num = qp_->qp_num;
  local_.psn = random_psn();
  local_.segment_bytes = options.segment_bytes;
  local_.read_depth = at_most_255(limits.max_qp_rd_atom, options.max_read_depth);
  local_.read_initiate = at_most_255(limits.max_qp_init_rd_atom, options.max_read_depth);
  local_.one_sided = true;
  worker_->early_receives().expect(local_.qp_num);
  return {};
}

std::error_code QueuePair::modify(ibv_qp_attr& attributes, int mask, QpState next) {
  if (const int error = ibv_modify_qp(qp_.get(), &attributes, mask); error != 0) {
    return verbs_error(error);
  }
  if (life_.state() != next) life_.enter(next);
  return {};
}

std::error_code QueuePair::to_init() {
  ibv_qp_attr attributes{};
  attributes.qp_state = IBV_QPS_INIT;
  attributes.port_num = choice_.port;
  attributes.qp_access_flags =
      IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE;
  const auto error =
      modify(attributes, IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS,
             QpState::kInit);
  if (error || !own_receives_) return error;
  return own_receives_->add(local_.credits + kControlBuffers);
}

std::error_code QueuePair::connect(const EndpointInfo& peer) {
  peer_ = peer;
  if (const auto error = to_ready_to_receive()) return error;
  return to_ready_to_send();
}

std::error_code QueuePair::to_ready_to_receive() {
  const RdmaOptions& options = worker_->stack().options;
  ibv_qp_attr attributes{};
  attributes.qp_state = IBV_QPS_RTR;
  attributes.path_mtu = std::min(local_.mtu, peer_.mtu);
  attributes.dest_qp_num = peer_.qp_num;
  attributes.rq_psn = peer_.psn;
  attributes.max_dest_rd_atomic = std::min(local_.read_depth, peer_.read_initiate);
  attributes.min_rnr_timer = kMinRnrTimer;
  attributes.ah_attr.dlid = peer_.lid;
  attributes.ah_attr.sl = options.service_level;
  attributes.ah_attr.port_num = choice_.port;
  if (choice_.is_ethernet || peer_.lid == 0) {
    attributes.ah_attr.is_global = 1;
    std::copy(peer_.gid.begin(), peer_.gid.end(), attributes.ah_attr.grh.dgid.raw);
    attributes.ah_attr.grh.sgid_index = static_cast<uint8_t>(choice_.gid_index);
    attributes.ah_attr.grh.hop_limit = kHopLimit;
    attributes.ah_attr.grh.traffic_class = options.traffic_class;
  }
  return modify(attributes,
                IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
                    IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER,
                QpState::kReadyToReceive);
}

std::error_code QueuePair::to_ready_to_send() {
  ibv_qp_attr attributes{};
  attributes.qp_state = IBV_QPS_RTS;
  attributes.timeout = worker_->stack().options.ack_timeout;
  attributes.retry_cnt = kRetries;
  attributes.rnr_retry = kRnrRetries;
  attributes.sq_psn = local_.psn;
  reads_in_flight_ = std::min(local_.read_initiate, peer_.read_depth);
  attributes.max_rd_atomic = reads_in_flight_;
  return modify(attributes,
                IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
                    IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC,
                QpState::kReadyToSend);
}

std::error_code QueuePair::apply(ibv_qp_attr attributes, int mask) {
  switch (attributes.qp_state) {
    case IBV_QPS_INIT:
      attributes.qp_access_flags =
          IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ | IBV_ACCESS_REMOTE_WRITE;
      return modify(attributes, mask, QpState::kInit);
    case IBV_QPS_RTR:
      attributes.min_rnr_timer = kMinRnrTimer;
      return modify(attributes, mask, QpState::kReadyToReceive);
    case IBV_QPS_RTS:
      attributes.rnr_retry = kRnrRetries;
      attributes.retry_cnt = kRetries;
      attributes.timeout = worker_->stack().options.ack_timeout;
      reads_in_flight_ = (mask & IBV_QP_MAX_QP_RD_ATOMIC) != 0 ? attributes.max_rd_atomic : 0;
      reads_in_flight_ = std::min({reads_in_flight_, local_.read_initiate, peer_.read_depth});
      return modify(attributes, mask, QpState::kReadyToSend);
    default:
      return std::make_error_code(std::errc::invalid_argument);
  }
}

std::error_code QueuePair::stop() {
  ibv_qp_attr attributes{};
  attributes.qp_state = IBV_QPS_ERR;
  if (!qp_) return {};
  const int error = ibv_modify_qp(qp_.get(), &attributes, IBV_QP_STATE);
  return error == 0 ? std::error_code() : verbs_error(error);
}

void QueuePair::destroy(const std::vector<ibv_mw*>& windows) {
  for (ibv_mw* const window : windows) worker_->resources().free_window(window);
  if (qp_)
    worker_->early_receives().forget(
        local_.qp_num);  // by the second time another QP may have the number
  qp_.reset();
  WorkerResources& resources = worker_->resources();
  resources.release_completions(std::exchange(reserved_completions_, 0));
  resources.pool().give_back(std::exchange(reserved_receives_, 0));
}

std::unique_ptr<Link> Endpoint::into_link(std::unique_ptr<Endpoint> endpoint, Address local,
                                          Address peer) {
  std::unique_ptr<QueuePair> qp(static_cast<QueuePair*>(endpoint.release()));
  return RdmaLink::create(std::move(qp), local, peer);
}

}  // namespace lunar::msgr::rdma
