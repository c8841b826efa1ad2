// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "tests/history/history_checker.h"

namespace lunar::test {

using enum HistoryCommand;
using enum HistoryOutcome;

// Histories are written down command by command: `write(1, 5, 17)` is client 1's whole WRITE of
// content 17 to block 5.
class HistoryCheckerTest : public testing::Test {
 protected:
  using Handle = History::Handle;

  Handle begin_write(int client, uint64_t lba, ContentId id, uint32_t blocks = 1) {
    return history_.invoke(client,
                           {.command = kWrite, .lba = lba, .num_blocks = blocks, .ids = {id}});
  }
  Handle write(int client, uint64_t lba, ContentId id, HistoryOutcome outcome = kGood) {
    return ended(begin_write(client, lba, id), outcome);
  }
  Handle write_fua(int client, uint64_t lba, ContentId id) {
    return ended(history_.invoke(
        client, {.command = kWrite, .lba = lba, .num_blocks = 1, .fua = true, .ids = {id}}));
  }
  Handle begin_read(int client, uint64_t lba, uint32_t blocks = 1) {
    return history_.invoke(client, {.command = kRead, .lba = lba, .num_blocks = blocks});
  }
  void found(Handle read, std::vector<ContentId> ids) {
    history_.complete(read, kGood, std::move(ids));
  }
  Handle read(int client, uint64_t lba, ContentId id) {
    const Handle handle = begin_read(client, lba);
    found(handle, {id});
    return handle;
  }
  Handle begin_flush(int client) { return history_.invoke(client, {.command = kFlush}); }
  Handle flush(int client, HistoryOutcome outcome = kGood) {
    return ended(begin_flush(client), outcome);
  }
  Handle begin_swap(int client, uint64_t lba, std::vector<ContentId> from,
                    std::vector<ContentId> to) {
    const auto blocks = static_cast<uint32_t>(to.size());
    return history_.invoke(client, {.command = kCompareAndWrite,
                                    .lba = lba,
                                    .num_blocks = blocks,
                                    .ids = std::move(to),
                                    .compared = std::move(from)});
  }
  Handle swap(int client, uint64_t lba, ContentId from, ContentId to,
              HistoryOutcome outcome = kGood) {
    return ended(begin_swap(client, lba, {from}, {to}), outcome);
  }
  Handle orwrite(int client, uint64_t lba, uint64_t bits, HistoryOutcome outcome = kGood) {
    return ended(
        history_.invoke(
            client, {.command = kOrwrite, .lba = lba, .num_blocks = 1, .ids = {or_content(bits)}}),
        outcome);
  }
  Handle other(HistoryCommand command, int client, uint64_t lba, std::vector<ContentId> ids = {},
               HistoryOutcome outcome = kGood) {
    return ended(
        history_.invoke(client,
                        {.command = command, .lba = lba, .num_blocks = 1, .ids = std::move(ids)}),
        outcome);
  }
  Handle ended(Handle handle, HistoryOutcome outcome = kGood) {
    history_.complete(handle, outcome);
    return handle;
  }

  void expect_clean() {
    const HistoryVerdict verdict = judge(history_);
    EXPECT_TRUE(verdict.is_clean()) << verdict.to_string();
  }
  void expect_fault(HistoryFault fault, uint64_t block, const std::string& text = "") {
    const HistoryVerdict verdict = judge(history_);
    ASSERT_EQ(verdict.violations.size(), 1U) << verdict.to_string();
    EXPECT_EQ(verdict.violations[0].fault, fault) << verdict.to_string();
    EXPECT_EQ(verdict.violations[0].block, block);
    EXPECT_THAT(verdict.violations[0].explanation, testing::HasSubstr(text));
  }

  History history_;
};

}  // namespace lunar::test
