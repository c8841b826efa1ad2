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
#include "msgr/net/stream_reader.h"
#include "msgr/net/stream_send_queue.h"

namespace lunar::msgr {

// What every link of a stack has in common. Immutable.
struct StreamLinkOptions {
  FrameLimits limits;
  bool crc_data = true;  // put a crc over the data of the frames we send
};

// A Link over any byte stream: a send queue, a reader, and when each of them has its turn.
// Loop-bound. Owns the stream; borrows center and pool.
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
  std::size_t queued_bytes() const noexcept override { return queue_.queued_bytes(); }
  LinkCounters counters() const noexcept override { return counters_; }
  void wrap_stream(std::unique_ptr<StreamWrap> wrap) override;
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

  void on_ready(FdEvents events);
  void update_events();
  bool wants_bytes() const noexcept { return is_open() && receiver_.wants_bytes(); }

  void schedule_wrap();
  void wrap();

  void schedule_flush();
  void flush();

  void schedule_read();
  void read();
  void on_receive_failed(std::error_code why) override { fail(why); }
  void receive_resumed() override;

  std::vector<IoDone> end(State state, std::error_code why);
  void report_failure();

  EventCenter& center_;
  const StreamLinkOptions options_;
  LinkCapabilities capabilities_;
  const Address local_;
  const Address peer_;
  const std::shared_ptr<bool> alive_;   // false once destroyed; what is posted looks first
  std::unique_ptr<ByteStream> stream_;  // null unless open
  std::unique_ptr<StreamWrap> wrap_;    // waits until what is queued has left; then it is null
  State state_ = State::kOpen;
  std::error_code error_;  // set unless open
  LinkCounters counters_;
  StreamSendQueue queue_;         // empty unless open
  std::vector<IoDone> finished_;  // empty between two flushes; kept for its capacity
  FrameReceiver receiver_;
  StreamReader reader_;
  bool is_started_ = false;        // the stream tells of events
  bool is_write_blocked_ = false;  // the stream takes no more; it will tell
  bool is_flush_posted_ = false;
  bool is_reading_ = false;  // inside read()
  bool is_read_posted_ = false;
  bool was_failure_reported_ = false;
};

}  // namespace lunar::msgr
