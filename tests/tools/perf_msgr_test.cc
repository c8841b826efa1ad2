// SPDX-License-Identifier: LGPL-2.1-or-later
#include <gtest/gtest.h>

#include <chrono>
#include <future>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "msgr/event/worker_thread.h"
#include "msgr/loopback/loopback_stack.h"
#include "msgr/messenger.h"
#include "tests/support/messenger_options.h"
#include "tools/perf_msgr/report.h"
#include "tools/perf_msgr/server.h"

namespace lunar::perf_msgr {
namespace {

using namespace std::chrono_literals;

// --- pure parts

TEST(JobTest, WhatIsEncodedIsDecoded) {
  const Job job{Pattern::kPull, 65536, 0, 16};
  const auto decoded = decode_job(encode(job));
  ASSERT_TRUE(decoded);
  EXPECT_EQ(decoded->pattern, job.pattern);
  EXPECT_EQ(decoded->bytes, job.bytes);
  EXPECT_EQ(decoded->depth, job.depth);
  const msgr::RemoteKey key{0x1234'5678'9abc, 77, 4096, 3};
  const auto same = decode_key(encode(key));
  ASSERT_TRUE(same);
  EXPECT_EQ(same->addr, key.addr);
  EXPECT_EQ(same->rkey, key.rkey);
  EXPECT_EQ(same->length, key.length);
  EXPECT_EQ(same->link_generation, key.link_generation);
}

TEST(JobTest, WhatComesFromTheNetworkIsBounded) {
  for (const Job& job : {Job{Pattern::kSend, Job::kMaxBytes + 1, 0, 1},
                         Job{Pattern::kSend, 0, Job::kMaxBytes + 1, 1},
                         Job{Pattern::kSend, 1, 1, 0}, Job{Pattern::kSend, 1, 1, 1025},
                         Job{Pattern::kSend, 8u << 20, 0, 64}, Job{Pattern::kPull, 0, 0, 1},
                         Job{Pattern::kPush, 1, 1, 1}, Job{static_cast<Pattern>(9), 1, 0, 1}}) {
    EXPECT_TRUE(job.problem());
    EXPECT_FALSE(decode_job(encode(job)));
  }
  std::vector<std::byte> bytes = encode(Job{});
  bytes.pop_back();
  EXPECT_FALSE(decode_job(bytes));
  bytes.resize(bytes.size() + 2);
  EXPECT_FALSE(decode_job(bytes));
}

TEST(LatenciesTest, PercentilesAreValuesThatWereMeasured) {
  Latencies latencies;
  EXPECT_EQ(latencies.percentile(0.5), 0ns);
  EXPECT_EQ(latencies.mean(), 0ns);
  for (int i = 100; i > 0; --i) latencies.add(std::chrono::nanoseconds(i));
  EXPECT_EQ(latencies.percentile(0), 1ns);
  EXPECT_EQ(latencies.percentile(0.5), 50ns);
  EXPECT_EQ(latencies.percentile(0.99), 99ns);
  EXPECT_EQ(latencies.percentile(1), 100ns);
  EXPECT_EQ(latencies.mean(), 50ns);
}

TEST(CrossoverTest, OneSidedWinsFromWhereItStaysAhead) {
  const auto from = [](std::vector<CrossoverPoint> points) { return winning_size(points); };
  EXPECT_EQ(from({{4096, 10, 5}, {8192, 10, 10}, {16384, 5, 9}}), 8192u);
  EXPECT_EQ(from({{4096, 10, 20}, {8192, 10, 5}, {16384, 5, 9}}), 16384u);
  EXPECT_EQ(from({{4096, 1, 2}, {8192, 1, 2}}), 4096u);
  EXPECT_EQ(from({{4096, 1, 2}, {8192, 3, 2}}), std::nullopt);
}

// What it says in the end can be put into lunar.conf as it is.
TEST(CrossoverTest, TheLineForTheConfigurationIsOne) {
  Crossover crossover;
  crossover.write_io = crossover.read_io = {{16384, 10, 5}, {65536, 10, 11}};
  EXPECT_NE(describe(crossover, "192.0.2.1:7700", false).find("never wins on the way to 192.0.2.1"),
            std::string::npos);
  crossover.threshold = 65536;
  const std::string text = describe(crossover, "192.0.2.1:7700", false);
  const std::string name = "lunar_one_sided_threshold = ";
  const auto at = text.find(name);
  ASSERT_NE(at, std::string::npos) << text;
  Config config;
  const auto set = config.set("lunar_one_sided_threshold",
                              text.substr(at + name.size(), text.size() - at - name.size() - 1));
  ASSERT_TRUE(set) << set.error().message;
  EXPECT_EQ(config.get_size("lunar_one_sided_threshold"), 65536u);
  const auto json = nlohmann::json::parse(describe(crossover, "192.0.2.1:7700", true));
  EXPECT_EQ(json["threshold_bytes"], 65536);
  EXPECT_EQ(json["server"], "192.0.2.1:7700");
}

// --- client and server over a network within the process

class PerfMsgrTest : public testing::Test {
 protected:
  static msgr::LoopbackOptions with_one_sided() {
    msgr::LoopbackOptions options;
    options.one_sided = true;
    return options;
  }
  PerfMsgrTest() : PerfMsgrTest(with_one_sided()) {}
  explicit PerfMsgrTest(const msgr::LoopbackOptions& options)
      : stack_(options), worker_(std::move(*msgr::WorkerThread::start({.name = "perf-server"}))) {}
  ~PerfMsgrTest() override { end_server(); }

