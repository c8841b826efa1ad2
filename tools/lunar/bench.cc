// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tools/lunar/bench.h"

#include <fmt/format.h>

#include <algorithm>

#include "tools/lunar/command.h"

namespace lunar::tools {

using nlohmann::json;

namespace {

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
    json part = difference(was, value);
    if (part.is_number() ? part != 0 : !part.empty()) more[name] = std::move(part);
  }
  return more;
}

}  // namespace

Bench::Bench(ClusterSession& cluster, gateway::Image& image, const BenchOptions& options,
             const PerfRegistry& perf)
    : cluster_(cluster),
      image_(image),
      options_(options),
      perf_(perf),
      engine_(seeded_engine(options.seed)),
      slots_(options.depth) {
  latencies_.reserve(wanted());
}

// False if there is not enough of it yet.
bool Bench::take_registered() {
  for (Slot& slot : slots_) {
    if (!slot.lease) slot.lease = cluster_.client().front_end_buffers().allocate(io_size());
    if (!slot.lease) return false;
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
  for (Slot& slot : slots_) {
    if (!slot.lease) slot.plain.resize(io_size());
    slot.data = slot.lease ? slot.lease.bytes() : Bytes(slot.plain);
    for (std::byte& byte : slot.data) byte = static_cast<std::byte>(engine_());
  }
  perf_before_ = json::parse(perf_.dump());
}

std::error_code Bench::run() {
  const Clock::time_point started = Clock::now();
  for (Slot& slot : slots_) submit(slot);
  cluster_.run_until([this] { return in_flight_ == 0; });
  seconds_ = std::chrono::duration<double>(Clock::now() - started).count();
  std::sort(latencies_.begin(), latencies_.end());
  return error_;
}

void Bench::submit(Slot& slot) {
  if (submitted_ == wanted() || error_) return;
  const uint64_t places = image_.size() / options_.io_size;
  const uint64_t at = (options_.is_random ? engine_() : submitted_) % places * options_.io_size;
  ++submitted_;
  ++in_flight_;
  slot.submitted = Clock::now();
  gateway::IoOptions options;
  if (slot.lease) options.memory = &slot.lease;
  const auto done = [this, &slot](const gateway::IoResult& result) { ended(slot, result); };
  if (options_.is_read) {
    image_.read(at, slot.data, options, done);
  } else {
    image_.write(at, slot.data, options, done);
  }
}

void Bench::ended(Slot& slot, const gateway::IoResult& result) {
  --in_flight_;
  if (result.error) error_ = result.error;
  bytes_inline_ += result.bytes_inline;
  bytes_one_sided_ += result.bytes_one_sided;
  latencies_.push_back(Clock::now() - slot.submitted);
  submit(slot);
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
          {"seconds", seconds_},
          {"iops", per_second(static_cast<double>(latencies_.size()))},
          {"bytes_per_second", per_second(bytes())},
          {"bytes_inline", bytes_inline_},
          {"bytes_one_sided", bytes_one_sided_},
          {"p50_us", percentile_us(0.50)},
          {"p95_us", percentile_us(0.95)},
          {"p99_us", percentile_us(0.99)},
          {"perf", difference(perf_before_, json::parse(perf_.dump()))}};
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
