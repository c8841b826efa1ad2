// SPDX-License-Identifier: GPL-2.0-only
#pragma once

#include <boost/intrusive/list.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "bstore_plugin/tcp/collected_output.h"
#include "bstore_plugin/tcp/command_buffers.h"
#include "bstore_plugin/tcp/read_ahead.h"
#include "common/perf_counters.h"

namespace lunar::bstore_plugin {

// What tgt's iSCSI code does with one of its connections.
class TgtConnection {
 public:
  enum class Phase {
    kNegotiating,  // login, or discovery: one PDU in, one PDU out
    kFull,         // full feature phase of a normal session
    kClosing,      // tgt is done with it: close()
  };

  virtual ~TgtConnection() = default;
  // Goes on receiving, by FastConnection::read(): up to the end of a PDU.
  virtual void receive() = 0;
  // Goes on sending, by FastConnection::write(): up to the end of a PDU.
  virtual void send() = 0;
  virtual Phase phase() const = 0;
  virtual bool has_output() const = 0;  // REQUIRES: phase() is kFull
  virtual void set_closing() = 0;       // phase() is kClosing from now on
  // Ends it, which comes back as FastConnection::forget(). This may be the last of the connection.
  virtual void close() = 0;
  // What epoll is asked for: EPOLLIN, EPOLLOUT, both or nothing.
  virtual void watch(int events) = 0;
};

struct FastCounters {
  explicit FastCounters(PerfRegistry& perf);

  PerfGroup group;
  PerfGauge& connections;
  PerfGauge& kept_bytes;
  PerfCounter& receives;
  PerfCounter& sends;
  PerfCounter& blocked;
  PerfCounter& paused;
  PerfCounter& refused;
};

class FastConnection;

// What a connection needs of the transport that has it.
class FastConnectionHost {
 public:
  virtual ~FastConnectionHost() = default;
  // FastConnection::turn() is called once, after all else that tgtd's loop has just now.
  virtual void schedule(FastConnection& connection) = 0;
  virtual void start_grace(FastConnection& connection) = 0;  // give_up() follows in seconds
};

// Drives tgt's iSCSI code for one TCP connection. tgt handles one PDU per readable or writable
// event and writes each by itself; here a burst is read at once and its PDUs are handled one after
// the other, and what a turn of tgtd's loop brings to send leaves together.
//
// No connection holds the others up: a turn receives and sends a bounded amount, then the rest of
// the loop has its turn. One whose initiator does not read is asked for no more PDUs once
// kMaxCollected bytes wait, and is not read from while its commands hold more than kMaxHeldBytes or
// kMaxTasks, until the socket takes bytes again. Nor is any while the READs alone hold more than
// kMaxReadBytes, which go on without input; WRITEs might wait for it, and are bounded by shares.
//
// On tgtd's thread. The transport owns it; borrows all that the constructor is given.
class FastConnection {
 public:
  static constexpr std::size_t kMaxCollected = 256u << 10;  // one PDU may go beyond
  static constexpr std::size_t kTurnBytes = 1u << 20;       // each way
  static constexpr int kTurnSteps = 512;                    // receive() or send()
  static constexpr std::size_t kMaxHeldBytes = 32u << 20;
  static constexpr std::size_t kMaxTasks = 2048;
  static constexpr std::size_t kMaxReadBytes = 128u << 20;
  static constexpr std::size_t kSmallestReferred = 1024;  // less is copied

  enum class Wanted { kNothing, kInput, kOutput, kBoth };

  FastConnection(int fd, TgtConnection& tgt, FastConnectionHost& host, CommandBuffers& buffers,
                 ReadAheadBlocks& blocks, FastCounters& counters, Wanted wanted);

  // -- from tgt's code

  // As read(2), but a broken connection is one that the peer has closed.
  long read(void* to, std::size_t bytes);
  // Takes all of it: `bytes`, or -1 with errno if the connection is broken. `buffer` is the data
  // buffer that they may be part of, and stay unchanged in; null if none.
  long write(const void* from, std::size_t bytes, CommandBuffers::Buffer* buffer);
  // What tgt waits for from now on. Calls tgt back from a turn only.
  void set_wanted(Wanted wanted);
  // Closed by tgt, which is not called again: sends what it can at once.
  void forget();
  void add_task() noexcept { ++tasks_; }
  void remove_task() noexcept { tasks_ -= tasks_ > 0 ? 1 : 0; }
  // What its WRITEs hold counts from now on for `shares`, in bytes, as that of this initiator.
  void share_writes(std::shared_ptr<msgr::FairShares> shares, const std::string& initiator);
  // Whether a WRITE may have a buffer of so many bytes: it is not the fault of others if not.
  bool may_hold_for_write(std::size_t bytes) const noexcept {
    return shares_ == nullptr || shares_->allows(*share_, bytes);
  }
  BufferOwner& reads() noexcept { return reads_; }    // is charged with what goes to the initiator
  BufferOwner& writes() noexcept { return writes_; }  // and with what comes from there
  bool has_buffers() const noexcept { return reads_.buffers + writes_.buffers > 0; }

  // -- from tgtd's loop

  void on_ready(int events);
  void turn();
  // Its grace is over.
  void give_up();

  int fd() const noexcept { return fd_; }
  bool is_forgotten() const noexcept { return is_forgotten_; }

  boost::intrusive::list_member_hook<boost::intrusive::link_mode<boost::intrusive::auto_unlink>>
      hook;  // of the transport's schedule

 private:
  bool wants_input() const noexcept {
    return wanted_ == Wanted::kInput || wanted_ == Wanted::kBoth;
  }
  bool wants_output() const;
  std::size_t held_bytes() const noexcept { return reads_.bytes + writes_.bytes; }
  bool may_receive() const { return wants_input() && !is_sending_last_ && !is_paused(); }
  void schedule() {
    if (!is_in_turn_) host_.schedule(*this);
  }
  bool is_paused() const noexcept {
    return reads_.bytes > kMaxReadBytes ||
           (is_blocked_ && (held_bytes() > kMaxHeldBytes || tasks_ > kMaxTasks));
  }
  // Each is false if the connection was forgotten meanwhile, and nothing more is to be done.
  bool receive_some();
  bool send_some();
  bool run_turn();
  bool send_collected();
  bool check_end(bool may_send_last);
  void fail();
  void update_watch();

  const int fd_;
  TgtConnection& tgt_;
  FastConnectionHost& host_;
  FastCounters& counters_;
  std::shared_ptr<msgr::FairShares> shares_;  // null if WRITEs are not bounded with others'
  msgr::FairShares::ShareRef share_;          // null exactly if shares_ is
  BufferOwner reads_;
  BufferOwner writes_;
  ReadAhead input_;
  CollectedOutput output_;
  Wanted wanted_;
  int watched_;               // what epoll was asked for last
  std::size_t received_ = 0;  // bytes, of this turn
  std::size_t tasks_ = 0;
  bool is_in_turn_ = false;       // which ends by looking at all that there is to do
  bool has_no_input_ = false;     // read() has given nothing in this turn
  bool is_blocked_ = false;       // the socket takes no more: EPOLLOUT is waited for
  bool is_broken_ = false;        // nothing can be sent any more
  bool is_sending_last_ = false;  // tgt is done with it, but not all is sent
  bool is_forgotten_ = false;
};

}  // namespace lunar::bstore_plugin
