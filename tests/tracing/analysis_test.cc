// SPDX-License-Identifier: LGPL-2.1-or-later
// The analyser without files: events are made here, as processes would record them.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "objecter/protocol/osd_op.h"
#include "tracing/analysis/clock_align.h"
#include "tracing/analysis/explain.h"
#include "tracing/analysis/histogram.h"
#include "tracing/analysis/render.h"
#include "tracing/analysis/report.h"
#include "tracing/analysis/stages.h"
#include "tracing/analysis/tracker.h"
#include "tracing/trace_enums.h"

namespace lunar::tracing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr uint32_t kGateway = 0;
constexpr int64_t kUs = 1000;
constexpr int64_t kMs = 1000 * kUs;
constexpr int64_t kStart = 1'700'000'000'000'000'000;
constexpr int64_t kRequest = static_cast<int64_t>(objecter::MessageType::kOsdOp);
constexpr int64_t kReply = static_cast<int64_t>(objecter::MessageType::kOsdOpReply);

class AnalysisTest : public ::testing::Test {
 protected:
  explicit AnalysisTest() : report_(options()) {}

  static TraceReport::Options options() {
    TraceReport::Options options;
    options.sample = 100;
    return options;
  }

  TraceEvent& add(EventKind kind, uint32_t process, int64_t at_us, uint64_t tid = 0) {
    TraceEvent event;
    event.kind = kind;
    event.process = process;
    event.time_ns = kStart + at_us * kUs;
    event.io_id = io_id_;
    event.tid = tid;
    events_.push_back(event);
    return events_.back();
  }

  void begin_io(int64_t at_us, int64_t extents) {
    TraceEvent& cmd = add(EventKind::kCmdStart, kGateway, at_us);
    cmd.opcode = 0x8a;
    cmd.bytes = extents << 20;
    cmd.text = "disk1";
    TraceEvent& io = add(EventKind::kIoStart, kGateway, at_us + 1);
    io.type = kTraceIoWrite;
    io.length = extents << 20;
    TraceEvent& split = add(EventKind::kIoSplit, kGateway, at_us + 2);
    split.extents = extents;
    split.length = extents << 20;
    split.reason = extents > 1 ? kTraceSplitObjectBoundary : kTraceSplitNone;
  }

  void submit(int64_t at_us, uint64_t tid, int64_t osd) {
    TraceEvent& path = add(EventKind::kExtentPath, kGateway, at_us);
    path.length = 1 << 20;
    path.object_no = static_cast<int64_t>(tid);
    path.reason = kTracePathLinkLacks;
    TraceEvent& op = add(EventKind::kOpSubmit, kGateway, at_us, tid);
    op.attempt = 1;
    op.osd = osd;
    op.bytes = 1 << 20;
    add(EventKind::kFrameQueued, kGateway, at_us + 1, tid).type = kRequest;
    TraceEvent& sent = add(EventKind::kFrameSent, kGateway, at_us + 2, tid);
    sent.type = kRequest;
    sent.seq = static_cast<int64_t>(tid);
    TraceEvent& submitted = add(EventKind::kExtentSubmit, kGateway, at_us + 3, tid);
    submitted.object_no = static_cast<int64_t>(tid);
  }

  // The server's part takes store_us in the store, wire_us on the way there.
  void serve(int64_t at_us, uint64_t tid, int64_t osd, int64_t store_us, int64_t attempt = 1) {
    const auto server = static_cast<uint32_t>(osd + 1);
    add(EventKind::kFrameReceived, server, at_us, tid).type = kRequest;
    add(EventKind::kOpReceived, server, at_us + 1, tid).attempt = attempt;
    add(EventKind::kOpQueued, server, at_us + 2, tid);
    add(EventKind::kOpStart, server, at_us + 3, tid);
    add(EventKind::kStoreSubmit, server, at_us + 4, tid).store_kind = kTraceStoreWrite;
    add(EventKind::kStoreDone, server, at_us + 4 + store_us, tid);
    add(EventKind::kOpReplied, server, at_us + 5 + store_us, tid);
    add(EventKind::kFrameQueued, server, at_us + 5 + store_us, tid).type = kReply;
    add(EventKind::kFrameSent, server, at_us + 6 + store_us, tid).type = kReply;
    add(EventKind::kFrameReceived, kGateway, at_us + 16 + store_us, tid).type = kReply;
    TraceEvent& reply = add(EventKind::kOpReply, kGateway, at_us + 17 + store_us, tid);
    reply.attempt = attempt;
    reply.osd = osd;
    reply.bytes_inline = 1 << 20;
    add(EventKind::kOpDone, kGateway, at_us + 18 + store_us, tid);
  }

