// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <unordered_map>
#include <variant>
#include <vector>

#include "msgr/net/frame_receiver.h"
#include "msgr/net/link.h"
#include "msgr/rdma/counters.h"
#include "msgr/rdma/link/queue_pair.h"
#include "msgr/rdma/queue/fragments.h"
#include "msgr/rdma/queue/ledger.h"
#include "msgr/rdma/queue/segment.h"
#include "msgr/rdma/queue/send_slots.h"
#include "msgr/rdma/queue/window.h"
#include "msgr/rdma/queue/wr_id.h"

namespace lunar::msgr::rdma {

// A Link over one RC QP. Sending: rdma_link_send.cc; one-sided: rdma_link_remote.cc; receiving:
// rdma_link_receive.cc; how it ends: rdma_link_end.cc.
// Loop-bound. Owned by its session; shares its worker. Destroyed without close(), it waits for the
// service thread to destroy the QP.
class RdmaLink final : public Link, private FrameReceiver::Owner, private KeyFinder {
 public:
  // REQUIRES: the QP is in RTS. A QP that the worker cannot take makes a link that has failed.
  static std::unique_ptr<RdmaLink> create(std::unique_ptr<QueuePair> qp, Address local,
                                          Address peer);
  ~RdmaLink() override;

  void set_handler(LinkHandler* handler) override;
  const LinkCapabilities& capabilities() const noexcept override { return capabilities_; }
  Address local_address() const override { return local_; }
  Address peer_address() const override { return peer_; }
  void send(Frame frame, IoDone sent) override;
  std::size_t queued_bytes() const noexcept override { return queued_bytes_; }
  LinkCounters counters() const noexcept override { return counters_; }
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
  void on_beacon();
  void on_bounce_free();
  void on_async_event(ibv_event_type type);
  // Whether there may be something to give back later.
  bool give_back_if_idle();
  // Ends the link. Later: every `sent` and `done` with the error, then on_closed().
  void fail(std::error_code why);

  // For `perf dump` and tests.
  const RdmaCounters& rdma_counters() const noexcept { return qp_counters_; }
  QpState qp_state() const noexcept { return state_of_qp(); }
  uint32_t credits() const noexcept { return credits_.send.in_hand(); }

 private:
  enum class State : uint8_t { kOpen, kFailed, kClosed };

  // What is queued, in the order in which the peer is to see it.
  struct FrameJob {
    Frame frame;
    IoDone done;
    std::size_t bytes = 0;
    std::size_t offset = 0;  // bytes that are posted
  };
  struct RemoteJob {
    Fragments fragments;
    const std::byte* local = nullptr;
    uint32_t lkey = 0;
    uint32_t rkey = 0;
    IoDone done;
  };
  struct BindJob {
    uint32_t rkey = 0;  // in exposed_
  };
  using Job = std::variant<FrameJob, RemoteJob, BindJob>;

  // A window with a key that is out, or that the peer may still have.
  struct Exposed {
    Window window;  // none once the QP's end has taken it
    ibv_mr* region = nullptr;
    uint64_t addr = 0;
    uint32_t length = 0;
    RemoteAccess access = RemoteAccess::kRead;
    bool is_posted = false;
    bool is_revoked = false;
    IoDone done;  // of revoke()
  };

  // A work request on the send queue.
  enum class Kind : uint8_t { kSegment, kControl, kBye, kRead, kWrite, kBind, kInvalidate };
  struct Posted {
    Kind kind = Kind::kSegment;
    uint32_t bounce = kNoBounce;
    uint32_t rkey = 0;      // of kInvalidate
    uint32_t num_done = 0;  // of awaiting_, from the front
  };
  static constexpr uint32_t kNoBounce = UINT32_MAX;

  // A received segment that waits for its turn.
  struct Held {
    uint32_t buffer = 0;
    uint32_t offset = 0;
    uint32_t end = 0;
    bool is_bye = false;
  };

