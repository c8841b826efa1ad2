// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/rdma/memory/receive_queue.h"

#include <gtest/gtest.h>

#include "msgr/rdma/queue/segment.h"

namespace lunar::msgr::rdma {
namespace {

TEST(BufferBlockTest, AnyCountOfAnySizeIsWholePagesOrRefused) {
  constexpr uint32_t kPage = 4096;
  EXPECT_EQ(BufferBlock::bytes_of(1, 1).value(), kPage);
  EXPECT_EQ(BufferBlock::bytes_of(256, 9000).value(), 563 * kPage);
  EXPECT_EQ(BufferBlock::bytes_of(2048, 8192).value(), BufferBlock::kLargest);
  EXPECT_EQ(BufferBlock::bytes_of(2049, 8192).error(), std::errc::invalid_argument);
  EXPECT_EQ(BufferBlock::bytes_of(UINT32_MAX, UINT32_MAX).error(), std::errc::invalid_argument);
  EXPECT_EQ(BufferBlock::bytes_of(0, 8192).error(), std::errc::invalid_argument);
}

TEST(ReceivedBytesTest, OnlyASendHasFilledItsBuffer) {
  ibv_wc wc{};
  wc.byte_len = 100;
  wc.opcode = IBV_WC_RECV;
  EXPECT_EQ(received_bytes(wc), 100u);
  wc.wc_flags = IBV_WC_WITH_INV;
  EXPECT_EQ(received_bytes(wc), 100u);
  wc.opcode = IBV_WC_RECV_RDMA_WITH_IMM;
  EXPECT_EQ(received_bytes(wc), 0u);
  EXPECT_FALSE(decode_segment({})) << "which ends the link";
}

}  // namespace
}  // namespace lunar::msgr::rdma
