// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/ops/list_turns.h"

#include <gtest/gtest.h>

#include <memory>

namespace lunar::osd {
namespace {

class ListTurnsTest : public ::testing::Test {
 protected:
  static ClientOpRef list_of(const std::string& entity, Tid tid) {
    auto op = std::make_shared<ClientOp>();
    op->client = std::make_shared<const ClientName>(ClientName{entity, "host"});
    op->header.tid = tid;
    return op;
  }
  ClientOpRef add(const std::string& entity, Tid tid) {
    ClientOpRef op = list_of(entity, tid);
    EXPECT_TRUE(turns.has_room(*op));
    turns.add(op);
    return op;
  }
  Tid next() {
    const ClientOpRef op = turns.take_next();
    if (op != nullptr) executing[op->header.tid] = op;
    return op == nullptr ? 0 : op->header.tid;
  }
  void end(Tid tid) { turns.on_ended(*executing.extract(tid).mapped()); }

  ListTurns turns{{.max_executing = 2, .max_waiting = 5, .max_waiting_of_entity = 3}};
  std::map<Tid, ClientOpRef> executing;
};

TEST_F(ListTurnsTest, OneOfAnEntityExecutesAtATime) {
  add("client.a", 1);
  add("client.a", 2);
  EXPECT_EQ(next(), 1u);
  EXPECT_EQ(next(), 0u);
  end(1);
  EXPECT_EQ(next(), 2u);
  end(2);
}

TEST_F(ListTurnsTest, EntitiesTakeTurnsHoweverManyOneHas) {
  for (const Tid tid : {1, 2, 3}) add("client.a", tid);
  add("client.b", 11);
  EXPECT_EQ(next(), 1u);
  EXPECT_EQ(next(), 11u);
  end(1);
  EXPECT_EQ(next(), 2u);
  end(2);
  end(11);
  add("client.b", 12);
  EXPECT_EQ(next(), 3u);
  EXPECT_EQ(next(), 12u);
}

TEST_F(ListTurnsTest, OnlySoManyExecuteAndWait) {
  for (const char* entity : {"client.a", "client.b", "client.c"}) add(entity, entity[7]);
  EXPECT_EQ(next(), Tid{'a'});
  EXPECT_EQ(next(), Tid{'b'});
  EXPECT_EQ(next(), 0u) << "two is the limit";
  for (const Tid tid : {1, 2, 3}) add("client.a", tid);
  EXPECT_FALSE(turns.has_room(*list_of("client.a", 4))) << "of this entity";
  add("client.b", 5);
  EXPECT_FALSE(turns.has_room(*list_of("client.d", 6))) << "of all";
  EXPECT_EQ(turns.take_all().size(), 5u);
  EXPECT_TRUE(turns.has_room(*list_of("client.a", 4)));
}

TEST_F(ListTurnsTest, WhatIsTakenOutHasNoTurn) {
  const ClientOpRef only = add("client.a", 1);
  add("client.b", 2);
  EXPECT_TRUE(turns.take_out(only));
  EXPECT_FALSE(turns.take_out(only));
  EXPECT_EQ(next(), 2u);
  EXPECT_FALSE(turns.take_out(executing.at(2))) << "it executes";
  EXPECT_EQ(next(), 0u);
}

}  // namespace
}  // namespace lunar::osd
