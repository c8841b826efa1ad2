// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

namespace lunar::test {

// What a block holds, as a small number: zeroes, a number that one writer chose for one write
// (unique per block, if the verdict is to be sharp), or a set of bits for ORWRITE (or_content()).
using ContentId = uint64_t;
inline constexpr ContentId kZeroContent = 0;
// A block whose check sum is wrong: torn, or mixed from two writes.
inline constexpr ContentId kDamagedContent = ~uint64_t{0};
// A whole block that was written to another LBA, or that nobody of this history wrote.
inline constexpr ContentId kMisplacedContent = ~uint64_t{0} - 1;
// Marks contents that are sets of bits: they may be combined by ORWRITE, and are no numbers.
inline constexpr ContentId kSetOfBits = uint64_t{1} << 62;
// REQUIRES: bits < 2^62.
constexpr ContentId or_content(uint64_t bits) { return kSetOfBits | bits; }

enum class HistoryCommand : uint8_t {
  kRead,
  kWrite,
  kFlush,  // SYNCHRONIZE CACHE of the whole device
  kDiscard,
  kWriteSame,
  kWriteZeroes,
  kCompareAndWrite,
  kOrwrite
};

enum class HistoryOutcome : uint8_t {
  kGood,
  kFailed,   // definitely not done, now or later
  kUnknown,  // no answer, or one that leaves it open: done or not, now or until its window closes
  kReportedLost,  // a flush: acknowledged writes may be gone
  kMiscompare     // COMPARE AND WRITE found other data, and wrote nothing
};

// One command, as its client gives it to the device.
struct HistoryOp {
  HistoryCommand command = HistoryCommand::kRead;
  uint64_t lba = 0;
  uint32_t num_blocks = 0;  // 0 for kFlush
  bool fua = false;         // durable when it is acknowledged
  // What it writes: one per block, or one for all of them. Empty for kRead, kFlush, and for
  // kDiscard and kWriteZeroes, which write kZeroContent.
  std::vector<ContentId> ids = {};
  std::vector<ContentId> compared = {};  // kCompareAndWrite: what must be there, as `ids`
};

// The record of what concurrent clients did to one block device, for HistoryChecker. The order of
// the calls is the order of the events: a command took effect somewhere between its invoke() and
// its complete(). A client is whoever has a right to be told of lost writes by itself: an
// initiator, or several that share what they know. Not thread-safe.
class History {
 public:
  using Handle = uint32_t;
  // The place of an event in the order, counted from 1.
  using Position = uint32_t;
  static constexpr Position kNever = std::numeric_limits<Position>::max();
  static constexpr int kEveryServer = -1;

  struct Op : HistoryOp {
    int client = 0;
    HistoryOutcome outcome = HistoryOutcome::kUnknown;
    Position invoked = 0;
    Position sent = 0;         // for the last time: invoke(), or send_again()
    Position ended = kNever;   // complete(); kNever while there was none
    Position closed = kNever;  // from here on it cannot take effect any more; kNever: at any time
  };

  // What happened to the device, or is said about it.
  struct Event {
    enum class Kind : uint8_t {
      kInvoke,
      kComplete,
      kWindowsClosed,  // of `op`, or of all of a client
      kClientDied,
      kLoss,       // what was not flushed may be gone at this moment: a power cut
      kLossBegan,  // … at any moment from here …
      kLossEnded,  // … until here
      kNote
    };
    Kind kind;
    Handle op = 0;              // kInvoke, kComplete
    int server = kEveryServer;  // kLoss: whose blocks
    bool is_partial = false;    // kLoss: what it leaves need not be on disk
    int64_t time_ns = 0;        // for people: set_time()
    std::string text = {};      // what a person is told, of all but commands
  };

  // Commands. A client may have any number of them in flight.
  Handle invoke(int client, HistoryOp op);
  // The initiator sends it once more, as one does that has aborted it. A device cannot know that it
  // is not a new one, so that what it tells then counts from here on.
  void send_again(Handle handle);
  // `read`: what a kRead that is kGood found, one per block or one for all.
  // REQUIRES: the command was not completed before.
  void complete(Handle handle, HistoryOutcome outcome, std::vector<ContentId> read = {});

  // The window of a command that has not ended, or is kUnknown: from here on it will not take
  // effect if it has not; if it is kGood later, it had. Without such a call it may do so at any
  // time.
  void close_window(Handle handle);
  // The same of all commands that this client has begun: it was fenced, or logged in anew.
  void close_windows(int client, const std::string& why = "");

  // Commands of the client in flight have no answer; their windows stay open. It is not told of
  // losses any more.
  void client_died(int client);
  // `loses_cache`: acknowledged writes that were not flushed may be gone. A process that dies and
  // leaves its page cache loses nothing.
  void server_crashed(int server, bool loses_cache);
  void power_cut(const std::string& what = "all servers");
  // A sync failed: acknowledged writes to some of the server's files may be gone. What is not may
  // still go by the next loss, which after a crash it may not.
  void sync_failed(int server);
  // Between the two, unflushed writes may go at any moment, more than once: write-back errors.
  void begin_loss(const std::string& why);
  void end_loss();
  // Where the block is, always: a crash of another server does nothing to it. The verdict is
  // sharper with it; a block without it is explained if it might be on one server, whichever.
  void place(uint64_t lba, int server) { places_[lba] = server; }
  std::optional<int> server_of(uint64_t lba) const;

  // Shown in explanations, and of no meaning to the verdict: "server 1 restarted".
  void note(const std::string& text);

  // A write may take effect more than once before its end, as one does that is sent again to a
  // server that has carried it out before it was restarted. Whoever overwrites a block while
  // another write to it is in flight may then find that one on top.
  void let_writes_repeat() { may_writes_repeat_ = true; }
  bool may_writes_repeat() const { return may_writes_repeat_; }

  // Shown beside the events from here on; virtual or real.
  void set_time(int64_t time_ns) { time_ns_ = time_ns; }

  const std::vector<Op>& ops() const { return ops_; }
  const std::vector<Event>& events() const { return events_; }  // that of position p is at p − 1

 private:
  Position add(Event::Kind kind, Handle op, std::string text = {});

  std::vector<Op> ops_;  // by handle
  std::vector<Event> events_;
  std::vector<std::vector<Handle>> open_;  // by client (see slot_of): whose window is open
  std::vector<int> clients_;               // parallel to open_
  std::vector<Handle>& open_of(int client);
  int64_t time_ns_ = 0;
  bool may_writes_repeat_ = false;
  std::unordered_map<uint64_t, int> places_;  // block → server
};

const char* name_of(HistoryCommand command);
const char* name_of(HistoryOutcome outcome);
// "zeroes", "17", "bits 5", "damaged content".
std::string name_of_content(ContentId id);
// "#12 WRITE FUA of blocks 3..5 with content 17 by client 2".
std::string describe(const History& history, History::Handle handle);

}  // namespace lunar::test
