// SPDX-License-Identifier: LGPL-2.1-or-later
#include "osd/ops/op_tracker.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "common/log.h"
#include "tests/osd/ops/executor_fixture.h"

namespace lunar::osd {
namespace {

using Json = nlohmann::json;
using std::chrono::seconds;

// Its ops arrive at the beginning of time.
class OpTrackerTest : public ::testing::Test {
 protected:
  static OpTracker::TimePoint at(std::chrono::nanoseconds since) {
    return OpTracker::TimePoint(since);
  }
  ClientOpRef arrive(Vector vector) {
    ClientOpRef op = vector.op();
    op->arrived = at(seconds(0));
    tracker.on_arrived(op);
    return op;
  }
  void end_after(std::chrono::nanoseconds time, Vector vector) {
    tracker.on_ended(*arrive(std::move(vector)), OsdErrc::kOk, 0, at(time));
  }
  Json counters() const { return Json::parse(perf.dump("osd")).at("osd"); }
  Json in_flight(std::chrono::nanoseconds now) const {
    return Json::parse(tracker.in_flight_json(at(now)));
  }
  // The durations of the past ops that are shown, in their order.
  std::vector<double> history(std::chrono::nanoseconds now) const {
    std::vector<double> durations;
    const Json shown = Json::parse(tracker.historic_json(at(now)));
    for (const Json& op : shown.at("ops")) durations.push_back(op.at("duration"));
    return durations;
  }
  static std::ptrdiff_t lines_with(const std::string& text) {
    const auto lines = log_recent();
    return std::count_if(lines.begin(), lines.end(), [&](const std::string& line) {
      return line.find(text) != std::string::npos;
    });
  }