  void end_server() {
    if (server_ == nullptr) return;
    std::promise<void> ended;
    worker_->center().post([&] { server_->shutdown([&ended] { ended.set_value(); }); });
    ended.get_future().wait();
    worker_->stop();
    server_.reset();
  }

  void serve(Level level) {
    std::promise<void> started;
    worker_->center().post([&] {
      const auto make = level == Level::kLink ? make_link_server : make_messenger_server;
      auto server = make(worker_->center(), environment_, msgr::Address::loopback());
      ASSERT_TRUE(server) << server.error().message;
      server_ = std::move(*server);
      started.set_value();
    });
    started.get_future().wait();
    options_.level = level;
    options_.servers = {server_->address()};
    options_.warmup = 0ns;
  }

  msgr::LoopbackStack stack_;
  const msgr::MessengerOptions messenger_ = test::without_authentication();
  PerfRegistry perf_;
  const Environment environment_{stack_, messenger_, nullptr, perf_};
  std::unique_ptr<msgr::WorkerThread> worker_;
  std::unique_ptr<Server> server_;
  LoadOptions options_;
};

TEST_F(PerfMsgrTest, EveryOpThatWasAskedForIsMeasured) {
  serve(Level::kLink);
  options_.ops = 1001;
  options_.connections = 3;
  options_.threads = 2;
  options_.job = {Pattern::kSend, 5000, 3000, 4};
  const auto report = run_load(environment_, options_);
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(report->ops, 1001u);
  EXPECT_EQ(report->latencies.count(), 1001u);
  EXPECT_EQ(report->server_ops, 1001u);
  EXPECT_GT(report->seconds, 0);
  end_server();
  EXPECT_EQ(stack_.buffers().bytes_in_use(), 0u);
}

TEST_F(PerfMsgrTest, SessionsAreMeasuredToo) {
  serve(Level::kMessenger);
  options_.ops = 200;
  options_.connections = 2;
  options_.job = {Pattern::kSend, 5000, 3000, 4};
  auto report = run_load(environment_, options_);
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(report->latencies.count(), 200u);
  const auto json = nlohmann::json::parse(describe(options_, "loopback", *report, true));
  EXPECT_EQ(json["ops"], 200);
  EXPECT_GE(json["latency_us"]["p99"].get<double>(), json["latency_us"]["p50"].get<double>());
  EXPECT_TRUE(json["perf"].is_object());
}

TEST_F(PerfMsgrTest, TheClientMovesByReadAndWrite) {
  serve(Level::kLink);
  for (const Pattern pattern : {Pattern::kRead, Pattern::kWrite}) {
    options_.ops = 100;
    options_.job = {pattern, 65536, 0, 8};
    const auto report = run_load(environment_, options_);
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_EQ(report->latencies.count(), 100u);
    EXPECT_EQ(report->server_ops, 0u);
  }
}

TEST_F(PerfMsgrTest, TheServerPullsAndPushesWhatTheClientExposes) {
  serve(Level::kLink);
  for (const Pattern pattern : {Pattern::kPull, Pattern::kPush}) {
    options_.ops = 100;
    options_.connections = 2;
    options_.job = {pattern, 65536, 0, 8};
    const auto report = run_load(environment_, options_);
    ASSERT_TRUE(report) << report.error().message;
    EXPECT_EQ(report->server_ops, 100u);
    EXPECT_EQ(stack_.keys_out(), 0u);
  }
  end_server();
  EXPECT_EQ(stack_.buffers().bytes_in_use(), 0u);
}

TEST_F(PerfMsgrTest, ACrossoverComparesEachSizeBothWays) {
  serve(Level::kLink);
  options_.ops = 20;
  const auto crossover = find_crossover(environment_, options_, {4096, 16384, 1});
  ASSERT_TRUE(crossover) << crossover.error().message;
  ASSERT_EQ(crossover->write_io.size(), 3u);
  ASSERT_EQ(crossover->read_io.size(), 3u);
  for (const auto& points : {crossover->write_io, crossover->read_io}) {
    for (const CrossoverPoint& point : points) {
      EXPECT_GT(point.inline_rate, 0);
      EXPECT_GT(point.one_sided_rate, 0);
    }
  }
}

TEST_F(PerfMsgrTest, ConnectionsComeAndGo) {
  serve(Level::kLink);
  const auto report = run_cycles(environment_, options_, 20);
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(report->ops, 20u);
  options_.connections = 10;
  bool held = false;
  ASSERT_TRUE(hold_connections(environment_, options_, [&](msgr::EventCenter&) { held = true; }));
  EXPECT_TRUE(held);
}

TEST_F(PerfMsgrTest, AServerThatIsNotThereIsNamed) {
  serve(Level::kLink);
  options_.servers = {msgr::Address::loopback(1)};
  const auto report = run_load(environment_, options_);
  ASSERT_FALSE(report);
  EXPECT_NE(report.error().message.find("127.0.0.1:1"), std::string::npos)
      << report.error().message;
}

TEST_F(PerfMsgrTest, LinksAreNotServedToANetworkThatWantsAuthentication) {
  const msgr::MessengerOptions strict;
  const Environment environment{stack_, strict, nullptr, perf_};
  const auto center = std::move(*msgr::EventCenter::create({}));
  const auto server = make_link_server(*center, environment, *msgr::Address::parse("192.0.2.1:0"));
  ASSERT_FALSE(server);
  EXPECT_EQ(server.error().code, std::errc::permission_denied);
}

class PlainPerfMsgrTest : public PerfMsgrTest {
 protected:
  PlainPerfMsgrTest() : PerfMsgrTest(msgr::LoopbackOptions()) {}
};

TEST_F(PlainPerfMsgrTest, OneSidedOpsOverALinkWithoutThemAreRefused) {
  serve(Level::kLink);
  options_.job.pattern = Pattern::kRead;
  const auto report = run_load(environment_, options_);
  ASSERT_FALSE(report);
  EXPECT_NE(report.error().message.find("need RDMA"), std::string::npos);
}

}  // namespace
}  // namespace lunar::perf_msgr
