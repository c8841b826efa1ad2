// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tools/perf_msgr/report.h"

#include <fmt/format.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "common/json.h"

namespace lunar::perf_msgr {
namespace {

using Json = nlohmann::ordered_json;

double micros(std::chrono::nanoseconds time) {
  return std::chrono::duration<double, std::micro>(time).count();
}
double per(double amount, double count) { return count > 0 ? amount / count : 0; }

Json latency_json(Report& report) {
  Json out = {{"mean", micros(report.latencies.mean())}};
  for (const auto& [name, fraction] : {std::pair{"min", 0.0},
                                       {"p50", 0.5},
                                       {"p90", 0.9},
                                       {"p95", 0.95},
                                       {"p99", 0.99},
                                       {"p99.9", 0.999},
                                       {"max", 1.0}}) {
    out[name] = micros(report.latencies.percentile(fraction));
  }
  return out;
}

std::string latency_text(Report& report) {
  const auto at = [&](double fraction) { return micros(report.latencies.percentile(fraction)); };
  return fmt::format(
      "latency us: mean {:.1f}, min {:.1f}, p50 {:.1f}, p95 {:.1f}, p99 {:.1f}, p99.9 {:.1f}, "
      "max {:.1f}\n",
      micros(report.latencies.mean()), at(0), at(0.5), at(0.95), at(0.99), at(0.999), at(1));
}

Json memory_json(const Memory& memory) {
  return {{"resident_bytes", memory.resident_bytes}, {"pinned_bytes", memory.pinned_bytes}};
}

// Memory may also have shrunk.
double growth_kib(uint64_t before, uint64_t after, double count) {
  return (static_cast<double>(after) - static_cast<double>(before)) / 1024 / count;
}

std::string size_text(uint64_t bytes) {
  if (bytes % (1u << 20) == 0) return fmt::format("{}M", bytes >> 20);
  if (bytes % (1u << 10) == 0) return fmt::format("{}K", bytes >> 10);
  return fmt::format("{}", bytes);
}

Json points_json(const std::vector<CrossoverPoint>& points) {
  Json out = Json::array();
  for (const CrossoverPoint& point : points) {
    out.push_back({{"bytes", point.bytes},
                   {"inline_ops_per_second", point.inline_rate},
                   {"one_sided_ops_per_second", point.one_sided_rate}});
  }
  return out;
}

}  // namespace

Memory memory_of_this_process() {
  Memory memory;
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    std::istringstream words(line);
    std::string name;
    uint64_t kib = 0;
    words >> name >> kib;
    if (name == "VmRSS:") memory.resident_bytes = kib * 1024;
    if (name == "VmPin:") memory.pinned_bytes = kib * 1024;
  }
  return memory;
}

std::string describe(const LoadOptions& options, const std::string& transport, Report& report,
                     bool json) {
  const Job& job = options.job;
  const char* level = options.level == Level::kLink ? "link" : "messenger";
  const double ops = static_cast<double>(report.ops);
  const double rate = per(ops, report.seconds);
  const double bytes = rate * (static_cast<double>(job.bytes) + job.reply_bytes);
  const double client_cpu = per(static_cast<double>(report.client_cpu_ns) / 1000, ops);
  const double server_cpu =
      per(static_cast<double>(report.server_cpu_ns) / 1000, static_cast<double>(report.server_ops));
  if (json) {
    Json out = {{"transport", transport},
                {"level", level},
                {"pattern", name_of(job.pattern)},
                {"bytes", job.bytes},
                {"reply_bytes", job.reply_bytes},
                {"depth", job.depth},
                {"connections", options.connections},
                {"threads", options.threads},
                {"ops", report.ops},
                {"seconds", report.seconds},
                {"ops_per_second", rate},
                {"bytes_per_second", bytes},
                {"latency_us", latency_json(report)},
                {"client_cpu_us_per_op", client_cpu},
                {"server_cpu_us_per_op", server_cpu}};
    if (options.level == Level::kLink) {
      out["send_calls"] = report.send_calls;
      out["receive_calls"] = report.receive_calls;
    }
    const auto counters = parse_json<Json>(report.perf_dump, {1 << 20});
    if (counters) out["perf"] = *counters;
    return out.dump(1) + "\n";
  }
  std::string text =
      fmt::format("{} {} over {}: {} B, reply {} B, depth {}, connections {}, threads {}\n", level,
                  name_of(job.pattern), transport, job.bytes, job.reply_bytes, job.depth,
                  options.connections, options.threads);
  text += fmt::format("{} ops in {:.2f} s: {:.0f} ops/s, {:.1f} MiB/s\n", report.ops,
                      report.seconds, rate, bytes / (1 << 20));
  text += latency_text(report);
  text += fmt::format("cpu us per op: client {:.1f}", client_cpu);
  // What RDMA moves without the server's CPU is no op to the server.
  if (report.server_ops != 0) text += fmt::format(", server {:.1f}", server_cpu);
  return text + "\n";
}

