// SPDX-License-Identifier: LGPL-2.1-or-later
#include "common/perf_counters.h"

#include <gtest/gtest.h>

#include <atomic>
#include <nlohmann/json.hpp>
#include <thread>

namespace lunar {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

class PerfCountersTest : public testing::Test {
 protected:
  PerfRegistry registry_;
};

TEST_F(PerfCountersTest, DumpHasCephsShape) {
  PerfGroup group(registry_, "objecter");
  group.counter("op_send", "ops sent").add(3);
  PerfGauge& active = group.gauge("op_active", "ops in flight");
  active.inc(5);
  active.dec(2);
  PerfTimeAverage& latency = group.time_average("op_latency", "from submit to done");
  latency.add(1s);
  latency.add(3s);

  const json dump = json::parse(registry_.dump());
  EXPECT_EQ(dump["objecter"]["op_send"], 3);
  EXPECT_EQ(dump["objecter"]["op_active"], 3);
  EXPECT_EQ(dump["objecter"]["op_latency"]["avgcount"], 2);
  EXPECT_EQ(dump["objecter"]["op_latency"]["sum"], 4.0);
  EXPECT_EQ(dump["objecter"]["op_latency"]["avgtime"], 2.0);
}

std::atomic<uint64_t> level{0};

TEST_F(PerfCountersTest, AReadingIsAskedForWhenItIsDumped) {
  PerfGroup group(registry_, "rdma");
  group.reading(
      "pinned", "a level kept elsewhere", []() noexcept { return level.load(); }, "bytes");
  for (const uint64_t now : {3, 7}) {
    level = now;
    EXPECT_EQ(json::parse(registry_.dump())["rdma"]["pinned"], now);
    EXPECT_NE(registry_.prometheus().find("{group=\"rdma\"} " + std::to_string(now) + "\n"),
              std::string::npos);
  }
  EXPECT_EQ(json::parse(registry_.schema())["rdma"]["pinned"]["type"], 2);
}

TEST_F(PerfCountersTest, SchemaHasCephsTypes) {
  PerfGroup group(registry_, "g");
  group.counter("c", "help for c", "bytes");
  group.gauge("l", "level");
  group.time_average("t", "time");
  group.histogram("h", "histogram");
  const json schema = json::parse(registry_.schema());
  EXPECT_EQ(schema["g"]["c"]["type"], 10);
  EXPECT_EQ(schema["g"]["c"]["description"], "help for c");
  EXPECT_EQ(schema["g"]["c"]["units"], "bytes");
  EXPECT_EQ(schema["g"]["l"]["type"], 2);
  EXPECT_EQ(schema["g"]["t"]["type"], 5);
  EXPECT_EQ(schema["g"]["h"]["type"], 26);
}

TEST_F(PerfCountersTest, HistogramBucketsDoubleInSize) {
  EXPECT_EQ(PerfHistogram::bucket_of(-1ns), 0u);
  EXPECT_EQ(PerfHistogram::bucket_of(0ns), 0u);
  EXPECT_EQ(PerfHistogram::bucket_of(1023ns), 0u);
  EXPECT_EQ(PerfHistogram::bucket_of(1024ns), 1u);
  EXPECT_EQ(PerfHistogram::bucket_of(2047ns), 1u);
  EXPECT_EQ(PerfHistogram::bucket_of(2048ns), 2u);
  EXPECT_EQ(PerfHistogram::bucket_of(24h), PerfHistogram::kBuckets - 1);
  for (std::size_t i = 0; i + 1 < PerfHistogram::kBuckets; ++i) {
    EXPECT_EQ(PerfHistogram::bucket_of(PerfHistogram::upper_end(i) - 1ns), i);
    EXPECT_EQ(PerfHistogram::bucket_of(PerfHistogram::upper_end(i)), i + 1);
  }
}

TEST_F(PerfCountersTest, HistogramDumpHoldsOnlyHistograms) {
  PerfGroup group(registry_, "osd");
  group.counter("ops", "ops").add();
  PerfHistogram& histogram = group.histogram("latency", "op latency");
  histogram.add(1500ns);
  histogram.add_shared(1600ns);
  const json dump = json::parse(registry_.histogram_dump());
  EXPECT_FALSE(dump["osd"].contains("ops"));
  EXPECT_EQ(dump["osd"]["latency"]["values"][1], 2);
  EXPECT_EQ(dump["osd"]["latency"]["axes"][0]["scale_type"], "log2");
  EXPECT_EQ(dump["osd"]["latency"]["axes"][0]["ranges"][1]["min"], 1024);
  EXPECT_EQ(dump["osd"]["latency"]["axes"][0]["ranges"][1]["max"], 2047);
  EXPECT_FALSE(json::parse(registry_.dump())["osd"].contains("latency"));
}

TEST_F(PerfCountersTest, OneGroupCanBeAskedFor) {
  PerfGroup a(registry_, "a");
  PerfGroup b(registry_, "b");
  a.counter("x", "x");
  b.counter("x", "x");
  const json dump = json::parse(registry_.dump("b"));
  EXPECT_FALSE(dump.contains("a"));
  EXPECT_TRUE(dump.contains("b"));
}

TEST_F(PerfCountersTest, AGroupIsThereAsLongAsItLives) {
  {
    PerfGroup first(registry_, "conn");
    PerfGroup second(registry_, "conn");
    first.counter("x", "x").add(1);
    second.counter("x", "x").add(2);
    const json dump = json::parse(registry_.dump());
    EXPECT_EQ(dump["conn"]["x"], 1);
    EXPECT_EQ(dump["conn#2"]["x"], 2);
  }
  EXPECT_EQ(json::parse(registry_.dump()), json::object());
}

TEST_F(PerfCountersTest, PrometheusTextNamesEachMetricOnce) {
  PerfGroup a(registry_, "worker-0");
  PerfGroup b(registry_, "worker-1");
  a.counter("frames.sent", "frames that were sent").add(4);
  b.counter("frames.sent", "frames that were sent").add(6);
  a.time_average("lat", "how long frames took").add(500ms);
  EXPECT_EQ(registry_.prometheus(),
            "# HELP lunar_worker_frames_sent_total frames that were sent\n"
            "# TYPE lunar_worker_frames_sent_total counter\n"
            "lunar_worker_frames_sent_total{group=\"worker-0\"} 4\n"
            "lunar_worker_frames_sent_total{group=\"worker-1\"} 6\n"
            "# HELP lunar_worker_lat_seconds how long frames took\n"
            "# TYPE lunar_worker_lat_seconds summary\n"
            "lunar_worker_lat_seconds_count{group=\"worker-0\"} 1\n"
            "lunar_worker_lat_seconds_sum{group=\"worker-0\"} 0.5\n");
}

TEST_F(PerfCountersTest, PrometheusNamesAMetricForTheKindOfItsGroup) {
  PerfGroup image(registry_, "image.rbd/disk.1");
  PerfGroup second(registry_, "msgr#2");
  image.gauge("depth", "x");
  second.gauge("depth", "x");
  const std::string text = registry_.prometheus();
  EXPECT_NE(text.find("lunar_image_depth{group=\"image.rbd/disk.1\"} 0\n"), std::string::npos);
  EXPECT_NE(text.find("lunar_msgr_depth{group=\"msgr#2\"} 0\n"), std::string::npos);
}

TEST_F(PerfCountersTest, PrometheusHistogramsAreCumulative) {
  PerfGroup group(registry_, "g");
  PerfHistogram& histogram = group.histogram("h", "h");
  histogram.add(1us);
  histogram.add(2us);
  const std::string text = registry_.prometheus();
  EXPECT_NE(text.find("lunar_g_h_seconds_bucket{group=\"g\",le=\"1.024e-06\"} 1\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("le=\"+Inf\"} 2\n"), std::string::npos);
  EXPECT_NE(text.find("lunar_g_h_seconds_sum{group=\"g\"} 3e-06\n"), std::string::npos) << text;
  EXPECT_NE(text.find("lunar_g_h_seconds_count{group=\"g\"} 2\n"), std::string::npos) << text;
}

TEST_F(PerfCountersTest, ReadersSeeAWriterThatTakesNoLock) {
  PerfGroup group(registry_, "g");
  PerfCounter& counter = group.counter("c", "c");
  std::thread writer([&] {
    for (int i = 0; i < 100000; ++i) counter.add();
  });
  uint64_t last = 0;
  for (int i = 0; i < 50; ++i) {
    const uint64_t now = json::parse(registry_.dump())["g"]["c"].get<uint64_t>();
    EXPECT_GE(now, last);
    last = now;
  }
  writer.join();
  EXPECT_EQ(counter.value(), 100000u);
}

TEST_F(PerfCountersTest, SharedUpdatesLoseNothing) {
  PerfGroup group(registry_, "g");
  PerfCounter& counter = group.counter("c", "c");
  std::thread other([&] {
    for (int i = 0; i < 10000; ++i) counter.add_shared();
  });
  for (int i = 0; i < 10000; ++i) counter.add_shared();
  other.join();
  EXPECT_EQ(counter.value(), 20000u);
}

}  // namespace
}  // namespace lunar
