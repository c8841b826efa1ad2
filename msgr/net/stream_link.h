// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "msgr/buffer.h"
#include "msgr/event_center.h"
#include "msgr/net/byte_stream.h"
#include "msgr/net/frame_receiver.h"
#include "msgr/net/link.h"

namespace lunar::msgr {

// What every link of a stack has in common. Immutable.
struct StreamLinkOptions {
  FrameLimits limits;
  bool crc_data = true;  // put a crc over the data of the frames we send
};

// A Link over any byte stream. Loop-bound. Owns the stream; borrows center and pool.
class StreamLink : public Link, private FrameReceiver::Owner {
 public:
  StreamLink(EventCenter& center, std::unique_ptr<ByteStream> stream, BufferPool& pool,
             const StreamLinkOptions& options);
  ~StreamLink() override;

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
  void close(InlineFunction<void()> closed) override;

 protected:
  EventCenter& center() noexcept { return center_; }
  LinkCapabilities& mutable_capabilities() noexcept { return capabilities_; }
  bool is_open() const noexcept { return state_ == State::kOpen; }
  std::error_code error() const noexcept { return error_; }
  // Ends the link as if the stream had broken. Later: every `sent` with the error, then
  // on_closed().
  void fail(std::error_code why);

 private:
  enum class State : uint8_t { kOpen, kFailed, kClosed };
  struct Queued {
    Frame frame;
    IoDone sent;
    std::size_t bytes = 0;
  };
  struct Ended;
  struct Gathered;

  // Sending: stream_link_send.cc.
  void schedule_flush();
  void flush();
  void gather(Gathered& out) const noexcept;
  void finish_sent(std::size_t bytes);

  // Receiving. A function that returns bool says whether to go on: the link may be paused, closed
  // or destroyed by the handler it called.
  void on_ready(FdEvents events);
  bool wants_bytes() const noexcept { return is_open() && receiver_.wants_bytes(); }
  void update_events();
  void schedule_pump();
  void pump();
  bool decode_prefetched();
  bool receive_once(bool& drained);
  void receive_failed(std::error_code why) override { fail(why); }
  void receive_resumed() override;

  std::vector<IoDone> take_unsent();
  std::unique_ptr<Ended> end(State state, std::error_code why);
  void report_failure();

  EventCenter& center_;
  const StreamLinkOptions options_;
  LinkCapabilities capabilities_;
  const Address local_;
  const Address peer_;
  const std::shared_ptr<bool> alive_;   // false once destroyed; what is posted looks first
  std::unique_ptr<ByteStream> stream_;  // null unless open
  State state_ = State::kOpen;
  std::error_code error_;
  LinkCounters counters_;

  std::vector<Queued> queue_;  // from queue_head_ on
  std::size_t queue_head_ = 0;
  std::size_t head_sent_ = 0;  // bytes of the head that are gone
  std::size_t queued_bytes_ = 0;
  std::vector<IoDone> finished_;  // kept for its capacity
  bool flush_posted_ = false;
  bool write_blocked_ = false;

  FrameReceiver receiver_;
  std::unique_ptr<std::byte[]> prefetch_;
  std::size_t prefetch_begin_ = 0;
  std::size_t prefetch_end_ = 0;
  bool started_ = false;
  bool pumping_ = false;
  bool pump_posted_ = false;
  bool failure_reported_ = false;
};

}  // namespace lunar::msgr
