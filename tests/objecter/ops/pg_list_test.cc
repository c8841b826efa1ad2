// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/ops/pg_list.h"

#include <gtest/gtest.h>

namespace lunar::objecter {
namespace {

using Names = std::vector<std::string>;

TEST(PgListTest, TheOpIsOneListStep) {
  const auto op = make_list_op({3, 17}, "after", 100);
  ASSERT_TRUE(op);
  EXPECT_EQ(op->object.pool, 3u);
  ASSERT_EQ(op->steps.size(), 1u);
  EXPECT_EQ(op->steps[0].code, OpCode::kList);
  EXPECT_EQ(op->steps[0].name, "after");
  EXPECT_EQ(op->steps[0].length, 100u);
}

TEST(PgListTest, WhatBreaksARuleIsNoOp) {
  EXPECT_TRUE(make_list_op({1, 0}, "", OsdOpHeader::kMaxListed));
  EXPECT_FALSE(make_list_op({0, 0}, "", 1)) << "no pool";
  EXPECT_FALSE(make_list_op({1, 0}, "", 0));
  EXPECT_FALSE(make_list_op({1, 0}, "", OsdOpHeader::kMaxListed + 1));
  EXPECT_FALSE(make_list_op({1, 0}, "no name/", 1));
}

TEST(PgListTest, NamesAreOnePageAtMost) {
  std::vector<std::byte> data;
  encode(Names{"a", "b"}, data);
  OpReply reply;
  reply.data = data;
  EXPECT_EQ(names_of(reply, 2), (Names{"a", "b"}));
  EXPECT_EQ(names_of(reply, 1).error(), make_error_code(OsdErrc::kInvalid));
}

TEST(PgListTest, AnErrorIsPassedOn) {
  OpReply reply;
  reply.error = OsdErrc::kStaleMap;
  EXPECT_EQ(names_of(reply, 1).error(), make_error_code(OsdErrc::kStaleMap));
}

}  // namespace
}  // namespace lunar::objecter
