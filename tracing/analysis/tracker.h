// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <unordered_map>

#include "common/unique_function.h"
#include "tracing/analysis/event.h"
#include "tracing/analysis/io_record.h"

namespace lunar::tracing {

// Puts events together to IOs: io_id, then tid, then attempt. Loop-bound. Owns what is not over
// yet: an IO is handed out once it has ended and no event of it has come for `linger_ns`, so that
// memory follows what is in flight and not the length of the trace.
class Tracker {
 public:
  struct Options {
    int64_t linger_ns = 250'000'000;
    // For IOs with something sent and unanswered: a stalled server may wake up and go on with it.
    int64_t loose_linger_ns = 60'000'000'000;
    std::size_t max_lingering = 20'000;
  };
  // `is_whole`: the IO began and ended within the trace. Takes the record.
  using OnIo = UniqueFunction<void(IoRecord&& io)>;

  Tracker(const Options& options, OnIo on_io) : options_(options), on_io_(std::move(on_io)) {}

  // Events of one process in order of time; processes may be apart by less than linger_ns.
  void add(const TraceEvent& event);
  // The trace is over: hands out what is left.
  void finish();

  std::size_t live() const noexcept { return live_.size(); }

 private:
  struct Live {
    IoRecord io;
    // frame_received comes before the event that says which attempt it was.
    struct FrameArrival {
      uint64_t tid = 0;
      uint32_t process = 0;
      bool is_reply = false;
      int64_t at = kNever;
    };
    std::vector<FrameArrival> arrivals;
  };
  struct EndedIo {
    uint64_t io_id;
    int64_t at;
  };

  void apply(Live& live, const TraceEvent& event);
  void apply_to_command(IoRecord& io, const TraceEvent& event);
  void apply_to_image_io(IoRecord& io, const TraceEvent& event);
  void apply_to_op(Live& live, const TraceEvent& event);
  void apply_at_server(Live& live, OpRecord& op, const TraceEvent& event);
  void apply_frame(Live& live, const TraceEvent& event);
  void hand_out_old();
  void hand_out(uint64_t io_id);

  const Options options_;
  OnIo on_io_;
  std::unordered_map<uint64_t, std::unique_ptr<Live>> live_;
  std::deque<EndedIo> ended_, loose_;
  Live* latest_ = nullptr;
  int64_t now_ = kNever;
};

}  // namespace lunar::tracing
