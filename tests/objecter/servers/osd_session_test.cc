// SPDX-License-Identifier: LGPL-2.1-or-later
#include "objecter/servers/osd_session.h"

#include <gtest/gtest.h>

#include "objecter/ops/op_table.h"

namespace lunar::objecter {
namespace {

class OsdSessionTest : public testing::Test {
 protected:
  void drop(Op& op) {
    table.remove(op);
    table.recycle(op);
  }
  ~OsdSessionTest() override {
    table.for_each([this](Op& op) { drop(op); });
  }

  OpTable table{{3, 1000}};
  OsdSession session{0};
};

TEST_F(OsdSessionTest, KeepsTheOrderOfTids) {
  Op* ops[4];
  for (Op*& op : ops) op = &table.add();
  EXPECT_EQ(session.oldest_tid(), 0u);
  for (int i : {1, 3, 0, 2}) session.add(*ops[i]);
  Tid before = 0;
  for (const Op& op : session.ops()) {
    EXPECT_EQ(op.tid, before + 1);
    EXPECT_EQ(op.session, &session);
    before = op.tid;
  }
  EXPECT_EQ(session.oldest_tid(), 1u);
  drop(*ops[0]);
  EXPECT_EQ(session.oldest_tid(), 2u);
}

TEST_F(OsdSessionTest, IsNotReadyWithoutAServer) {
  EXPECT_FALSE(session.is_ready());
  OsdInfo info;
  info.up = true;
  session.set_info(info);
  EXPECT_FALSE(session.is_ready());
}

TEST_F(OsdSessionTest, IsRememberedOnlyByTheProcessThatHasItsResults) {
  session.set_incarnation(7);
  ServerHello hello;
  hello.incarnation = 7;
  EXPECT_FALSE(session.remembers(hello));
  hello.remembers_client = true;
  EXPECT_TRUE(session.remembers(hello));
  hello.incarnation = 8;
  EXPECT_FALSE(session.remembers(hello));
}

}  // namespace
}  // namespace lunar::objecter