  void end_io(int64_t at_us) {
    add(EventKind::kIoDone, kGateway, at_us);
    add(EventKind::kCmdDone, kGateway, at_us + 1);
    add(EventKind::kCmdReturned, kGateway, at_us + 2);
  }

  void whole_io(uint64_t io_id, int64_t at_us, int64_t osd, int64_t store_us) {
    io_id_ = io_id;
    begin_io(at_us, 1);
    submit(at_us + 3, io_id, osd);
    serve(at_us + 20, io_id, osd, store_us);
    end_io(at_us + 40 + store_us);
  }

  const TraceReport& analyse() {
    std::stable_sort(events_.begin(), events_.end(), [](const TraceEvent& a, const TraceEvent& b) {
      return a.time_ns < b.time_ns;
    });
    Tracker tracker({}, [this](IoRecord&& io) { report_.add(std::move(io)); });
    for (const TraceEvent& event : events_) {
      report_.add_event(event);
      tracker.add(event);
      most_live_ = std::max(most_live_, tracker.live());
    }
    tracker.finish();
    Processes processes = {{"gw", 1, "tgtd", -1, true}};
    for (int64_t osd = 0; osd < 3; ++osd)
      processes.push_back({"host", 10 + osd, "lunar-osd", -1, false});
    report_.finish(processes, {});
    return report_;
  }

  uint64_t io_id_ = 0x100;
  std::vector<TraceEvent> events_;
  TraceReport report_;
  std::size_t most_live_ = 0;
};