std::string describe_cycles(Report& report, const Memory& before, const Memory& after, bool json) {
  if (json) {
    const Json out = {{"cycles", report.ops},
                      {"seconds", report.seconds},
                      {"latency_us", latency_json(report)},
                      {"before", memory_json(before)},
                      {"after", memory_json(after)}};
    return out.dump(1) + "\n";
  }
  return fmt::format("{} connections opened, used once and closed in {:.2f} s\n{}", report.ops,
                     report.seconds, latency_text(report)) +
         fmt::format("memory grew by {:.0f} KiB resident, {:.0f} KiB pinned\n",
                     growth_kib(before.resident_bytes, after.resident_bytes, 1),
                     growth_kib(before.pinned_bytes, after.pinned_bytes, 1));
}

std::string describe_idle(uint32_t connections, const Memory& before, const Memory& after,
                          bool json) {
  const double resident = growth_kib(before.resident_bytes, after.resident_bytes, connections);
  const double pinned = growth_kib(before.pinned_bytes, after.pinned_bytes, connections);
  if (json) {
    const Json out = {{"connections", connections},
                      {"before", memory_json(before)},
                      {"after", memory_json(after)},
                      {"resident_kib_per_connection", resident},
                      {"pinned_kib_per_connection", pinned}};
    return out.dump(1) + "\n";
  }
  return fmt::format(
      "{} idle connections: {:.1f} KiB resident and {:.1f} KiB pinned each; {} KiB pinned in all\n",
      connections, resident, pinned, after.pinned_bytes / 1024);
}

std::string describe(const Crossover& crossover, const std::string& server, bool json) {
  if (json) {
    Json out = {{"server", server},
                {"write_io", points_json(crossover.write_io)},
                {"read_io", points_json(crossover.read_io)}};
    out["threshold_bytes"] = crossover.threshold ? Json(*crossover.threshold) : Json(nullptr);
    return out.dump(1) + "\n";
  }
  std::string text = fmt::format("{:>8}  {:>26}  {:>26}\n{:>8}  {:>12}  {:>12}  {:>12}  {:>12}\n",
                                 "", "write IO, ops/s", "read IO, ops/s", "size", "inline",
                                 "one-sided", "inline", "one-sided");
  for (std::size_t i = 0; i < crossover.write_io.size(); ++i) {
    const CrossoverPoint& written = crossover.write_io[i];
    const CrossoverPoint& read = crossover.read_io[i];
    text += fmt::format("{:>8}  {:>12.0f}  {:>12.0f}  {:>12.0f}  {:>12.0f}\n",
                        size_text(written.bytes), written.inline_rate, written.one_sided_rate,
                        read.inline_rate, read.one_sided_rate);
  }
  if (!crossover.threshold) return text + "one-sided never wins on the way to " + server + "\n";
  const std::string threshold = size_text(*crossover.threshold);
  return text + fmt::format(
                    "one-sided wins on the way to {} from {}; for gateways with this device:\n"
                    "lunar_one_sided_threshold = {}\n",
                    server, threshold, threshold);
}

}  // namespace lunar::perf_msgr
