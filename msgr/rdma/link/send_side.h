// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <infiniband/verbs.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <variant>
#include <vector>

#include "msgr/rdma/link/bounce_buffers.h"
#include "msgr/rdma/link/exposed_keys.h"
#include "msgr/rdma/link/link_core.h"
#include "msgr/rdma/queue/fragment_cutter.h"
#include "msgr/rdma/queue/post_chain.h"
#include "msgr/rdma/queue/segment.h"
#include "msgr/rdma/queue/send_slots.h"

namespace lunar::msgr::rdma {

// A remote_read() or remote_write() on its way.
struct RemoteTransfer {
  FragmentCutter fragments;  // that are not posted yet
  const std::byte* local = nullptr;
  uint32_t lkey = 0;
  uint32_t rkey = 0;
  IoDone done;
};

// What a link has to send, and what it has posted on its QP.
//
// Nothing is posted as it is queued: one flush per turn of the loop makes a chain of work requests
// of what the turn queued, and rings the doorbell once. What cannot go now waits for what it lacks:
// a credit (the peer's next segment), a slot (a completion), a bounce buffer (a completion of any
// link). Each of those schedules another flush. Frames, writes and binds keep their order; reads go
// as READ credits allow; keys are invalidated first.
//
// Loop-bound. Part of a link. Borrows what it is lent, and all memory until its `done`.
class SendSide {
 public:
  // Of the QP and the worker.
  struct SendResources {
    ibv_qp* qp;
    uint32_t num_slots;         // work requests that the send queue holds
    uint32_t max_inline_bytes;  // 0: nothing can be sent inline
    uint8_t reads_in_flight;
    PackLimits pack;
    PostChain& chain;  // used within one call
    BounceBuffers& bounces;
    const KeyFinder& memory;
    ExposedKeys& keys;
  };
  SendSide(LinkCore& link, const SendResources& lent);
  SendSide(const SendSide&) = delete;
  SendSide& operator=(const SendSide&) = delete;

  // Each of these queues. REQUIRES: not stopped; a frame is sealed.
  void send(Frame&& frame, IoDone&& sent);
  void read(RemoteTransfer&& transfer);
  void write(RemoteTransfer&& transfer);
  void bind(uint32_t rkey);        // one of the exposed keys
  void invalidate(uint32_t rkey);  // one whose bind was posted
  // Has what is queued posted later in this turn. Nothing if that is scheduled, or it is stopped.
  void schedule_flush();

  // What the header of a segment that came has changed; the ledger knows it.
  void on_credits(const Segment& header);
  void on_bounce_free();

  // What a completion has ended.
  struct Retired {
    std::vector<IoDone> finished;  // to be run by the caller, with success
    bool has_farewell = false;     // the farewell is on its way, or never will be
  };
  // The work request `seq` is complete, and all before it. Ends the link if `status` is an error.
  Retired on_completion(uint32_t seq, ibv_wc_status status);

  // Asks for the credits that are not needed to be given back, if nothing was sent since the last
  // call. False: there are none, so there is nothing to look for later.
  bool give_back_if_idle();
  // Posts a last segment, ahead of all that is queued. False if it cannot be posted.
  bool post_farewell();
  // Nothing that is queued is posted from here on, but the farewell.
  void stop() noexcept;
  // Takes what has not ended, posted or not. REQUIRES: the QP touches nothing any more.
  void take_unfinished(std::vector<IoDone>& out);
  // Puts the bounce buffers of what is posted back. REQUIRES: as above.
  void release_bounces();

  std::size_t queued_bytes() const noexcept { return queued_bytes_; }

 private:
  // What is queued, in the order in which the peer is to see it.
  struct FrameJob {
    Frame frame;
    IoDone done;
    std::size_t bytes = 0;   // of the frame on the wire
    std::size_t offset = 0;  // how many of them are posted: < bytes
  };
  struct BindJob {
    uint32_t rkey = 0;
  };
  using QueuedJob = std::variant<FrameJob, RemoteTransfer, BindJob>;

  // A work request on the send queue.
  enum class Kind : uint8_t { kSegment, kControl, kFarewell, kRead, kWrite, kBind, kInvalidate };
  struct Posted {
    Kind kind = Kind::kSegment;
    uint32_t bounce = kNoBounce;
    uint32_t rkey = 0;      // of kInvalidate
    uint32_t num_done = 0;  // how many of awaiting_ end with it
  };
  static constexpr uint32_t kNoBounce = UINT32_MAX;

  void flush();
  void add_invalidations();
  void add_reads();
  void add_queued();
  bool add_segment();
  void add_bind(uint32_t rkey);
  void add_fragment(RemoteTransfer& transfer, Kind kind);
  void add_control();
  bool add_control_segment(SegmentType type);

  bool has_credit();
  bool has_slot() noexcept;
  bool take_bounce(Posted* posted, Bytes* memory);
  std::size_t frames_ahead(std::size_t limit) const noexcept;
  Segment make_header(SegmentType type);
  void count_segment(const SegmentBuilder& builder, bool is_inline);
  uint64_t next_wr_id() noexcept;
  void note(Posted posted, bool wants_signal);
  bool post();

  LinkCore& link_;
  const SendResources lent_;
  bool is_stopped_ = false;
  bool is_flush_posted_ = false;  // to the loop

  // Queued. Empty queues and no news of credits: there is nothing to flush.
  std::deque<QueuedJob> queue_;         // only its head may be posted in part
  std::deque<RemoteTransfer> reads_;    // only its head may be posted in part
  std::deque<uint32_t> invalidations_;  // rkeys
  std::size_t queued_bytes_ = 0;        // of the frames in queue_, without what is posted of them
  bool is_stalled_ = false;             // the head of queue_ is a frame and has no credit
  EventCenter::Clock::time_point stalled_since_{};  // without meaning unless is_stalled_
  bool waits_for_bounce_ = false;                   // lent_.bounces has our slot on its list
  bool was_queue_full_ = false;                     // the last look for a slot found none
  bool must_give_back_ = false;  // credits, with the next segment that finds queue_ empty
  uint64_t num_segments_ = 0;    // of frames, posted so far
  uint64_t num_segments_at_last_look_ = 0;  // by give_back_if_idle()

  // Posted. posted_ mirrors the send queue of the QP: slots_.in_flight() entries, the oldest first.
  // awaiting_ has the callbacks of what is wholly posted, in order, since an RC QP completes in
  // order: as many as the num_done of posted_ add up to, until a completion fails.
  SendSlots slots_;
  ReadCredits read_credits_;
  std::deque<Posted> posted_;
  std::deque<IoDone> awaiting_;
};

}  // namespace lunar::msgr::rdma
