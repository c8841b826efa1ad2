// SPDX-License-Identifier: LGPL-2.1-or-later
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <vector>

#include "common/random.h"
#include "tools/lunar/command.h"

// `lunar bench`: like `rbd bench`, one image, a fixed size and depth.

namespace lunar::tools {
namespace {

using Clock = std::chrono::steady_clock;

struct BenchArguments {
  std::string spec;
  std::string type = "write";
  std::string pattern = "seq";
  uint64_t io_size = 4096;
  uint64_t total = 256u << 20;
  uint32_t depth = 16;
  uint64_t seed = 0;
};

class Bench {
 public:
  Bench(gateway::Image& image, const BenchArguments& arguments)
      : image_(image),
        arguments_(arguments),
        engine_(seeded_engine(arguments.seed)),
        slots_(arguments.depth) {
    for (Slot& slot : slots_) {
      slot.data.resize(arguments.io_size);
      for (std::byte& byte : slot.data) byte = static_cast<std::byte>(engine_());
    }
    latencies_.reserve(wanted());
  }

  void begin() {
    started_ = Clock::now();
    for (Slot& slot : slots_) submit(slot);
  }
  bool finished() const { return in_flight_ == 0; }
  const std::error_code& error() const { return error_; }

  void print(bool json) {
    const double seconds = std::chrono::duration<double>(Clock::now() - started_).count();
    std::sort(latencies_.begin(), latencies_.end());
    const auto percentile = [this](double p) {
      if (latencies_.empty()) return 0.0;
      const auto at = static_cast<std::size_t>(p * static_cast<double>(latencies_.size() - 1));
      return std::chrono::duration<double, std::micro>(latencies_[at]).count();
    };
    const double ops = static_cast<double>(latencies_.size());
    const double bytes = ops * static_cast<double>(arguments_.io_size);
    if (json) {
      const nlohmann::json out = {
          {"ops", latencies_.size()},   {"seconds", seconds},
          {"iops", ops / seconds},      {"bytes_per_second", bytes / seconds},
          {"p50_us", percentile(0.50)}, {"p95_us", percentile(0.95)},
          {"p99_us", percentile(0.99)}};
      std::puts(out.dump(1).c_str());
      return;
    }
    std::printf(
        "elapsed %.2f s, %.0f ops, %.0f IOPS, %s/s, latency p50 %.0f us, p95 %.0f us, p99 %.0f "
        "us\n",
        seconds, ops, ops / seconds, size_text(static_cast<uint64_t>(bytes / seconds)).c_str(),
        percentile(0.50), percentile(0.95), percentile(0.99));
  }

 private:
  struct Slot {
    std::vector<std::byte> data;
    Clock::time_point submitted;
  };

  uint64_t wanted() const { return std::max<uint64_t>(1, arguments_.total / arguments_.io_size); }

  void submit(Slot& slot) {
    if (submitted_ == wanted() || error_) return;
    const uint64_t places = image_.size() / arguments_.io_size;
    const uint64_t place = (arguments_.pattern == "rand" ? engine_() : submitted_) % places;
    ++submitted_;
    ++in_flight_;
    slot.submitted = Clock::now();
    const auto done = [this, &slot](const gateway::IoResult& result) {
      --in_flight_;
      if (result.error) error_ = result.error;
      latencies_.push_back(Clock::now() - slot.submitted);
      submit(slot);
    };
    if (arguments_.type == "read") {
      image_.read(place * arguments_.io_size, slot.data, {}, done);
    } else {
      image_.write(place * arguments_.io_size, slot.data, {}, done);
    }
  }

  gateway::Image& image_;
  const BenchArguments& arguments_;
  RandomEngine engine_;
  std::vector<Slot> slots_;
  std::vector<Clock::duration> latencies_;
  Clock::time_point started_;
  uint64_t submitted_ = 0;
  uint64_t in_flight_ = 0;
  std::error_code error_;
};

Outcome<void> bench(CommandContext& context, BenchArguments arguments) {
  auto cluster = context.cluster();
  if (!cluster) return tl::unexpected(cluster.error());
  auto image = (*cluster)->open_image(arguments.spec, false);
  if (!image) return tl::unexpected(image.error());
  if (arguments.io_size == 0 || arguments.io_size > (*image)->size()) {
    static_cast<void>((*cluster)->close_image(std::move(*image)));
    return explain(std::errc::invalid_argument,
                   "--io-size must be from 1 byte to the image's size");
  }
  if (arguments.seed == 0) arguments.seed = random_u64();
  if (!context.json()) {
    std::printf("bench type %s io_size %llu depth %u total %s pattern %s seed %llu\n",
                arguments.type.c_str(), static_cast<unsigned long long>(arguments.io_size),
                arguments.depth, size_text(arguments.total).c_str(), arguments.pattern.c_str(),
                static_cast<unsigned long long>(arguments.seed));
  }
  Bench run(**image, arguments);
  run.begin();
  (*cluster)->run_until([&run] { return run.finished(); });
  const auto closed = (*cluster)->close_image(std::move(*image));
  if (run.error()) {
    return explain(run.error(), "an IO failed: " + run.error().message());
  }
  run.print(context.json());
  return closed;
}

}  // namespace

void add_bench_command(CLI::App& app, CommandContext& context) {
  const auto arguments = std::make_shared<BenchArguments>();
  auto* command = context.add(app, "bench", "measure IO on an image (a write bench overwrites it)",
                              [&context, arguments] { return bench(context, *arguments); });
  command->add_option("image", arguments->spec, "POOL/IMAGE")->required();
  command->add_option("--io-type", arguments->type, "read or write")
      ->check(CLI::IsMember({"read", "write"}));
  command->add_option("--io-pattern", arguments->pattern, "seq or rand")
      ->check(CLI::IsMember({"seq", "rand"}));
  add_size_option(*command, "--io-size", arguments->io_size, "bytes of one IO");
  add_size_option(*command, "--io-total", arguments->total, "bytes in all");
  command->add_option("--io-depth", arguments->depth, "IOs in flight")->check(CLI::Range(1, 1024));
  command->add_option("--seed", arguments->seed, "of the random places; 0 takes one and prints it");
}

}  // namespace lunar::tools
