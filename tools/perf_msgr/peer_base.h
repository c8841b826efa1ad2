// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tools/perf_msgr/buffers.h"
#include "tools/perf_msgr/peer.h"

namespace lunar::perf_msgr {

// What peers of every level have: a job, memory for its ops, the server's answers, and one failure
// at the most. Loop-bound. Borrows all that it is given.
class PeerBase : public Peer {
 protected:
  struct Slot {
    msgr::RegisteredBuffer buffer;  // sent from or moved to
    msgr::RegisteredBuffer reply;   // where a reply's data goes
  };

  PeerBase(msgr::EventCenter& center, const Environment& environment, const msgr::Address& server,
           const Job& job, PeerEvents& events);

  // The slots' buffers, those of the ops from `pool`; on_buffers() follows.
  void take_buffers(msgr::BufferPool& pool);
  virtual void on_buffers() = 0;

  // Where the data of an answer goes; empty if it is no reply of that length.
  Bytes place_of(Type type, uint64_t slot, std::size_t bytes) noexcept;
  // Something came from the server.
  void on_answer(Type type, uint64_t slot, ConstBytes front);
  virtual void on_ready(ConstBytes front) = 0;
  virtual void on_reply(uint32_t slot) { events_.on_done(*this, slot); }

  // Nothing is told any more, and no buffer comes.
  void stop();
  void fail_with(std::error_code code, const std::string& what);
  void fail(Error error);

  msgr::EventCenter& center_;
  const Environment& environment_;
  const msgr::Address server_;
  const Job job_;
  PeerEvents& events_;
  bool is_over_ = false;
  std::vector<Slot> slots_;  // outlive what a subclass sends by

 private:
  void take(msgr::BufferPool& pool, msgr::RegisteredBuffer Slot::*where, uint32_t bytes);

  std::optional<BufferRequest> request_;
};

}  // namespace lunar::perf_msgr
