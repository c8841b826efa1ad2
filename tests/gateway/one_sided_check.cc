// SPDX-License-Identifier: LGPL-2.1-or-later
// Verified IO through the gateway library on a real cluster, with counts of deliveries: for
// tests/vm/guest/hosts_reasons.sh.
//
//   one_sided_check POOL/IMAGE mixed SEED MEBIBYTES [common options]   the image is new
//   one_sided_check POOL/IMAGE provoked [common options]               its first MiB is lost
//   one_sided_check POOL/IMAGE late|aborted [common options]           the image is new
//
// Prints {"mebibytes": …, "counted": the counters of group objecter}. The last two print "ready"
// first, after which the caller stops one of the servers and writes a line to stdin, and "over"
// when the IOs have ended and the caller is to continue the server.

#include <atomic>
#include <charconv>
#include <cstdio>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>

#include "common/program.h"
#include "tests/gateway/mixed_io.h"
#include "tests/support/sizes.h"
#include "tools/lunar/cluster_handle.h"

namespace {

using lunar::Bytes;
using lunar::kMiB;
using lunar::Outcome;
using lunar::gateway::Image;
using lunar::gateway::IoResult;
using lunar::gateway::MixedIo;
using lunar::tools::ClusterHandle;

constexpr uint64_t kRegions = 3;  // each with an IO of up to a third of the image

Outcome<void> wrong(const std::string& what) { return lunar::failure(std::errc::io_error, what); }

// Registered memory grows in the background: waits until it has grown.
lunar::msgr::RegisteredBuffer take_registered(ClusterHandle& cluster, uint64_t bytes) {
  for (;;) {
    auto lease = cluster.client().front_end_buffers().allocate(bytes);
    if (lease) return lease;
    bool is_over = false;
    cluster.center().run_after(std::chrono::milliseconds(10), [&is_over] { is_over = true; });
    cluster.run_until([&is_over] { return is_over; });
  }
}

class Check {
 public:
  Check(ClusterHandle& cluster, Image& image, const lunar::PerfRegistry& perf)
      : cluster_(cluster), image_(image), perf_(perf) {}

  Outcome<void> mixed(uint64_t seed, uint64_t bytes) {
    lunar::RandomEngine random = lunar::seeded_engine(seed);
    MixedIo mixed(random, image_.size(), kRegions);
    while (moved_ < bytes) {
      std::vector<std::unique_ptr<MixedIo::Io>> ios;
      for (uint64_t region = 0; region < kRegions; ++region) {
        ios.push_back(mixed.start(cluster_.client(), image_, region));
      }
      cluster_.run_until([&] {
        return std::ranges::all_of(ios, [](const auto& io) { return io->result.has_value(); });
      });
      for (auto& io : ios) {
        if (const auto problem = mixed.finish(*io); !problem.empty()) return wrong(problem);
        moved_ += io->expected.size();
      }
    }
    return compare(mixed.model());
  }

  Outcome<void> provoked() {
    if (auto crowded = crowd(); !crowded) return crowded;
    return damaged();
  }

  uint64_t counted(const char* name) const {
    return nlohmann::json::parse(perf_.dump("objecter"))["objecter"][name];
  }
  void report() const {
    const nlohmann::json found = {
        {"mebibytes", moved_ / kMiB},
        {"counted", nlohmann::json::parse(perf_.dump("objecter"))["objecter"]}};
    std::puts(found.dump().c_str());
  }

 private:
  // More IOs at once than a new link has windows for.
  Outcome<void> crowd() {
    constexpr std::size_t kIos = 128;
    constexpr uint64_t kBytes = 128u << 10;
    std::vector<lunar::msgr::RegisteredBuffer> leases;
    while (leases.size() < kIos) leases.push_back(take_registered(cluster_, kBytes));
    std::size_t ended = 0;
    std::error_code error;
    for (const auto& lease : leases) {
      image_.read(0, lease.bytes(), {.memory = &lease}, [&](const IoResult& result) {
        ++ended;
        if (result.error) error = result.error;
      });
    }
    cluster_.run_until([&] { return ended == kIos; });
    moved_ += kIos * kBytes;
    if (error) return wrong(error.message());
    return counted("inline_no_key") > 0 ? Outcome<void>() : wrong("there was a key for everyone");
  }

