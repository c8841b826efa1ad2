// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <memory>
#include <system_error>

#include "common/inline_function.h"
#include "common/result.h"
#include "msgr/address.h"
#include "msgr/buffer.h"
#include "msgr/net/byte_stream.h"
#include "msgr/wire/frame.h"

namespace lunar::msgr {

// Ends every asynchronous call: success, or why not. Runs once, later, on the link's loop.
using IoDone = InlineFunction<void(std::error_code)>;

// What the transport and the peer agreed on.
struct LinkCapabilities {
  bool one_sided = false;           // remote_read() and remote_write() work
  uint32_t eager_bytes = 0;         // a frame up to this travels without a copy at the receiver
  uint32_t max_fragment_bytes = 0;  // of one remote_read() or remote_write()
  bool can_wrap = false;            // wrap_stream() works
};

// What a link has done so far. Loop-bound.
struct LinkCounters {
  uint64_t bytes_sent = 0;
  uint64_t bytes_received = 0;
  uint64_t frames_sent = 0;      // wholly given to the transport
  uint64_t frames_received = 0;  // delivered
  uint64_t send_calls = 0;       // of the kernel: writev, or posts of work requests
  uint64_t receive_calls = 0;
  uint64_t memory_stalls = 0;  // times reading stopped because the buffer pool was used up
};

// Part of a RegisteredBuffer, which must outlive its use.
struct RegisteredSlice {
  const RegisteredBuffer* buffer = nullptr;
  uint32_t offset = 0;  // bytes
  uint32_t length = 0;  // bytes
};

// What a peer may do by a key.
enum class RemoteAccess : uint8_t { kRead, kWrite };

// Receives what a link brings, on the link's loop. Outlives the link, or the link's close().
struct LinkHandler {
  // A header with data has arrived and its crc is right: where its data should go, exactly
  // data_length bytes, or none for a buffer of the link's own. What is returned is borrowed until
  // on_frame(), abandon_payload() or on_closed().
  virtual Bytes payload_for(const FrameHeader& header, ConstBytes front) = 0;
  // Asked when the data goes into a buffer of the link's own: whether it may take one. While it may
  // not, nothing more is delivered, and the link asks again: soon, or at once after
  // resume_reading(). Frames without data are not asked about. Must not close the link.
  virtual bool can_take_payload() { return true; }
  // The longest front that it takes, if that is less than the link's limit.
  virtual uint32_t max_front_bytes() const noexcept { return UINT32_MAX; }
  virtual void on_frame(ReceivedFrame frame) = 0;
  // The link failed or the peer closed it. Last call; it may destroy the link.
  virtual void on_closed(std::error_code why) = 0;

 protected:
  ~LinkHandler() = default;
};

// One established transport connection: whole frames, in order, each way, until it fails.
// Loop-bound. Owned by its session. After close(), or once it has failed, every pending and later
// call ends with an error, and no handler is called.
class Link {
 public:
  virtual ~Link() = default;

  // Starts reading. Before it nothing is delivered; `handler` is borrowed for the link's life.
  // May be called again to hand the link from the handshake to the session.
  virtual void set_handler(LinkHandler* handler) = 0;
  virtual const LinkCapabilities& capabilities() const noexcept = 0;
  virtual Address local_address() const = 0;
  virtual Address peer_address() const = 0;

  // Queues a frame, taking it; its data is borrowed until `sent`, which runs when the transport has
  // the bytes. Frames queued in one turn of the loop leave together. `sent` may be empty. A frame
  // above the limits is not sent: kTooLong, and the link lives on.
  virtual void send(Frame frame, IoDone sent) = 0;
  // Bytes queued and not yet given to the transport: what a session uses to stop encoding more.
  virtual std::size_t queued_bytes() const noexcept = 0;
  virtual LinkCounters counters() const noexcept { return {}; }

  // Goes on over the stream that `wrap` makes: what was queued before leaves over the old one, and
  // what arrives behind the frame that was delivered last belongs to the new one. Nothing is
  // delivered until then. An error of the new stream is the end of the link.
  // REQUIRES: capabilities().can_wrap; nothing is sent until the new stream is there,
  // which its wrap tells.
  virtual void wrap_stream(std::unique_ptr<StreamWrap> wrap) { (void)wrap; }

  // Stops and resumes delivery of frames; what has been begun may still be completed. A paused
  // link exerts back-pressure on the peer (socket buffer, credits).
  virtual void pause_reading() = 0;
  virtual void resume_reading() = 0;
  // If data for `tid` is arriving into memory that payload_for() gave, the rest goes nowhere and
  // that frame is dropped whole. Afterwards the link touches that memory no more.
  virtual void abandon_payload(uint64_t tid) = 0;

  // Move from.length bytes without the peer's CPU. `local` is borrowed until done.
  // REQUIRES: capabilities().one_sided.
  virtual void remote_read(RemoteKey from, RegisteredSlice local, IoDone done) = 0;
  virtual void remote_write(RegisteredSlice local, RemoteKey to, IoDone done) = 0;

  // Lets the peer reach `local`, memory of front_end_buffers(), until the key is revoked. The key
  // holds on this link only, may be sent in a frame at once, and stays good for as long as the
  // link does, at the longest. An error (no window free, foreign memory) means: send the data.
  // REQUIRES: capabilities().one_sided.
  virtual Result<RemoteKey> expose(RegisteredSlice local, RemoteAccess access) {
    (void)local, (void)access;
    return failure(std::make_error_code(std::errc::operation_not_supported));
  }
  // Takes a key back. With success in `done` the peer can reach the memory no more. An error says
  // that only the end of this link takes it back: RkeyScope::kArena, or the link has failed.
  // `done` may be empty if a reply on this link said that the peer is through.
  virtual void revoke(const RemoteKey& key, IoDone done) { (void)key, (void)done; }

  // Ends the link at once; every `sent` and `done` runs later with an error. `closed` runs after
  // them, when the transport touches no memory of ours any more (a socket: the next turn; a QP:
  // when it is drained and destroyed). The link may be destroyed from then on.
  virtual void close(InlineFunction<void()> closed) = 0;
};

}  // namespace lunar::msgr
