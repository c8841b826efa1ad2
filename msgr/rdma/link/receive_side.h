// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <infiniband/verbs.h>

#include <cstdint>
#include <deque>

#include "common/inline_function.h"
#include "msgr/net/frame_receiver.h"
#include "msgr/rdma/link/idle_watch.h"
#include "msgr/rdma/link/link_core.h"
#include "msgr/rdma/link/send_side.h"
#include "msgr/rdma/queue/segment.h"

namespace lunar::msgr::rdma {

// What a link receives. The header of a segment counts at once, even while reading is paused:
// credits must flow for sending to go on. Its bytes of the stream of frames wait in their receive
// buffer until they are wanted; so a paused link holds the peer back by its credits.
//
// Loop-bound. Part of a link. Borrows the receive buffers that hold segments, and reposts them.
class ReceiveSide final : private FrameReceiver::Owner {
 public:
  // Of the worker.
  struct ReceiveResources {
    BufferPool& staging;
    IdleWatch& idle_watch;
    InlineFunction<void()> want_receives;  // the pool had fewer buffers to lend than were wanted
  };
  ReceiveSide(LinkCore& link, SendSide& sending, ReceiveResources lent);
  ReceiveSide(const ReceiveSide&) = delete;
  ReceiveSide& operator=(const ReceiveSide&) = delete;

  void set_handler(LinkHandler* handler);
  LinkHandler* handler() const noexcept { return receiver_.handler(); }
  void pause() { receiver_.pause(); }
  void resume();
  void abandon_payload(uint64_t tid) { receiver_.abandon_payload(tid); }

  // `length` bytes have come into this receive buffer, in this batch of completions. Ends the link
  // if they are not what a peer may send. May end with the link's destruction.
  void on_segment(uint32_t buffer, uint32_t length, uint64_t batch);
  // Reposts what is held. Nothing is delivered, and no memory touched, from here on.
  void stop();

 private:
  // A received segment that waits for its turn.
  struct HeldSegment {
    uint32_t buffer = 0;  // index; of a farewell: none
    uint32_t offset = 0;  // of the first byte that was not delivered
    uint32_t end = 0;
    bool is_farewell = false;
  };

  bool take_header(const Segment& segment);
  void lend_credits();
  void process_held();
  void schedule_process();
  void on_receive_failed(std::error_code why) override { link_.faults.fail(why); }
  void receive_resumed() override { process_held(); }

  LinkCore& link_;
  SendSide& sending_;
  ReceiveResources lent_;
  FrameReceiver receiver_;
  std::deque<HeldSegment> held_;  // in the order in which they came; empty once stopped
  uint64_t last_batch_ = 0;       // in which a segment came
  bool is_stopped_ = false;
  bool is_processing_ = false;  // in process_held(): what a handler calls must not enter it again
  bool is_process_posted_ = false;  // to the loop
};

}  // namespace lunar::msgr::rdma
