// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tools/lunar/bench.h"

#include <fmt/format.h>

#include <algorithm>

#include "common/json.h"
#include "tools/lunar/command.h"
#include "tools/lunar/stop_signals.h"

namespace lunar::tools {

using nlohmann::json;

namespace {

constexpr JsonBounds kCounterBounds{1 << 20};  // of our own counters

// What has become more between two dumps of the counters.
json difference(const json& before, const json& after) {
  if (after.is_number_unsigned()) {
    const uint64_t was = before.is_number_unsigned() ? before.get<uint64_t>() : 0;
    const auto is = after.get<uint64_t>();
    return is > was ? is - was : 0;
  }
  json more = json::object();
  if (!after.is_object()) return more;
  for (const auto& [name, value] : after.items()) {
    const json was = before.is_object() ? before.value(name, json()) : json();
    json inner = difference(was, value);
    if (inner.is_number() ? inner != 0 : !inner.empty()) more[name] = std::move(inner);
  }
  return more;
}

}  // namespace

Bench::Bench(ClusterHandle& cluster, gateway::Image& image, const BenchOptions& options,
             const PerfRegistry& perf, ProgressLine& line)
    : cluster_(cluster),
      image_(image),
      options_(options),
      perf_(perf),
      line_(line),
      engine_(seeded_engine(options.seed)),
      ios_(options.depth) {
  latencies_.reserve(wanted());
}

// False if there is not enough of it yet.
bool Bench::take_registered() {
  for (InFlightIo& io : ios_) {
    if (!io.lease) io.lease = cluster_.client().front_end_buffers().allocate(io_size());
    if (!io.lease) return false;
  }
  return true;
}

// Registered memory grows in the background: waits a little for what is not there at once. What
// never comes is plain memory.
void Bench::wait_for_registered() {
  constexpr int kTries = 200;
  if (!cluster_.client().supports_one_sided()) return;
  for (int i = 0; i < kTries && !take_registered(); ++i) {
    bool is_over = false;
    cluster_.center().run_after(std::chrono::milliseconds(10), [&is_over] { is_over = true; });
    cluster_.run_until([&is_over] { return is_over; });
  }
}

void Bench::prepare() {
  wait_for_registered();
  for (InFlightIo& io : ios_) {
    if (!io.lease) io.plain.resize(io_size());
    io.data = io.lease ? io.lease.bytes() : Bytes(io.plain);
    for (std::byte& byte : io.data) byte = static_cast<std::byte>(engine_());
  }
  perf_before_ = *parse_json<json>(perf_.dump(), kCounterBounds);
}

std::error_code Bench::run() {
  const std::chrono::steady_clock::time_point started = std::chrono::steady_clock::now();
  for (InFlightIo& io : ios_) submit(io);
  cluster_.run_until([this] { return in_flight_ == 0; });
  seconds_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
  std::sort(latencies_.begin(), latencies_.end());
  return error_;
}

// Draws nothing for IOs of one type: a seed gives the same places for reads and writes.
bool Bench::is_next_read() {
  if (options_.read_percent == 0) return false;
  return options_.is_reading() || engine_() % 100 < options_.read_percent;
}

void Bench::submit(InFlightIo& io) {
  if (submitted_ == wanted() || error_ || StopSignals::has_received()) return;
  const uint64_t places = image_.size() / options_.io_size;
  const uint64_t at = (options_.is_random ? engine_() : submitted_) % places * options_.io_size;
  ++submitted_;
  ++in_flight_;
  io.submitted = std::chrono::steady_clock::now();
  gateway::IoOptions options;
  if (io.lease) options.memory = &io.lease;
  const auto done = [this, &io](const gateway::IoResult& result) { on_done(io, result); };
  if (is_next_read()) {
    ++reads_;
    image_.read(at, io.data, options, done);
  } else {
    image_.write(at, io.data, options, done);
  }
}

void Bench::on_done(InFlightIo& io, const gateway::IoResult& result) {
  --in_flight_;
  if (result.error) error_ = result.error;
  bytes_inline_ += result.bytes_inline;
  bytes_one_sided_ += result.bytes_one_sided;
  latencies_.push_back(std::chrono::steady_clock::now() - io.submitted);
  line_.show(latencies_.size() * options_.io_size, wanted() * options_.io_size);
  submit(io);
}

double Bench::percentile_us(double p) const {
  if (latencies_.empty()) return 0;
  const auto at = static_cast<std::size_t>(p * static_cast<double>(latencies_.size() - 1));
  return std::chrono::duration<double, std::micro>(latencies_[at]).count();
}

double Bench::bytes() const {
  return static_cast<double>(latencies_.size()) * static_cast<double>(options_.io_size);
}

json Bench::report() const {
  return {{"ops", latencies_.size()},
          {"reads", reads_},
          {"seconds", seconds_},
          {"iops", per_second(static_cast<double>(latencies_.size()))},
          {"bytes_per_second", per_second(bytes())},
          {"bytes_inline", bytes_inline_},
          {"bytes_one_sided", bytes_one_sided_},
          {"p50_us", percentile_us(0.50)},
          {"p95_us", percentile_us(0.95)},
          {"p99_us", percentile_us(0.99)},
          {"perf", difference(perf_before_, *parse_json<json>(perf_.dump(), kCounterBounds))}};
}

std::string Bench::text() const {
  return fmt::format(
      "elapsed {:.2f} s, {} ops, {:.0f} IOPS, {}/s, latency p50 {:.0f} us, p95 {:.0f} us, p99 "
      "{:.0f} us",
      seconds_, latencies_.size(), per_second(static_cast<double>(latencies_.size())),
      size_text(static_cast<uint64_t>(per_second(bytes()))), percentile_us(0.50),
      percentile_us(0.95), percentile_us(0.99));
}

}  // namespace lunar::tools