  // A buffer that changes while it is moved, so that the checksum does not fit the bytes that were
  // pulled or pushed.
  Outcome<void> damaged() {
    auto read = provoke("inline_damaged", [this](Bytes memory, auto options, auto done) {
      image_.read(0, memory, options, done);
    });
    if (!read) return read;
    return provoke("inline_retry", [this](Bytes memory, auto options, auto done) {
      image_.write(0, memory, options, done);
    });
  }

  template <typename Start>
  Outcome<void> provoke(const char* counter, Start start) {
    constexpr int kTries = 50;
    const uint64_t before = counted(counter);
    for (int i = 0; i < kTries; ++i) {
      const auto lease = take_registered(cluster_, kMiB);
      std::optional<IoResult> result;
      std::atomic<bool> is_over{false};
      std::thread scribbler([&] {
        auto* const byte = reinterpret_cast<volatile uint8_t*>(lease.bytes().data() + kMiB / 2);
        while (!is_over.load() && counted(counter) == before)
          *byte = static_cast<uint8_t>(*byte + 1);
      });
      start(lease.bytes(), lunar::gateway::IoOptions{.memory = &lease},
            [&](const IoResult& ended) { result = ended; });
      cluster_.run_until([&] { return result.has_value(); });
      is_over = true;
      scribbler.join();
      if (result->error) return wrong(result->error.message());
      moved_ += kMiB;
      if (counted(counter) > before) return {};
    }
    return wrong(std::string(counter) + ": nothing was noticed in 50 tries");
  }

  Outcome<void> compare(const std::string& model) {
    for (uint64_t at = 0; at < model.size(); at += kMiB) {
      std::vector<std::byte> into(std::min(kMiB, model.size() - at));
      std::optional<IoResult> result;
      image_.read(at, into, {}, [&](const IoResult& ended) { result = ended; });
      cluster_.run_until([&] { return result.has_value(); });
      if (result->error) return wrong(result->error.message());
      if (lunar::as_text(into) != std::string_view(model).substr(at, into.size())) {
        return wrong("the image at rest is not what was written, within the MiB at " +
                     std::to_string(at));
      }
    }
    return {};
  }

  ClusterHandle& cluster_;
  Image& image_;
  const lunar::PerfRegistry& perf_;
  uint64_t moved_ = 0;
};

// READs and WRITEs that a stopped server has received, with keys, and that time out, or are aborted
// as by ABORT TASK and LUN RESET. Their memory must not change when the server goes on.
class LateCheck {
 public:
  LateCheck(ClusterHandle& cluster, Image& image, bool aborts)
      : cluster_(cluster), image_(image), aborts_(aborts) {}

  Outcome<void> run() {
    for (uint64_t at = 0; at < image_.size(); at += image_.layout().object_size) {
      for (const bool is_read : {false, true}) {
        auto io = std::make_unique<LateIo>();
        io->id = cluster_.client().next_io_id();
        io->is_read = is_read;
        io->offset = is_read ? at + kBytes : at;
        io->lease = take_registered(cluster_, kBytes);
        std::ranges::fill(io->lease.bytes(), kPayload);
        ios_.push_back(std::move(io));
      }
    }
    // What waits for a session with its server has no keys that could be out.
    for (uint64_t at = 0; at < image_.size(); at += image_.layout().object_size)
      if (auto read = read_block(at); !read) return read;
    say("ready");
    if (std::string line; !std::getline(std::cin, line)) return wrong("no line on stdin");
    for (auto& io : ios_) start(*io);
    // Long after those of the other server have ended, long before any times out.
    if (aborts_) cluster_.center().run_after(std::chrono::seconds(2), [this] { abort(); });
    cluster_.run_until(
        [&] { return std::ranges::all_of(ios_, [](const auto& io) { return io->times > 0; }); });
    const auto failed = std::ranges::count_if(ios_, [](const auto& io) { return io->error != 0; });
    if (failed == 0) return wrong("every IO succeeded: no server was stopped");
    say("over");
    return look_afterwards();
  }

 private:
  static constexpr uint64_t kBytes = 256u << 10;
  static constexpr std::byte kPayload{0x11};
  static constexpr std::byte kReused{0x5a};
  struct LateIo {
    lunar::msgr::RegisteredBuffer lease;
    uint64_t id = 0;
    bool is_read = false;
    uint64_t offset = 0;
    int times = 0;  // done ran
    int error = 0;
  };

