// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/ops/pg_list.h"

#include <gtest/gtest.h>

namespace lunar::objecter {
namespace {

using Names = std::vector<std::string>;

TEST(PgListTest, TheOpIsOneListStep) {
  const auto op = make_list_op({3, 17}, ListScope::kPg, "after", 100);
  ASSERT_TRUE(op);
  EXPECT_EQ(op->object.pool, 3u);
  ASSERT_EQ(op->steps.size(), 1u);
  EXPECT_EQ(op->steps[0].code, OpCode::kList);
  EXPECT_EQ(op->steps[0].name, "after");
  EXPECT_EQ(op->steps[0].length, 100u);
  EXPECT_EQ(op->steps[0].flags, 0u);
}

TEST(PgListTest, AListOfAServerIsFlagged) {
  const auto op = make_list_op({3, 17}, ListScope::kServer, "", 100);
  ASSERT_TRUE(op);
  EXPECT_EQ(op->steps[0].flags, kOfServer);
}

TEST(PgListTest, WhatBreaksARuleIsNoOp) {
  const auto is_op = [](PgId pg, const std::string& cursor, uint32_t limit) {
    return make_list_op(pg, ListScope::kPg, cursor, limit).has_value();
  };
  EXPECT_TRUE(is_op({1, 0}, "", OsdOpHeader::kMaxListed));
  EXPECT_FALSE(is_op({0, 0}, "", 1)) << "no pool";
  EXPECT_FALSE(is_op({1, 0}, "", 0));
  EXPECT_FALSE(is_op({1, 0}, "", OsdOpHeader::kMaxListed + 1));
  EXPECT_FALSE(is_op({1, 0}, "no name/", 1));
}

TEST(PgListTest, NamesAreOnePageAtMost) {
  std::vector<std::byte> data;
  encode(Names{"a", "b"}, data);
  OpReply reply;
  reply.data = data;
  EXPECT_EQ(object_names_in(reply, 2), (Names{"a", "b"}));
  EXPECT_EQ(object_names_in(reply, 1).error(), make_error_code(OsdErrc::kInvalid));
}

TEST(PgListTest, AnErrorIsPassedOn) {
  OpReply reply;
  reply.error = OsdErrc::kStaleMap;
  EXPECT_EQ(object_names_in(reply, 1).error(), make_error_code(OsdErrc::kStaleMap));
}

}  // namespace
}  // namespace lunar::objecter
