// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/e2e/iscsi_load/record.h"

#include <algorithm>
#include <span>
#include <utility>

#include "tests/history/block_content.h"

namespace lunar::iscsi_load {

using test::ContentId;
using test::HistoryCommand;
using test::HistoryOp;

namespace {

// A content is the client, whether WRITE SAME wrote it (then it holds no LBA), the time at which
// the run began in ms since boot, and a count.
constexpr int kClientShift = 54;
constexpr ContentId kOfWriteSame = ContentId{1} << 53;
constexpr int kTimeShift = 20;
constexpr uint64_t kTimeMask = 0x1ffffffff;

// The first blocks of the LUN are ORWRITE's.
constexpr uint64_t kOrBlocks = 8;

void make(std::span<std::byte> block, ContentId id, uint64_t lba) {
  const bool is_of_any_place = (id & kOfWriteSame) != 0;
  test::make_block(block, id, is_of_any_place ? test::kAnyLba : lba,
                   static_cast<uint32_t>(id >> kClientShift));
}

}  // namespace

RecordRun::RecordRun(PollLoop& loop, Lun& lun, Recorder& recorder, RecordOptions options)
    : loop_(loop),
      lun_(lun),
      recorder_(recorder),
      options_(std::move(options)),
      random_(options_.seed) {}

void RecordRun::start(std::function<void()> done) {
  done_ = [this, done = std::move(done)] {
    *is_alive_ = false;
    done();
  };
  started_ = Clock::now();
  block_bytes_ = lun_.geometry().block_bytes;
  recorder_.set_block_bytes(block_bytes_);
  num_blocks_ = std::min(lun_.geometry().num_blocks, options_.span_bytes / block_bytes_);
  const uint64_t boundary = options_.boundary_bytes / block_bytes_;
  if (num_blocks_ < 4 * num_hot_blocks_) {
    report_.problem = "the span is too small";
    return loop_.call_at(Clock::now(), [this] { done_(); });
  }
  hot_lba_ = std::clamp(boundary - std::min(boundary, num_hot_blocks_ / 2), kOrBlocks,
                        num_blocks_ - num_hot_blocks_);
  next_discard_ = std::min(num_blocks_, options_.discard_from_bytes / block_bytes_);
  // No two runs choose the same content.
  const auto since_boot =
      std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now().time_since_epoch());
  last_id_ = static_cast<ContentId>(options_.client & 0xff) << kClientShift |
             (static_cast<uint64_t>(since_boot.count()) & kTimeMask) << kTimeShift;
  if (options_.reset_every.count() > 0) reset_later();
  loop_.call_at(Clock::now(), [this] { pump(); });
}

void RecordRun::reset_later() {
  const auto period = static_cast<uint64_t>(options_.reset_every.count());
  const std::chrono::milliseconds pause(period / 2 + below(period));
  loop_.call_at(Clock::now() + pause, [this, alive = is_alive_] {
    if (!*alive || Clock::now() - started_ >= options_.duration) return;
    if (lun_.reset()) ++report_.resets;
    reset_later();
  });
}

void RecordRun::pump() {
  while (num_in_flight_ < options_.depth) {
    if (next_discard_ < num_blocks_) {
      const uint64_t length =
          std::min(num_blocks_ - next_discard_, options_.boundary_bytes / block_bytes_);
      const UnmapRange range{std::exchange(next_discard_, next_discard_ + length),
                             static_cast<uint32_t>(length)};
      submit(
          {.command = HistoryCommand::kDiscard, .lba = range.lba, .num_blocks = range.num_blocks},
          unmap({&range, 1}));
      continue;
    }
    if (Clock::now() - started_ < options_.duration) {
      issue();
      continue;
    }
    if (!options_.final_pass || next_read_back_ >= num_blocks_) break;
    const uint64_t length =
        std::min(num_blocks_ - next_read_back_, options_.max_op_bytes / block_bytes_);
    issue_read(std::exchange(next_read_back_, next_read_back_ + length),
               static_cast<uint32_t>(length));
  }
  if (num_in_flight_ > 0) return;
  report_.seconds = std::chrono::duration<double>(Clock::now() - started_).count();
  std::exchange(done_, nullptr)();
}

HistoryOp RecordRun::random_range(HistoryCommand command, uint64_t max_blocks) {
  HistoryOp op{.command = command};
  const bool is_hot = below(3) == 0;
  const uint64_t room = is_hot ? num_hot_blocks_ : num_blocks_ - kOrBlocks;
  const uint64_t most = std::min(is_hot ? 4 : max_blocks, room);
  op.num_blocks =
      static_cast<uint32_t>(1 + below(below(2) == 0 ? most : std::min(most, uint64_t{8})));
  op.lba = (is_hot ? hot_lba_ : kOrBlocks) + below(room - op.num_blocks + 1);
  return op;
}

