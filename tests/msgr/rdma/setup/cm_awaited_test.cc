// SPDX-License-Identifier: LGPL-2.1-or-later
#include "msgr/rdma/setup/cm_awaited.h"

#include <gtest/gtest.h>

#include "msgr/rdma/setup/cm_setup.h"

namespace lunar::msgr::rdma {
namespace {

class CmAwaitedTest : public ::testing::Test {
 protected:
  ~CmAwaitedTest() override {
    for (const auto& waiter : waiters_) waiter->port->close();
  }
  static CmTicket ticket(uint8_t first) {
    CmTicket made{};
    made[0] = std::byte{first};
    return made;
  }
  std::shared_ptr<CmWaiter> add(uint8_t own, uint8_t peers) {
    waiters_.push_back(std::make_shared<CmWaiter>(*center_, ConnectDone()));
    awaited_.add({ticket(own), ticket(peers)}, waiters_.back());
    return waiters_.back();
  }

  const std::unique_ptr<EventCenter> center_ = std::move(*EventCenter::create({}));
  std::vector<std::shared_ptr<CmWaiter>> waiters_;
  CmAwaited awaited_;
};

TEST_F(CmAwaitedTest, ATicketLetsInWhomItWasGivenToAndOnce) {
  const auto one = add(1, 11);
  const auto two = add(2, 12);
  const auto entry = awaited_.take(ticket(2));
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->waiter, two);
  EXPECT_EQ(entry->tickets.peer, ticket(12));
  EXPECT_FALSE(awaited_.take(ticket(2))) << "it was shown again";
  EXPECT_TRUE(awaited_.take(ticket(1))) << "another one's is still good";
}

TEST_F(CmAwaitedTest, ATicketThatNobodyGaveLetsNobodyIn) {
  EXPECT_FALSE(awaited_.take(ticket(1)));
  add(1, 11);
  CmTicket other = ticket(1);
  other.back() = std::byte{1};
  EXPECT_FALSE(awaited_.take(other));
  EXPECT_FALSE(awaited_.take(ticket(11))) << "the peer's own";
  EXPECT_FALSE(awaited_.take(CmTicket{}));
}

TEST_F(CmAwaitedTest, ATicketIsNoGoodOnceItsHandshakeIsOver) {
  std::weak_ptr<CmWaiter> waiter = add(1, 11);
  awaited_.remove(ticket(1));
  EXPECT_FALSE(awaited_.take(ticket(1)));
  waiters_.back()->port->close();
  waiters_.clear();
  EXPECT_TRUE(waiter.expired());
  awaited_.remove(ticket(1));
}

}  // namespace
}  // namespace lunar::msgr::rdma
