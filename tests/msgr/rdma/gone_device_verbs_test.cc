// SPDX-License-Identifier: LGPL-2.1-or-later
//
// A device that goes away while a connection over it is made.

#include <gtest/gtest.h>

#include <memory>

#include "tests/msgr/link_fixture.h"
#include "tests/msgr/rdma/link/joined_stack.h"

namespace lunar::msgr::rdma {
namespace {

// Nobody who ends the links of a removed device knows this one yet, and while it exists the device
// cannot be removed.
TEST(GoneDeviceVerbsTest, ALinkThatIsMadeOnItEndsAtOnce) {
  const std::unique_ptr<EventCenter> center = std::move(*EventCenter::create({}));
  JoinedStack stack(JoinedStack::test_options());
  int made = 0;
  stack.before_link = [&] {
    if (++made == 2) stack.device()->set_gone();
  };
  TestPeer before, after;
  connect_pair(*center, stack, *Address::parse("127.0.0.1:0"), before, after);
  ASSERT_TRUE(test::turn_until(*center, [&] { return before.closed || after.closed; }));
  EXPECT_NE(before.closed.has_value(), after.closed.has_value()) << "only the later one knows";
  EXPECT_EQ(before.closed ? *before.closed : *after.closed, std::errc::no_such_device);
  close_all(*center, {&before, &after});
}

}  // namespace
}  // namespace lunar::msgr::rdma