  Outcome<void> read_block(uint64_t at) {
    std::vector<std::byte> block(4096);
    return cluster_.wait<void>([&](auto done) {
      image_.read(at, block, {}, [done = std::move(done)](const IoResult& result) mutable {
        if (!result.error) return done({});
        done(lunar::failure(result.error, "a READ before: " + result.error.message()));
      });
    });
  }
  static void say(const char* what) {
    std::puts(what);
    std::fflush(stdout);
  }
  void start(LateIo& io) {
    // From the moment done runs the memory is used for something else.
    auto done = [&io](const IoResult& result) {
      ++io.times;
      io.error = result.error.value();
      std::ranges::fill(io.lease.bytes(), kReused);
    };
    const lunar::gateway::IoOptions with{.io_id = io.id, .memory = &io.lease};
    if (io.is_read) {
      image_.read(io.offset, io.lease.bytes(), with, done);
    } else {
      image_.write(io.offset, io.lease.bytes(), with, done);
    }
  }

  void abort() {
    for (const auto& io : ios_) {
      if (io->times == 0) image_.cancel(io->id);
    }
  }

  // When the server answers, it has gone on, and its late transfers are over.
  std::vector<std::byte> read_when_it_answers(uint64_t offset) {
    std::vector<std::byte> into(kBytes);
    for (bool is_there = false; !is_there;) {
      std::optional<IoResult> result;
      image_.read(offset, into, {}, [&](const IoResult& ended) { result = ended; });
      cluster_.run_until([&] { return result.has_value(); });
      is_there = !result->error;
    }
    return into;
  }

  Outcome<void> look_afterwards() {
    const auto is_all = [](std::span<const std::byte> bytes, std::byte wanted) {
      return std::ranges::all_of(bytes, [=](std::byte byte) { return byte == wanted; });
    };
    for (const auto& io : ios_) {
      const auto stored = read_when_it_answers(io->offset);
      if (io->is_read || is_all(stored, kPayload)) continue;
      if (!is_all(stored, std::byte{0})) return wrong("a WRITE that timed out stored other bytes");
      if (io->error == 0) return wrong("a WRITE that was acknowledged is lost");
    }
    for (const auto& io : ios_) {
      if (!is_all(io->lease.bytes(), kReused)) return wrong("memory was written after done");
      if (io->times != 1) return wrong("done ran more than once");
    }
    return {};
  }

  ClusterHandle& cluster_;
  Image& image_;
  const bool aborts_;
  std::vector<std::unique_ptr<LateIo>> ios_;
};

uint64_t number(const std::string& text) {
  uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

Outcome<void> run(int argc, char** argv) {
  auto program = lunar::Program::start(argc, argv, {.name = "one_sided_check"});
  if (!program) return failure(program.error());
  const auto& words = (*program)->arguments();
  const bool is_mixed = words.size() == 4 && words[1] == "mixed";
  const bool aborts = words.size() == 2 && words[1] == "aborted";
  const bool is_late = aborts || (words.size() == 2 && words[1] == "late");
  if (!is_mixed && !is_late && (words.size() != 2 || words[1] != "provoked")) {
    return lunar::failure(
        std::errc::invalid_argument,
        "usage: one_sided_check POOL/IMAGE mixed SEED MEBIBYTES | provoked | late | aborted");
  }
  auto cluster = ClusterHandle::open((*program)->config(), (*program)->perf());
  if (!cluster) return failure(cluster.error());
  auto image = (*cluster)->open_image(words[0], {});
  if (!image) return failure(image.error());
  Check check(**cluster, **image, (*program)->perf());
  auto checked = is_mixed  ? check.mixed(number(words[2]), number(words[3]) * kMiB)
                 : is_late ? LateCheck(**cluster, **image, aborts).run()
                           : check.provoked();
  auto closed = (*cluster)->close_image(std::move(*image));
  if (!checked) return checked;
  if (!closed) return closed;
  if (check.counted("keys_out") != 0) return wrong("keys are out though every IO has ended");
  if ((*cluster)->client().front_end_buffers().bytes_in_use() != 0) return wrong("memory is held");
  check.report();
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  const Outcome<void> ended = run(argc, argv);
  if (ended) return 0;
  std::fprintf(stderr, "one_sided_check: %s\n", ended.error().message.c_str());
  return 1;
}