TEST_F(AnalysisTest, AWholeIoReconcilesAndItsStagesAddUpToIt) {
  whole_io(0x100, 0, 1, 100);
  const TraceReport& report = analyse();
  EXPECT_EQ(report.reconciliation.whole, 1u);
  EXPECT_EQ(report.reconciliation.ops_whole, 1u);
  EXPECT_THAT(reconciliation_sentence(report), HasSubstr("100 %"));
  ASSERT_EQ(report.slowest.size(), 1u);
  int64_t sum = 0;
  for (const Interval& each : intervals_of(report.slowest[0])) {
    EXPECT_NE(each.stage, IoStage::kUnknown);
    sum += each.length();
  }
  EXPECT_EQ(sum, report.slowest[0].duration());
  EXPECT_EQ(report.stages[static_cast<std::size_t>(IoStage::kStore)].max(), 100'000u);
  EXPECT_THAT(explain(report.slowest[0], report), HasSubstr("in the store of osd.1"));
  EXPECT_EQ(report.processes[2].name(), "osd.1");
}

TEST_F(AnalysisTest, AnIoThatLosesAnEventIsNamedWithWhatItLacks) {
  whole_io(0x100, 0, 1, 100);
  whole_io(0x101, 300, 1, 100);
  std::erase_if(events_, [](const TraceEvent& each) {
    return each.io_id == 0x101 && each.kind == EventKind::kOpDone;
  });
  const TraceReport& report = analyse();
  EXPECT_EQ(report.reconciliation.whole, 1u);
  EXPECT_EQ(report.reconciliation.incomplete, 1u);
  EXPECT_DOUBLE_EQ(reconciled_percent(report), 50);
  ASSERT_EQ(report.reconciliation.examples.size(), 1u);
  EXPECT_EQ(report.reconciliation.examples[0].first, 0x101u);
  EXPECT_THAT(report.reconciliation.examples[0].second, HasSubstr("op_done of tid 257"));
}

TEST_F(AnalysisTest, IosAtTheEdgesOfTheTraceAreCountedApart) {
  whole_io(0x100, 0, 1, 100);
  whole_io(0x101, 10, 1, 100);
  std::erase_if(events_, [](const TraceEvent& each) {
    return (each.io_id == 0x100 && each.time_ns < kStart + 20 * kUs) ||
           (each.io_id == 0x101 && each.time_ns > kStart + 100 * kUs);
  });
  const TraceReport& report = analyse();
  EXPECT_EQ(report.reconciliation.cut_at_start, 1u);
  EXPECT_EQ(report.reconciliation.cut_at_end, 1u);
  EXPECT_EQ(report.reconciliation.within(), 0u);
}

TEST_F(AnalysisTest, LostEventsAreShownFirst) {
  whole_io(0x100, 0, 1, 100);
  report_.add_loss(
      {.events = 4711, .packets = 0, .begin = kStart, .end = kStart + kMs, .where = "stream 0"});
  const TraceReport& report = analyse();
  EXPECT_EQ(render_text(report).find("!!! 4711 EVENTS WERE LOST"), 0u);
  EXPECT_THAT(reconciliation_sentence(report), Not(HasSubstr("each of")));
  EXPECT_EQ(nlohmann::json::parse(render_json(report))["lost"]["events"], 4711);
}

TEST_F(AnalysisTest, ASlowServerIsNamed) {
  for (uint64_t i = 0; i < 60; ++i) {
    const auto osd = static_cast<int64_t>(i % 3);
    whole_io(0x100 + i, static_cast<int64_t>(i) * 50'000, osd, osd == 2 ? 30'000 : 100);
  }
  const TraceReport& report = analyse();
  const auto slow = slow_servers(report);
  ASSERT_EQ(slow.size(), 1u);
  EXPECT_EQ(slow[0].osd, 2);
  EXPECT_THAT(slow[0].sentence, HasSubstr("in the store of osd.2"));
}

TEST_F(AnalysisTest, AReplayAndAResendAreShown) {
  begin_io(0, 2);
  submit(3, 7, 0);
  // The link breaks, the session sends the same message on a new one.
  TraceEvent& again = add(EventKind::kFrameSent, kGateway, 500, 7);
  again.type = kRequest;
  again.seq = 7;
  serve(600, 7, 0, 50);
  // The session of the other is lost, the Objecter sends it anew.
  submit(5, 8, 1);
  TraceEvent& resend = add(EventKind::kOpResend, kGateway, 2000, 8);
  resend.attempt = 2;
  resend.reason = kTraceResendSessionReset;
  resend.osd = 1;
  add(EventKind::kFrameQueued, kGateway, 2001, 8).type = kRequest;
  add(EventKind::kFrameSent, kGateway, 2002, 8).type = kRequest;
  serve(2100, 8, 1, 50, 2);
  end_io(2300);
  const TraceReport& report = analyse();
  EXPECT_EQ(report.replays, 1u);
  EXPECT_EQ(report.resends.at(kTraceResendSessionReset), 1u);
  EXPECT_EQ(report.reconciliation.whole, 1u);
  const std::string why = explain(report.slowest.at(0), report);
  EXPECT_THAT(why, HasSubstr("with earlier attempts"));
  EXPECT_THAT(why, HasSubstr("attempt 2 because of session_reset"));
  const std::string tree = render_tree(report.slowest.at(0), report);
  EXPECT_THAT(tree, HasSubstr("1 times more after its link broke"));
  EXPECT_EQ(report.splits.at(kTraceSplitObjectBoundary).at(2), 1u);
}

TEST_F(AnalysisTest, LargeInlineExtentsAreListedWithTheirReason) {
  whole_io(0x100, 0, 1, 100);
  const TraceReport& report = analyse();
  EXPECT_TRUE(is_missed_one_sided(kTracePathInline, kTracePathLinkLacks));
  EXPECT_FALSE(is_missed_one_sided(kTracePathInline, kTracePathBelowThreshold));
  EXPECT_THAT(render_text(report), HasSubstr("Large enough for one-sided, and yet inline"));
  EXPECT_EQ(report.bytes_inline, 1u << 20);
}

TEST_F(AnalysisTest, FragmentsBelongToTheirAttempt) {
  whole_io(0x100, 0, 1, 100);
  add(EventKind::kPullStart, 2, 23, 0x100).attempt = 1;
  add(EventKind::kPullDone, 2, 24, 0x100).attempt = 1;
  const TraceReport& report = analyse();
  EXPECT_EQ(report.pulls.count(), 1u);
  EXPECT_EQ(report.reconciliation.whole, 1u);
}

TEST_F(AnalysisTest, WhatIsOverIsNotKept) {
  for (uint64_t i = 0; i < 20'000; ++i)
    whole_io(0x1000 + i, static_cast<int64_t>(i) * 1000, 1, 100);
  const TraceReport& report = analyse();
  EXPECT_EQ(report.reconciliation.whole, 20'000u);
  EXPECT_LT(most_live_, 400u);  // a quarter of a second of them
  EXPECT_EQ(report.sample.size(), 100u);
}

// As viewers read them: by time, stably; an end belongs to the last begin of its track.
TEST_F(AnalysisTest, ChromeEventsAreNestedInOrderOfTime) {
  whole_io(0x100, 0, 1, 100);
  auto events = nlohmann::json::parse(render_chrome(analyse()))["traceEvents"]
                    .get<std::vector<nlohmann::json>>();
  std::erase_if(events, [](const auto& each) { return each["ph"] != "b" && each["ph"] != "e"; });
  std::ranges::stable_sort(events, {},
                           [](const auto& each) { return each["ts"].template get<double>(); });
  std::map<std::string, std::vector<std::string>> open;
  for (const auto& event : events) {
    auto& track = open[event["cat"].get<std::string>() + event["id"].get<std::string>()];
    if (event["ph"] == "b") {
      track.push_back(event["name"]);
    } else {
      ASSERT_FALSE(track.empty()) << event;
      EXPECT_EQ(track.back(), event["name"]);
      track.pop_back();
    }
  }
  for (const auto& [track, names] : open) EXPECT_TRUE(names.empty()) << track;
  EXPECT_GT(events.size(), 10u);
}

TEST_F(AnalysisTest, ThePlotsHaveEachIoWhereItEnded) {
  whole_io(0x100, 0, 1, 100);
  whole_io(0x101, 50'000, 1, 20'000);  // us: from stretch 50 until 70
  const TimeSeries& series = analyse().series;
  ASSERT_EQ(series.width_ns(), kMs);
  ASSERT_EQ(series.count(), 71);
  ASSERT_EQ(series.groups().size(), 1u);
  const auto& [key, points] = *series.groups().begin();
  EXPECT_EQ(key.image, "disk1");
  EXPECT_EQ(key.type, kTraceIoWrite);
  EXPECT_EQ(points.at(series.first()).ios, 1u);
  EXPECT_EQ(points.at(series.first()).bytes, 1u << 20);
  EXPECT_EQ(points.at(series.first() + 60).ios, 0u);
  EXPECT_EQ(points.at(series.first() + 60).busy_ns, 1'000'000u);  // one in flight
  const TimeSeries::Point& last = points.at(series.first() + 70);
  EXPECT_EQ(last.ios, 1u);
  ASSERT_EQ(last.latencies.size(), 1u);
  EXPECT_GE(last.latencies.begin()->first, 20'042'000u);
  EXPECT_LT(last.latencies.begin()->first, 20'042'000u * 9 / 8);
}

TEST_F(AnalysisTest, ALongTraceHasWiderStretches) {
  for (uint64_t i = 0; i < 500; ++i) whole_io(0x1000 + i, static_cast<int64_t>(i) * 10'000, 1, 100);
  const TimeSeries& series = analyse().series;
  EXPECT_LE(series.count(), TimeSeries::kMostPoints);
  EXPECT_GT(series.count(), TimeSeries::kMostPoints / 3);
  uint64_t ios = 0, busy_ns = 0;
  for (const auto& [number, point] : series.groups().begin()->second) {
    ios += point.ios;
    busy_ns += point.busy_ns;
  }
  EXPECT_EQ(ios, 500u);
  EXPECT_EQ(busy_ns, 500u * 142'000);
}

TEST_F(AnalysisTest, TheGroupsOfThePlotsAreBounded) {
  for (uint64_t i = 0; i < 100; ++i) {
    whole_io(0x1000 + i, static_cast<int64_t>(i) * 300, 1, 100);
  }
  std::vector<std::string> names;
  names.reserve(events_.size());
  for (TraceEvent& each : events_) {
    names.push_back("disk" + std::to_string(each.io_id));
    if (each.kind == EventKind::kCmdStart) each.text = names.back();
  }
  const TimeSeries& series = analyse().series;
  EXPECT_EQ(series.groups().size(), TimeSeries::kMostGroups + 1);
  uint64_t ios = 0;
  for (const auto& [key, points] : series.groups()) {
    for (const auto& [number, point] : points) ios += point.ios;
  }
  EXPECT_EQ(ios, 100u);
}

TEST_F(AnalysisTest, AFilterChoosesByImageProcessKindAndTime) {
  whole_io(0x100, 1000, 1, 100);
  const TraceReport& report = analyse();
  const IoRecord& io = report.slowest.at(0);
  const Processes processes = {{"gw", 1, "tgtd", -1, true}};
  const auto accepts = [&](const IoFilter& filter) {
    return filter.accepts(io, processes, kStart);
  };
  EXPECT_TRUE(accepts({}));
  EXPECT_TRUE(accepts({.image = "disk1"}));
  EXPECT_TRUE(accepts({.image = "0000000000000000"}));
  EXPECT_FALSE(accepts({.image = "disk2"}));
  for (const char* name : {"tgtd", "tgtd[1]", "1", "osd.1"})
    EXPECT_TRUE(accepts({.process = name})) << name;
  EXPECT_FALSE(accepts({.process = "osd.2"}));
  EXPECT_TRUE(accepts({.type = kTraceIoWrite}));
  EXPECT_FALSE(accepts({.type = kTraceIoRead}));
  EXPECT_TRUE(accepts({.from_s = 0.0011, .until_s = 0.0011}));
  EXPECT_FALSE(accepts({.from_s = 0.0012}));
  EXPECT_FALSE(accepts({.until_s = 0.0009}));
  EXPECT_EQ(*io_type_of("discard"), kTraceIoDiscard);
  EXPECT_THAT(io_type_of("remove").error().message, HasSubstr("read, write"));
}

// By the names and types of opentelemetry-proto's trace.proto in its JSON mapping.
class OtlpTest : public AnalysisTest {
 protected:
  using Json = nlohmann::json;

  static bool is_hex(const Json& id, std::size_t digits) {
    const auto text = id.get<std::string>();
    return text.size() == digits &&
           text.find_first_not_of("0123456789abcdef") == std::string::npos &&
           text.find_first_not_of('0') != std::string::npos;
  }
  static int64_t nanoseconds(const Json& time) { return std::stoll(time.get<std::string>()); }
  static void expect_known_fields(const Json& object, std::set<std::string> known) {
    for (const auto& [key, value] : object.items()) EXPECT_TRUE(known.contains(key)) << key;
  }
  static void check_attributes(const Json& attributes) {
    ASSERT_TRUE(attributes.is_array());
    for (const Json& each : attributes) {
      expect_known_fields(each, {"key", "value"});
      ASSERT_EQ(each["value"].size(), 1u);
      const auto value = each["value"].begin();
      EXPECT_TRUE(value.key() == "stringValue" || value.key() == "intValue");
      EXPECT_TRUE(value.value().is_string());  // of intValue too: it is an int64
    }
  }
  static void check_span(const Json& span) {
    expect_known_fields(span,
                        {"traceId", "spanId", "parentSpanId", "name", "kind", "startTimeUnixNano",
                         "endTimeUnixNano", "attributes", "events", "status"});
    EXPECT_TRUE(is_hex(span["traceId"], 32));
    EXPECT_TRUE(is_hex(span["spanId"], 16));
    EXPECT_TRUE(span["kind"].is_number_integer());
    EXPECT_LE(nanoseconds(span["startTimeUnixNano"]), nanoseconds(span["endTimeUnixNano"]));
    if (span.contains("attributes")) check_attributes(span["attributes"]);
    for (const Json& event : span.value("events", Json::array())) {
      expect_known_fields(event, {"timeUnixNano", "name", "attributes"});
      EXPECT_GE(nanoseconds(event["timeUnixNano"]), kStart);
      check_attributes(event["attributes"]);
    }
  }
  // Every span by its id; checks the envelope.
  std::map<std::string, Json> spans_of(const std::string& text) {
    std::map<std::string, Json> spans;
    std::istringstream lines(text);
    Json resources = Json::array();
    for (std::string line; std::getline(lines, line);) {
      EXPECT_LT(line.size(), std::size_t{1} << 20);
      const Json request = Json::parse(line);
      expect_known_fields(request, {"resourceSpans"});
      for (const Json& resource : request["resourceSpans"]) resources.push_back(resource);
    }
    for (const Json& resource : resources) {
      expect_known_fields(resource, {"resource", "scopeSpans"});
      check_attributes(resource["resource"]["attributes"]);
      for (const Json& scope : resource["scopeSpans"]) {
        EXPECT_EQ(scope["scope"]["name"], "lunar-trace");
        for (const Json& span : scope["spans"]) {
          check_span(span);
          EXPECT_TRUE(spans.emplace(span["spanId"], span).second) << "an id twice";
        }
      }
    }
    return spans;
  }
};

TEST_F(OtlpTest, AnIoIsATraceWhoseSpansAreWithinTheirParents) {
  whole_io(0x100, 0, 1, 100);
  whole_io(0x101, 500, 2, 100);
  const auto spans = spans_of(render_otlp(analyse()));
  EXPECT_EQ(spans.size(), 8u);  // of each: IO, op, attempt, store
  std::set<std::string> traces;
  std::size_t roots = 0;
  for (const auto& [id, span] : spans) {
    traces.insert(span["traceId"]);
    if (!span.contains("parentSpanId")) {
      EXPECT_EQ(span["name"], "WRITE");
      ++roots;
      continue;
    }
    const nlohmann::json& parent = spans.at(span["parentSpanId"]);
    EXPECT_EQ(span["traceId"], parent["traceId"]);
    EXPECT_GE(nanoseconds(span["startTimeUnixNano"]), nanoseconds(parent["startTimeUnixNano"]));
    EXPECT_LE(nanoseconds(span["endTimeUnixNano"]), nanoseconds(parent["endTimeUnixNano"]));
  }
  EXPECT_EQ(roots, 2u);
  EXPECT_EQ(traces.size(), 2u);
}

// A collector reads lines of up to 1 MiB.
TEST_F(OtlpTest, ManySpansAreSeveralRequests) {
  TraceReport::Options options;
  options.sample = 2000;
  report_ = TraceReport(options);
  for (uint64_t io = 0; io < 1500; ++io)
    whole_io(0x100 + io, static_cast<int64_t>(io) * 500, 1, 100);
  const std::string text = render_otlp(analyse());
  EXPECT_GT(std::count(text.begin(), text.end(), '\n'), 2);
  EXPECT_GT(spans_of(text).size(), 1000u);
}

TEST_F(OtlpTest, AnErrorIsTheStatusOfItsSpan) {
  whole_io(0x100, 0, 1, 100);
  for (TraceEvent& each : events_) {
    if (each.kind == EventKind::kIoDone) each.error = -5;
  }
  std::size_t failed = 0;
  for (const auto& [id, span] : spans_of(render_otlp(analyse()))) {
    if (!span.contains("status")) continue;
    EXPECT_EQ(span["status"]["code"], 2);
    ++failed;
  }
  EXPECT_EQ(failed, 1u);
}

TEST_F(AnalysisTest, NoNameEndsTheScriptOfThePage) {
  whole_io(0x100, 0, 1, 100);
  for (TraceEvent& each : events_) {
    if (each.kind == EventKind::kCmdStart) each.text = "<!--<script></script><script>alert(1)";
  }
  const std::string page = render_html(analyse());
  EXPECT_THAT(page, Not(HasSubstr("</script><script>alert")));
  EXPECT_THAT(page, Not(HasSubstr("<!--")));
  EXPECT_THAT(page, Not(HasSubstr("/*DATA*/null")));
  EXPECT_THAT(page, Not(HasSubstr("http://")));
  EXPECT_THAT(page, Not(HasSubstr("https://")));
}

TEST(HistogramTest, PercentilesAreRightToASixtyFourth) {
  Histogram histogram;
  for (uint64_t i = 1; i <= 100'000; ++i) histogram.add(i * 10);
  EXPECT_NEAR(static_cast<double>(histogram.percentile(0.5)), 500'000, 500'000 / 64.0);
  EXPECT_NEAR(static_cast<double>(histogram.percentile(0.99)), 990'000, 990'000 / 64.0);
  EXPECT_EQ(histogram.max(), 1'000'000u);
  EXPECT_EQ(histogram.percentile(1), 1'000'000u);
  EXPECT_EQ(Histogram().percentile(0.5), 0u);
}

// --- clocks ---

class ClockAlignTest : public ::testing::Test {
 protected:
  static constexpr int64_t kOffset = 5'000'000'000;  // the server's host is 5 s ahead

  void frame(EventKind kind, uint32_t process, uint64_t conn, int64_t seq) {
    TraceEvent event;
    event.kind = kind;
    event.process = process;
    event.conn = conn;
    event.io_id = 1;
    event.tid = 1;
    event.type = kRequest;
    event.seq = seq;
    align_.add(event, processes_);
  }
  void keepalive(uint32_t process, uint64_t conn, int64_t at, int64_t offset, int64_t rtt) {
    TraceEvent event;
    event.kind = EventKind::kKeepalive;
    event.process = process;
    event.conn = conn;
    event.time_ns = at;
    event.offset_ns = offset;
    event.rtt_ns = rtt;
    align_.add(event, processes_);
  }

  Processes processes_ = {{"gw", 1, "tgtd", -1, true}, {"server", 2, "lunar-osd", -1, false}};
  ClockAlign align_;
};

TEST_F(ClockAlignTest, TheQuickestKeepaliveCounts) {
  keepalive(0, 10, kStart, kOffset + 900'000, 2'000'000);  // before the two ends are known
  frame(EventKind::kFrameReceived, 1, 20, 1);
  frame(EventKind::kFrameSent, 0, 10, 1);
  keepalive(0, 10, kStart + kMs, kOffset + 1000, 40'000);
  keepalive(1, 20, kStart + 2 * kMs, -kOffset - 300'000, 1'000'000);
  align_.solve(processes_);
  EXPECT_EQ(align_.reference(), "gw");
  EXPECT_EQ(align_.offset_of(0, kStart), 0);
  EXPECT_EQ(align_.offset_of(1, kStart), kOffset + 1000);
  const auto estimates = align_.estimates();
  ASSERT_EQ(estimates.size(), 2u);
  EXPECT_EQ(estimates[1].error_ns, 20'000);
  EXPECT_EQ(estimates[1].samples, 3u);
}

TEST_F(ClockAlignTest, ADriftIsFollowed) {
  frame(EventKind::kFrameSent, 0, 10, 1);
  frame(EventKind::kFrameReceived, 1, 20, 1);
  const int64_t minute = 60'000'000'000;
  keepalive(0, 10, kStart, 1'000'000, 1000);
  keepalive(0, 10, kStart + minute, 2'000'000, 1000);
  align_.solve(processes_);
  EXPECT_NEAR(static_cast<double>(align_.offset_of(1, kStart + minute / 2)), 1'500'000, 10);
}

TEST_F(ClockAlignTest, WithoutKeepalivesNothingIsMoved) {
  align_.solve(processes_);
  EXPECT_EQ(align_.offset_of(1, kStart), 0);
  EXPECT_FALSE(align_.estimates().empty());
}

}  // namespace
}  // namespace lunar::tracing
