// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "msgr/net/link.h"
#include "msgr/rdma/counters.h"
#include "msgr/rdma/link/exposed_keys.h"
#include "msgr/rdma/link/link_core.h"
#include "msgr/rdma/link/qp_end.h"
#include "msgr/rdma/link/queue_pair.h"
#include "msgr/rdma/link/receive_side.h"
#include "msgr/rdma/link/send_side.h"

namespace lunar::msgr::rdma {

// A Link over one RC QP: what there is to send and is posted (SendSide), what came and is not yet
// delivered (ReceiveSide), the keys that are out (ExposedKeys), and the end of the QP (QpEnd). Here
// is what they have in common: whether the link is open, and whom to tell when it is over.
// Loop-bound. Owned by its session; shares its worker. Destroyed without close(), it waits for the
// service thread to destroy the QP.
class RdmaLink final : public Link, private LinkFaults, private QpEnd::Steps {
 public:
  // Takes the QP. What came for it before is in the link when this returns. A QP that the worker
  // cannot take makes a link that has failed. REQUIRES: the QP is in RTS; on the worker's loop.
  static std::unique_ptr<RdmaLink> create(std::unique_ptr<QueuePair> qp, Address local,
                                          Address peer);
  ~RdmaLink() override;

  void set_handler(LinkHandler* handler) override;
  const LinkCapabilities& capabilities() const noexcept override { return capabilities_; }
  Address local_address() const override { return local_; }
  Address peer_address() const override { return peer_; }
  void send(Frame frame, IoDone sent) override;
  std::size_t queued_bytes() const noexcept override { return sending_.queued_bytes(); }
  LinkCounters counters() const noexcept override { return core_.counters; }
  void pause_reading() override;
  void resume_reading() override;
  void abandon_payload(uint64_t tid) override;
  void remote_read(RemoteKey from, RegisteredSlice local, IoDone done) override;
  void remote_write(RegisteredSlice local, RemoteKey to, IoDone done) override;
  Result<RemoteKey> expose(RegisteredSlice local, RemoteAccess access) override;
  void revoke(const RemoteKey& key, IoDone done) override;
  void close(InlineFunction<void()> closed) override;

  // For the worker. Each may end with the link's destruction.
  void on_segment(uint32_t buffer, uint32_t length);
  void on_receive_error(ibv_wc_status status);
  void on_send_completion(uint32_t seq, ibv_wc_status status);
  void on_beacon() { end_.on_beacon(); }
  void on_bounce_free() { sending_.on_bounce_free(); }
  void on_async_event(ibv_event_type type);
  // Whether there may be something to give back later.
  bool give_back_if_idle() { return sending_.give_back_if_idle(); }
  // Ends the link. Later: every `sent` and `done` with the error, then on_closed().
  void fail(std::error_code why) override;

  // For `perf dump` and tests.
  const RdmaCounters& rdma_counters() const noexcept { return qp_counters_; }
  QpState qp_state() const noexcept { return end_.state(); }
  uint32_t credits() const noexcept { return core_.credits.send.in_hand(); }

 private:
  enum class State : uint8_t { kOpen, kFailed, kClosed };
  struct Unfinished;

  RdmaLink(std::unique_ptr<QueuePair> qp, Address local, Address peer);

  bool is_open() const noexcept { return state_ == State::kOpen; }
  // LinkFaults
  void fail_qp(std::error_code why) override;
  void peer_left() override;
  // QpEnd::Steps
  bool is_device_gone() const noexcept override { return worker_->device().is_gone(); }
  bool post_farewell() override { return sending_.post_farewell(); }
  int post_receive_beacon() override;
  int post_send_beacon() override;
  void stop_qp() override;
  void destroy_qp() override;

  void refuse(IoDone done);
  void begin_end(State state, std::error_code why);
  void on_destroyed();
  std::unique_ptr<Unfinished> take_unfinished();
  void release();
  void release_qp();
  void report_failure();

  std::shared_ptr<Worker> worker_;
  std::unique_ptr<QueuePair> qp_;  // null once end_.is_destroyed()
  const Address local_;
  const Address peer_;
  RdmaCounters qp_counters_;
  LinkCapabilities capabilities_;
  LinkCore core_;

  State state_ = State::kOpen;
  std::error_code error_;  // why it is not open; of every call from then on
  bool is_failure_reported_ = false;
  InlineFunction<void()> closed_;  // of close(), until the QP is destroyed

  ExposedKeys keys_;
  SendSide sending_;
  ReceiveSide receiving_;
  QpEnd end_;
};

}  // namespace lunar::msgr::rdma
