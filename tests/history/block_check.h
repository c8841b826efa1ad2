// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "tests/history/flush_claims.h"
#include "tests/history/history.h"

namespace lunar::test {

// What is not asked for: a check that fails, and holds with one of these, says by which it failed.
struct Leniency {
  bool windows_stay_open = false;     // unanswered commands take effect at any time
  bool failures_take_effect = false;  // refused commands may have been carried out
  bool losses_need_no_telling = false;
  bool flushed_may_go = false;    // in a loss
  bool compares_nothing = false;  // COMPARE AND WRITE is a WRITE
  bool tears_compare_and_write = false;
};

// An unanswered COMPARE AND WRITE that was seen in one of its blocks must be in the others too.
struct SeenCompareAndWrite {
  History::Position by = 0;  // the end of what saw it
  History::Handle witness = 0;
  uint64_t block = 0;
};

// The search for an order of the commands on one block that explains all of them. It goes through
// the events once and keeps every state that the block may be in (Wing and Gong's search, in the
// just-in-time form of Lowe 2017): a command is put into the order as late as possible, when its
// end, or the end of one that depends on it, forces it.
//
// One object checks many blocks, one after the other, and keeps its memory. Borrows all it is
// given. Not thread-safe.
class BlockCheck {
 public:
  enum class Result : uint8_t { kExplained, kUnexplained, kUndecided };

  using Seen = std::unordered_map<History::Handle, SeenCompareAndWrite>;
  BlockCheck(const History& history, const FlushClaims& claims, const Seen& seen);

  // `ops`: the handles of the commands that touch the block, in the order of their invocations.
  Result run(uint64_t block, std::span<const History::Handle> ops, const Leniency& leniency = {});

  // The block is on one server, and only its losses concern it. Where history.server_of() does not
  // say which, kUnexplained means on no server; what follows is then of the one that explains most.
  int server() const { return server_; }

  // After kUnexplained: the command whose end has no explanation, and what the block may have held.
  History::Handle culprit() const { return culprit_; }
  const std::vector<ContentId>& possible() const { return possible_; }
  // After kUnexplained: a GOOD flush that forbids a loss, if one did.
  std::optional<History::Handle> untold_flush() const { return untold_; }
  // Commands of `ops` with kMiscompare that some state of this block explains.
  const std::vector<History::Handle>& explained_miscompares() const { return miscompares_; }

  // The content of this block among those of a command.
  static ContentId content_at(const std::vector<ContentId>& ids, const HistoryOp& op,
                              uint64_t block) {
    return ids.size() == 1 ? ids[0] : ids[block - op.lba];
  }

 private:
  using Position = History::Position;
  enum class Role : uint8_t { kRead, kSet, kSwap, kOr, kMiscompare };

  struct Command {  // one command, as this block sees it
    History::Handle handle = 0;
    Role role = Role::kRead;
    bool is_optional = false;      // need not take effect
    bool is_always_tried = false;  // optional: not only when somebody waits for its content
    bool is_seen_later = false;    // optional: somebody finds its content after its window
    ContentId content = 0;         // read, or written
    ContentId compared = 0;        // kSwap, kMiscompare
    Position invoked = 0;
    Position repeats_until = 0;       // it may take effect again before
    Position ends = History::kNever;  // must be in the order by then, or can no more be
    Position acknowledged = History::kNever;
    bool is_fua = false;
    int slot = -1;              // its bit in a state while it is pending; kMiscompare has none
    bool is_explained = false;  // kMiscompare
    uint64_t bit() const { return slot < 0 ? 0 : uint64_t{1} << slot; }
  };
  enum class StepKind : uint8_t { kBegin, kLastRepeat, kEnd };
  struct Step {  // of the event list
    Position at;
    StepKind kind;
    uint32_t command;
    bool operator<(const Step& other) const {
      return at != other.at ? at < other.at : kind < other.kind;
    }
  };
  // What the block held, and below it what it held before: what a loss may bring back. A graph,
  // since different orders may lead to the same state.
  static constexpr uint32_t kNone = ~0u;
  struct Layer {
    uint32_t command = kNone;  // that wrote it; kNone: nobody, it was there
    uint32_t below = kNone;
    uint32_t more_below = kNone;  // in links_
    bool has_survived = false;    // a loss: it is on disk
    ContentId content = kZeroContent;
  };
  struct Link {
    uint32_t layer;
    uint32_t next;
  };
  struct BlockState {
    uint64_t done = 0;  // slots of pending commands that are in the order
    uint32_t layer = 0;
    ContentId content = kZeroContent;
  };

  Result run_on(int server, uint64_t block, std::span<const History::Handle> ops);
  void collect(uint64_t block, std::span<const History::Handle> ops);
  void drop_useless();
  void note_readers();
  bool is_seen_after(ContentId content, Position at) const;
  void begin(uint32_t which);
  bool end(uint32_t which);
  void let_go(uint32_t which);
  bool force(uint32_t which);
  void repeat(uint32_t which);
  void try_all();
  bool fits(const BlockState& state, const Command& command) const;
  bool can_step(const BlockState& state, const Command& command) const;
  bool is_wanted(const BlockState& state, ContentId content) const;
  bool has_better_twin(const BlockState& state, uint32_t which) const;
  void step(const BlockState& state, uint32_t which);
  void saw(BlockState& state);
  void begin_search();
  uint32_t find_known(uint64_t done, uint32_t command, ContentId content, bool has_survived) const;
  void add(const BlockState& state);
  void release(uint32_t which);
  void keep(uint32_t layer, uint64_t done, bool is_decided);
  void lose(std::size_t loss, Position at, bool goes_on);
  void put_link(uint32_t layer, uint32_t below);
  bool may_be_lost(const Layer& layer, std::size_t loss, Position at);
  bool is_told(const Command& command, std::size_t loss);

  const History& history_;
  const FlushClaims& claims_;
  const Seen& seen_;
  Leniency leniency_;
  std::vector<Command> commands_;
  std::vector<Step> steps_;
  std::vector<Layer> layers_;
  std::vector<Link> links_;
  std::vector<BlockState> states_;  // all different
  std::vector<BlockState> found_;   // by the search that runs, in the order of finding
  std::unordered_multimap<uint64_t, uint32_t> known_;  // hash of a state → index in found_
  std::vector<uint32_t> pending_;                      // commands between invocation and end
  uint64_t free_slots_ = 0;
  std::unordered_map<ContentId, Position> seen_until_;
  bool sees_everything_ = false;
  bool has_or_ = false;
  bool is_undecided_ = false;
  std::size_t next_loss_ = 0;  // the first one that was not gone through to its end
  bool is_on_disk_ = true;     // nothing was written since the last loss
  int server_ = History::kEveryServer;
  Position now_ = 0;  // of the event that is looked at
  History::Handle culprit_ = 0;
  std::vector<ContentId> possible_;
  std::optional<History::Handle> untold_;
  std::vector<History::Handle> miscompares_;
};

}  // namespace lunar::test