  PerfRegistry perf;
  OpTracker tracker{perf, {}};
};

// --- counters ---

TEST_F(OpTrackerTest, CountsReadsChangesAndFlushesByThemselvesAndTogether) {
  tracker.on_ended(*arrive(Vector("a").read(0, 100)), OsdErrc::kOk, 100, at(seconds(1)));
  tracker.on_ended(*arrive(Vector("a").write(0, "twelve bytes")), OsdErrc::kOk, 0, at(seconds(2)));
  tracker.on_ended(*arrive(Vector("").add(OpCode::kFlush, 0, 0)), OsdErrc::kOk, 0, at(seconds(4)));
  const Json counted = counters();
  EXPECT_EQ(counted.at("op"), 3);
  EXPECT_EQ(counted.at("op_r"), 1);
  EXPECT_EQ(counted.at("op_w"), 1);
  EXPECT_EQ(counted.at("op_flush"), 1);
  EXPECT_EQ(counted.at("op_error"), 0);
  EXPECT_EQ(counted.at("op_in_bytes"), 12);
  EXPECT_EQ(counted.at("op_w_in_bytes"), 12);
  EXPECT_EQ(counted.at("op_out_bytes"), 100);
  EXPECT_EQ(counted.at("op_r_out_bytes"), 100);
  EXPECT_EQ(counted.at("op_latency").at("avgcount"), 3);
  EXPECT_EQ(counted.at("op_latency").at("sum"), 7.0);
  EXPECT_EQ(counted.at("op_r_latency").at("sum"), 1.0);
  EXPECT_EQ(counted.at("op_w_latency").at("sum"), 2.0);
  EXPECT_EQ(counted.at("op_flush_latency").at("sum"), 4.0);
}

TEST_F(OpTrackerTest, CountsErrors) {
  tracker.on_ended(*arrive(Vector("a").read(0, 1)), OsdErrc::kNoSuchObject, 0, at(seconds(1)));
  EXPECT_EQ(counters().at("op_error"), 1);
}

TEST_F(OpTrackerTest, CountsAnOpOnceAndOnlyOneThatHasArrived) {
  const ClientOpRef op = arrive(Vector("a").read(0, 1));
  tracker.on_ended(*op, OsdErrc::kOk, 1, at(seconds(1)));
  tracker.on_ended(*op, OsdErrc::kIoError, 1, at(seconds(2)));
  tracker.on_ended(*Vector("a").read(0, 1).op(), OsdErrc::kIoError, 1, at(seconds(2)));
  EXPECT_EQ(counters().at("op"), 1);
  EXPECT_EQ(counters().at("op_error"), 0);
  EXPECT_EQ(history(seconds(2)).size(), 1u);
}

TEST_F(OpTrackerTest, KnowsHowManyAreUnderWay) {
  const ClientOpRef first = arrive(Vector("a").read(0, 1));
  const ClientOpRef second = arrive(Vector("a").read(0, 1));
  EXPECT_EQ(counters().at("op_wip"), 2);
  tracker.on_ended(*first, OsdErrc::kOk, 1, at(seconds(1)));
  EXPECT_EQ(counters().at("op_wip"), 1);
}

// --- under way ---

TEST_F(OpTrackerTest, ShowsAnOpUnderWayByItsNameStateAndAge) {
  const ClientOpRef op = arrive(Vector("obj").write(4096, "data").tid(7));
  op->header.attempt = 2;
  op->message.meta.trace_id = 99;
  op->state = ClientOpState::kQueued;
  const Json shown = in_flight(seconds(3));
  EXPECT_EQ(shown.at("num_ops"), 1);
  const Json& one = shown.at("ops").at(0);
  EXPECT_EQ(one.at("description"), "osd_op(client.a/host tid 7 pool 1 pg 0 obj write 4@4096)");
  EXPECT_EQ(one.at("tid"), 7);
  EXPECT_EQ(one.at("io_id"), 99);
  EXPECT_EQ(one.at("attempt"), 2);
  EXPECT_EQ(one.at("state"), "queued");
  EXPECT_EQ(one.at("age"), 3.0);
}

TEST_F(OpTrackerTest, DescribesEveryStepAndWhatHasNoClientOrObject) {
  EXPECT_EQ(describe(*Vector("obj").read(0, 8).write(8, "x").tid(7).op()),
            "osd_op(client.a/host tid 7 pool 1 pg 0 obj read 8@0 write 1@8)");
  const ClientOpRef flush = Vector("").add(OpCode::kFlush, 0, 0).tid(8).op();
  flush->client = nullptr;
  EXPECT_EQ(describe(*flush), "osd_op(- tid 8 pool 1 pg 0 - flush 0@0)");
}

TEST_F(OpTrackerTest, ForgetsAnOpThatWasDroppedWithoutAnEnd) {
  arrive(Vector("a").read(0, 1));
  EXPECT_EQ(in_flight(seconds(1)).at("num_ops"), 0);
  tracker.complain(at(seconds(60)));
  EXPECT_EQ(counters().at("op_wip"), 0);
  EXPECT_EQ(counters().at("op"), 0);
}

// --- slow ones ---

TEST_F(OpTrackerTest, AnOpIsSlowFromTheComplaintTimeOn) {
  tracker.set_options({.complaint_time = seconds(5)});
  const ClientOpRef op = arrive(Vector("a").read(0, 1));
  EXPECT_EQ(tracker.complain(at(seconds(5) - std::chrono::nanoseconds(1))), 0u);
  EXPECT_EQ(tracker.complain(at(seconds(5))), 1u);
}

TEST_F(OpTrackerTest, EachSlowOpIsLoggedOnceAndCountedUntilItEnds) {
  const ClientOpRef first = arrive(Vector("a").read(0, 1).tid(4711));
  first->state = ClientOpState::kExecuting;
  const std::string line = "slow: " + describe(*first) + " is executing for 40.0 s";
  EXPECT_EQ(tracker.complain(at(seconds(40))), 1u);
  EXPECT_EQ(lines_with(line), 1);
  const ClientOpRef second = arrive(Vector("a").read(0, 1).tid(4712));
  EXPECT_EQ(tracker.complain(at(seconds(41))), 2u);
  EXPECT_EQ(lines_with("slow: " + describe(*first)), 1);
  EXPECT_EQ(lines_with("slow: " + describe(*second)), 1);
  tracker.on_ended(*first, OsdErrc::kOk, 1, at(seconds(42)));
  EXPECT_EQ(tracker.complain(at(seconds(43))), 1u);
}

// --- past ones ---

TEST_F(OpTrackerTest, RemembersTheSlowestTheSlowestFirst) {
  tracker.set_options({.history_size = 3});
  for (const int took : {2, 5, 1, 3, 4, 1}) end_after(seconds(took), Vector("a").read(0, 1));
  EXPECT_EQ(history(seconds(6)), (std::vector<double>{5, 4, 3}));
}

TEST_F(OpTrackerTest, ShowsAPastOpWithItsResultAndHowLongAgoItEnded) {
  const ClientOpRef op = arrive(Vector("a").read(0, 1));
  tracker.on_ended(*op, OsdErrc::kNoSuchObject, 0, at(seconds(2)));
  const Json shown = Json::parse(tracker.historic_json(at(seconds(7))));
  EXPECT_EQ(shown.at("size"), 20);
  const Json& one = shown.at("ops").at(0);
  EXPECT_EQ(one.at("description"), describe(*op));
  EXPECT_EQ(one.at("duration"), 2.0);
  EXPECT_EQ(one.at("age"), 5.0);
  EXPECT_EQ(one.at("result"), make_error_code(OsdErrc::kNoSuchObject).message());
}

TEST_F(OpTrackerTest, ForgetsAPastOpAfterItsTimeAlsoToMakeRoomForAQuickerOne) {
  tracker.set_options({.history_size = 1, .history_duration = seconds(10)});
  end_after(seconds(5), Vector("a").read(0, 1));
  EXPECT_EQ(history(seconds(14)), std::vector<double>{5});
  EXPECT_TRUE(history(seconds(15)).empty());
  const ClientOpRef quick = Vector("a").read(0, 1).op();
  quick->arrived = at(seconds(19));
  tracker.on_arrived(quick);
  tracker.on_ended(*quick, OsdErrc::kOk, 1, at(seconds(20)));
  EXPECT_EQ(history(seconds(20)), std::vector<double>{1});
}

TEST_F(OpTrackerTest, ASmallerHistoryKeepsTheSlowestAndNoneKeepsNothing) {
  for (const int took : {1, 2, 3}) end_after(seconds(took), Vector("a").read(0, 1));
  tracker.set_options({.history_size = 2});
  end_after(seconds(4), Vector("a").read(0, 1));
  EXPECT_EQ(history(seconds(5)), (std::vector<double>{4, 3}));
  OpTracker none(perf, {.history_size = 0});
  const ClientOpRef op = Vector("a").read(0, 1).op();
  none.on_arrived(op);
  none.on_ended(*op, OsdErrc::kOk, 1, at(seconds(1)));
  EXPECT_TRUE(Json::parse(none.historic_json(at(seconds(1)))).at("ops").empty());
}

}  // namespace
}  // namespace lunar::osd
