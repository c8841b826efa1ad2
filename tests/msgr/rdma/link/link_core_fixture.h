// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <gtest/gtest.h>

#include <cerrno>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "common/perf_counters.h"
#include "msgr/net/outgoing.h"
#include "msgr/rdma/link/exposed_keys.h"
#include "msgr/rdma/link/send_side.h"
#include "tests/msgr/link_fixture.h"

namespace lunar::msgr::rdma {

// A QP whose device is this object: it keeps what is posted, and completes nothing by itself.
class FakeQp {
 public:
  // A work request of the send queue, and the bytes that it gathers.
  struct Request {
    ibv_wr_opcode opcode;
    uint64_t wr_id;
    bool is_signalled;
    std::string bytes;
    uint32_t invalidate_rkey;
    uint64_t remote_addr;

    uint32_t seq() const { return WrId(wr_id).detail(); }
    Segment segment() const {
      const auto decoded = decode_segment(as_const_bytes(bytes));
      EXPECT_TRUE(decoded);
      return decoded.value_or(Segment());
    }
  };

  FakeQp() {
    context_.ops.post_send = &post_send;
    context_.ops.post_recv = &post_recv;
    qp_.context = &context_;
    qp_.qp_context = this;
  }
  ibv_qp* get() { return &qp_; }

  std::vector<Request> requests;
  std::vector<uint32_t> receives;  // buffers that are posted, oldest first
  int num_posts = 0;
  std::size_t room = SIZE_MAX;  // of the send queue

 private:
  static int post_send(ibv_qp* qp, ibv_send_wr* wr, ibv_send_wr** bad) {
    auto* const self = static_cast<FakeQp*>(qp->qp_context);
    ++self->num_posts;
    for (; wr != nullptr; wr = wr->next) {
      if (self->requests.size() >= self->room) {
        *bad = wr;
        return ENOMEM;
      }
      Request request{wr->opcode, wr->wr_id, (wr->send_flags & IBV_SEND_SIGNALED) != 0, {}, 0, 0};
      if (wr->opcode == IBV_WR_LOCAL_INV) request.invalidate_rkey = wr->invalidate_rkey;
      if (wr->opcode == IBV_WR_RDMA_READ || wr->opcode == IBV_WR_RDMA_WRITE) {
        request.remote_addr = wr->wr.rdma.remote_addr;
      }
      for (int i = 0; i < wr->num_sge; ++i) {
        const ibv_sge& element = wr->sg_list[i];
        request.bytes.append(reinterpret_cast<const char*>(element.addr), element.length);
      }
      self->requests.push_back(std::move(request));
    }
    return 0;
  }
  static int post_recv(ibv_qp* qp, ibv_recv_wr* wr, ibv_recv_wr**) {
    auto* const self = static_cast<FakeQp*>(qp->qp_context);
    for (; wr != nullptr; wr = wr->next) self->receives.push_back(WrId(wr->wr_id).detail());
    return 0;
  }

  ibv_context context_{};
  ibv_qp qp_{};
};

// What the parts of a link share, over a FakeQp: 512-byte segments, 8 credits each way, 4 bounce
// buffers, 3 windows, READs two at a time.
class LinkCoreTest : public testing::Test, protected LinkFaults {
 protected:
  static constexpr uint32_t kSegmentBytes = 512;
  static constexpr uint16_t kCredits = 8;

  LinkCoreTest() : center_(std::move(*EventCenter::create({}))) {
    receives_.set_target(qp_.get());
    EXPECT_FALSE(receives_.add(kCredits + kControlBuffers));
    std::vector<Window> windows;
    for (std::size_t i = 0; i < 3; ++i) {
      mws_[i].rkey = static_cast<uint32_t>(i + 1) << 8;
      windows.push_back({&mws_[i], mws_[i].rkey});
    }
    windows_.begin(std::move(windows));
    core_ = std::make_unique<LinkCore>(
        LinkCore{*center_,
                 options_,
                 *this,
                 receives_,
                 nullptr,
                 LinkCounts(of_qp_, of_worker_),
                 7,
                 {SendCredits(kCredits), ReceiveCredits(kCredits, 64), {}}});
  }
  ~LinkCoreTest() override { *core_->alive = false; }

  // `max_inline_bytes` 0: every segment goes through a bounce buffer.
  std::unique_ptr<SendSide> make_send_side(uint32_t max_inline_bytes = 0, uint32_t slots = 64) {
    PackLimits pack;
    pack.segment_bytes = kSegmentBytes;
    return std::make_unique<SendSide>(
        *core_, SendSide::SendResources{qp_.get(), slots, max_inline_bytes, 2, pack, chain_,
                                        bounces_, memory_, keys_});
  }
  RemoteTransfer transfer(uint32_t length, IoDone done) {
    return {FragmentCutter(1 << 20, length, 4096), remote_.data(), 1, 2, std::move(done)};
  }
  static Frame sealed(uint64_t tid, std::string_view front) {
    Frame frame = test_frame(tid, front);
    EXPECT_FALSE(seal_outgoing(frame, FrameLimits(), true));
    return frame;
  }

  void fail(std::error_code why) override {
    if (!failure_) failure_ = why;
  }
  void fail_qp(std::error_code why) override {
    has_qp_failed_ = true;
    fail(why);
  }
  void peer_left() override { has_peer_left_ = true; }

  struct NoMemory final : KeyFinder {
    bool find(ConstBytes, uint32_t*) const noexcept override { return false; }
  };

  std::unique_ptr<EventCenter> center_;
  RdmaOptions options_;
  PerfRegistry perf_;
  RdmaCounters of_qp_{perf_, "qp"};
  RdmaCounters of_worker_{perf_, "worker"};
  FakeQp qp_;
  ReceiveQueue receives_{nullptr, kSegmentBytes, false};
  PostChain chain_;
  std::vector<std::byte> bounce_memory_ = std::vector<std::byte>(4 * kSegmentBytes);
  std::vector<LinkSlot> woken_;
  BounceBuffers bounces_{bounce_memory_, kSegmentBytes, 5,
                         [this](LinkSlot slot) { woken_.push_back(slot); }};
  ibv_mw mws_[3] = {};
  int times_asked_ = 0;
  WindowStock windows_{[this] { ++times_asked_; }};
  ExposedKeys keys_{*center_, windows_};
  const NoMemory memory_;
  std::vector<std::byte> remote_ = std::vector<std::byte>(64 << 10);
  std::optional<std::error_code> failure_;
  bool has_qp_failed_ = false;
  bool has_peer_left_ = false;
  std::unique_ptr<LinkCore> core_;
};

}  // namespace lunar::msgr::rdma