  RdmaLink(std::unique_ptr<QueuePair> qp, Address local, Address peer);

  // Sending.
  bool find(ConstBytes range, uint32_t* lkey) const noexcept override;
  void schedule_flush();
  void flush();
  void add_invalidations();
  void add_reads();
  void add_queued();
  bool add_segment();
  void trace_resume() const;
  void add_bind(const BindJob& job);
  void add_fragment(RemoteJob& job, Kind kind);
  void add_control();
  bool add_control_segment(SegmentType type);
  std::size_t frames_ahead(std::size_t limit) const noexcept;
  Segment outgoing(SegmentType type);
  bool has_slot() noexcept;
  void note(Posted posted, bool wants_signal);
  uint64_t next_wr_id() noexcept;
  bool post();
  void count(Count which, uint64_t amount = 1) noexcept;

  // One-sided.
  void finish_invalidation(uint32_t rkey);
  void refuse(IoDone done);
  const std::byte* local_range(const RegisteredSlice& local, uint32_t* lkey) const noexcept;

  // Receiving.
  bool take_header(const Segment& segment);
  void lend_credits();
  void process_held();
  void schedule_process();
  void repost(uint32_t buffer);
  void receive_failed(std::error_code why) override { fail(why); }
  void receive_resumed() override { process_held(); }

  // The end.
  bool is_open() const noexcept { return state_ == State::kOpen; }
  QpState state_of_qp() const noexcept;
  void begin_end(State state, std::error_code why);
  void stop_qp();
  void on_stopped(std::error_code error);
  void post_receive_beacon();
  void post_send_beacon();
  void look_whether_drained();
  void on_drained();
  void on_destroyed();
  struct Ended;
  std::unique_ptr<Ended> take_unfinished();
  std::vector<ibv_mw*> take_bound_windows();
  void release();
  void let_go_of_qp();
  void report_failure();

  std::shared_ptr<Worker> worker_;
  std::unique_ptr<QueuePair> qp_;
  EventCenter& center_;
  const RdmaOptions& options_;
  const Address local_;
  const Address peer_;
  const std::shared_ptr<bool> alive_;  // false once destroyed; what is posted looks first
  const uint32_t qp_num_;
  LinkCapabilities capabilities_;
  LinkCounters counters_;
  RdmaCounters qp_counters_;
  LinkSlot slot_;

  State state_ = State::kOpen;
  std::error_code error_;
  bool peer_has_left_ = false;
  bool qp_has_failed_ = false;
  bool is_destroyed_ = false;
  bool failure_reported_ = false;
  int beacons_ = 0;
  bool awaits_last_wqe_ = false;
  TimerId end_timer_ = TimerId::kNone;
  InlineFunction<void()> closed_;

  std::deque<Job> queue_;  // frames, writes, binds
  std::deque<RemoteJob> reads_;
  std::deque<uint32_t> invalidations_;
  std::deque<Posted> posted_;                      // as long as the send queue
  std::deque<IoDone> awaiting_;                    // of what is wholly posted, in that order
  std::unordered_map<uint32_t, Exposed> exposed_;  // by rkey
  std::size_t queued_bytes_ = 0;
  bool flush_posted_ = false;
  bool is_stalled_ = false;  // for a credit
  EventCenter::Clock::time_point stalled_since_;
  bool waits_for_bounce_ = false;
  bool was_queue_full_ = false;
  uint64_t segments_at_last_look_ = 0;
  uint64_t segments_sent_ = 0;

  const PackLimits pack_;
  SendSlots slots_;
  CreditLedger credits_;
  ReadCredits read_credits_;
  bool give_back_ = false;

  FrameReceiver receiver_;
  std::deque<Held> held_;
  uint64_t last_batch_ = 0;
  bool is_processing_ = false;
  bool process_posted_ = false;
};

}  // namespace lunar::msgr::rdma
