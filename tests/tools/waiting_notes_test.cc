// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tools/lunar/waiting_notes.h"

#include <gtest/gtest.h>

namespace lunar::tools {
namespace {

using namespace std::chrono_literals;
using Notes = std::vector<std::string>;

class WaitingNotesTest : public ::testing::Test {
 protected:
  WaitingNotesTest() {
    for (const objecter::OsdId id : {0, 1, 2}) {
      objecter::OsdInfo osd;
      osd.id = id;
      osd.up = id != 2;
      map_.osds.push_back(osd);
    }
    map_.authority = 0;
  }
  Notes look(const std::string& ops, std::chrono::milliseconds after,
             const std::string& sessions = R"({"sessions": []})") {
    return notes_.look(ops, sessions, &map_, began_ + after);
  }
  static std::string op(int osd, double age) {
    return R"({"ops": [{"osd": )" + std::to_string(osd) + R"(, "age": )" + std::to_string(age) +
           R"(}], "command_ops": []})";
  }

  const WaitingNotes::TimePoint began_{};
  objecter::OsdMap map_;
  WaitingNotes notes_{began_, 20s};
};

TEST_F(WaitingNotesTest, AServerThatIsDownIsNamedWithinASecondAndAgainLater) {
  EXPECT_EQ(look(op(2, 0.5), 500ms), Notes());
  EXPECT_EQ(look(op(2, 0.9), 900ms),
            Notes{"waiting for osd.2 for 1 s: it is down; an op gives up after 20 s"});
  EXPECT_EQ(look(op(2, 1.1), 1100ms), Notes());
  EXPECT_EQ(look(op(2, 6.0), 6000ms),
            Notes{"waiting for osd.2 for 6 s: it is down; an op gives up after 20 s"});
}

TEST_F(WaitingNotesTest, OneThatIsConnectedMayTakeItsTime) {
  const std::string open = R"({"sessions": [{"osd": 1, "state": "open", "link": true}]})";
  EXPECT_EQ(look(op(1, 3.0), 3000ms, open), Notes());
  EXPECT_EQ(look(op(1, 6.0), 6000ms, open),
            Notes{"waiting for osd.1 for 6 s: it does not answer; an op gives up after 20 s"});
}

TEST_F(WaitingNotesTest, ACommandToTheAuthorityIsOne) {
  const std::string command = R"({"ops": [], "command_ops": [{"tid": 7, "osd": -1}]})";
  EXPECT_EQ(look(command, 0ms), Notes());
  EXPECT_EQ(look(command, 900ms), Notes{"waiting for osd.0, the map authority, for 1 s: it does "
                                        "not answer; an op gives up after 20 s"});
}

TEST_F(WaitingNotesTest, WithoutAMapItIsAnyServer) {
  EXPECT_EQ(notes_.look("", "", nullptr, began_ + 100ms), Notes());
  EXPECT_EQ(notes_.look("", "", nullptr, began_ + 900ms),
            Notes{"waiting for any server of mon_host for 1 s; gives up after 20 s"});
}

}  // namespace
}  // namespace lunar::tools