void RecordRun::issue() {
  const uint64_t max_blocks = std::max<uint64_t>(options_.max_op_bytes / block_bytes_, 1);
  const Geometry& geometry = lun_.geometry();
  const uint64_t dice = below(100);
  if (dice < options_.flush_percent) {
    return submit({.command = HistoryCommand::kFlush}, synchronize_cache16(0, 0));
  }
  if (dice < 45) {
    const HistoryOp op = random_range(HistoryCommand::kRead, max_blocks);
    return issue_read(op.lba, op.num_blocks);
  }
  if (dice < 50 && options_.discards && geometry.has_unmap && geometry.unmapped_reads_zero) {
    const HistoryOp op = random_range(HistoryCommand::kDiscard, max_blocks);
    const UnmapRange range{op.lba, op.num_blocks};
    return submit(op, unmap({&range, 1}));
  }
  if (dice < 54) {
    HistoryOp op = random_range(HistoryCommand::kWriteSame, max_blocks);
    op.ids = {++last_id_ | kOfWriteSame};
    auto block = std::make_shared<Buffer>(block_bytes_);
    make(block->span(), op.ids[0], op.lba);
    const Command command = write_same16(op.lba, op.num_blocks, block, false);
    return submit(std::move(op), command);
  }
  if (dice < 66 && geometry.max_compare_and_write_blocks > 0) {
    return issue_compare_and_write(
        random_range(HistoryCommand::kCompareAndWrite,
                     std::min<uint64_t>(geometry.max_compare_and_write_blocks, 4)));
  }
  if (dice < 69) return issue_orwrite();
  HistoryOp op = random_range(HistoryCommand::kWrite, max_blocks);
  op.fua = below(8) == 0;
  issue_write(std::move(op));
}

void RecordRun::issue_read(uint64_t lba, uint32_t num_blocks) {
  auto buffer = std::make_shared<Buffer>(uint64_t{num_blocks} * block_bytes_);
  submit({.command = HistoryCommand::kRead, .lba = lba, .num_blocks = num_blocks},
         read16(lba, num_blocks, buffer, {}));
}

void RecordRun::issue_write(HistoryOp op) {
  op.ids = {++last_id_};
  auto buffer = std::make_shared<Buffer>(uint64_t{op.num_blocks} * block_bytes_);
  for (uint64_t i = 0; i < op.num_blocks; ++i) {
    make(buffer->span().subspan(i * block_bytes_, block_bytes_), last_id_, op.lba + i);
  }
  const Command command = write16(op.lba, op.num_blocks, buffer, {.fua = op.fua});
  submit(std::move(op), command);
}

// Compares with what this run believes is there; without a belief it reads.
void RecordRun::issue_compare_and_write(HistoryOp op) {
  for (uint64_t i = 0; i < op.num_blocks; ++i) {
    const auto found = believed_.find(op.lba + i);
    if (found == believed_.end()) return issue_read(op.lba, op.num_blocks);
    op.compared.push_back(found->second);
  }
  op.ids = {++last_id_};
  auto buffer = std::make_shared<Buffer>(2 * uint64_t{op.num_blocks} * block_bytes_);
  for (uint64_t i = 0; i < 2 * op.num_blocks; ++i) {
    const bool is_compared = i < op.num_blocks;
    const uint64_t lba = op.lba + i % op.num_blocks;
    const ContentId id = is_compared ? op.compared[i] : last_id_;
    make(buffer->span().subspan(i * block_bytes_, block_bytes_), id, lba);
  }
  const Command command =
      compare_and_write(op.lba, static_cast<uint8_t>(op.num_blocks), buffer, {});
  submit(std::move(op), command);
}

// Sets of bits live in blocks of their own: what is combined with another content is damaged. Each
// is read back before the next one of that block: of a dozen that nobody has seen, a loss may leave
// any set.
void RecordRun::issue_orwrite() {
  HistoryOp op{.command = HistoryCommand::kOrwrite,
               .lba = below(kOrBlocks),
               .num_blocks = 1,
               .ids = {test::or_content(uint64_t{1} << below(60))}};
  if (!unseen_orwrites_.insert(op.lba).second) return issue();
  auto buffer = std::make_shared<Buffer>(block_bytes_);
  test::make_block(buffer->span(), op.ids[0], op.lba, 0);
  const Command command = or_write16(op.lba, 1, buffer);
  submit(std::move(op), command);
}

void RecordRun::submit(HistoryOp op, Command command) {
  ++report_.commands[static_cast<size_t>(op.command)];
  ++num_in_flight_;
  auto shared = std::make_shared<const HistoryOp>(std::move(op));
  lun_.submit(
      command,
      [this, shared, command](const FinalCompletion& result) {
        --num_in_flight_;
        answered(*shared, command, result);
        pump();
      },
      shared);
}

void RecordRun::answered(const HistoryOp& op, const Command& command,
                         const FinalCompletion& result) {
  if (op.command == HistoryCommand::kFlush) return;
  if (op.command == HistoryCommand::kOrwrite) issue_read(op.lba, op.num_blocks);
  std::vector<ContentId> ids = op.ids;
  if (op.command == HistoryCommand::kRead && result.last.is_good() &&
      result.last.transferred == command.data->size()) {
    unseen_orwrites_.erase(op.lba);
    ids = recorder_.contents(op.lba, *command.data);
  }
  if (op.command == HistoryCommand::kDiscard) ids = {test::kZeroContent};
  for (uint64_t i = 0; i < op.num_blocks; ++i) {
    const ContentId id = ids.empty() ? test::kDamagedContent : ids[ids.size() == 1 ? 0 : i];
    const bool is_known = result.last.is_good() && id < test::kSetOfBits;
    if (is_known) {
      believed_[op.lba + i] = id;
    } else {
      believed_.erase(op.lba + i);
    }
  }
}

}  // namespace lunar::iscsi_load
