// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tools/perf_msgr/load.h"

#include <fmt/format.h>

#include <algorithm>
#include <barrier>
#include <thread>
#include <utility>

#include "common/signals.h"

namespace lunar::perf_msgr {
namespace {

using Clock = msgr::EventCenter::Clock;

// The connections of one thread and what they do. Loop-bound to `center`, which runs between the
// calls: each phase ends by stopping it.
class LoadThread final : PeerEvents {
 public:
  LoadThread(msgr::EventCenter& center, const Environment& environment, const LoadOptions& options,
             uint32_t index)
      : center_(center), environment_(environment), options_(options), index_(index) {}

  // The connections that are this thread's part, all at once.
  void open_all() {
    std::vector<uint32_t> mine;
    for (uint32_t i = index_; i < options_.connections; i += options_.threads) mine.push_back(i);
    for (const uint32_t i : mine) begin_opening(i);
    run_phase();
  }
  void open_one(uint32_t number) {
    begin_opening(number);
    run_phase();
  }

  // Until as many ops as asked for, or the time, is done.
  void run(uint64_t ops) {
    if (error_) return;
    wanted_ = ops;
    measure_from_ = Clock::now() + options_.warmup;
    starts_.assign(peers_.size() * options_.job.depth, {});
    end_timer_ = ops != 0 ? msgr::TimerId::kNone
                          : center_.run_after(options_.warmup + options_.duration,
                                              [this] { is_draining_ = true; });
    for (std::size_t peer = 0; peer < peers_.size(); ++peer) {
      for (uint32_t slot = 0; slot < options_.job.depth; ++slot) submit(peer, slot);
    }
    run_phase();
    center_.cancel(end_timer_);
    report_.seconds = std::chrono::duration<double>(last_done_ - measure_from_).count();
    if (is_measuring_) report_.client_cpu_ns = thread_cpu_ns() - cpu_at_start_;
  }

  void ask_stats() {
    if (error_) return;
    for (const auto& peer : peers_) peer->ask_stats();
    awaited_ = peers_.size();
    run_phase();
  }

  void close() {
    std::size_t left = peers_.size();
    for (const auto& peer : peers_) {
      report_.send_calls += peer->counters().send_calls;
      report_.receive_calls += peer->counters().receive_calls;
      peer->close([this, &left] {
        if (--left == 0) center_.stop();
      });
    }
    if (left != 0) center_.run();
    peers_.clear();
  }

  Report& report() noexcept { return report_; }
  const std::optional<Error>& error() const noexcept { return error_; }

 private:
  void begin_opening(uint32_t number) {
    if (error_) return;
    const auto make = options_.level == Level::kLink ? make_link_peer : make_messenger_peer;
    peers_.push_back(make(center_, environment_, options_.servers[number % options_.servers.size()],
                          options_.job, *this));
    peers_.back()->index = peers_.size() - 1;
    peers_.back()->open();
    ++awaited_;
  }

  // Turns until nothing is awaited or something failed. Opening and asking are bounded in time.
  void run_phase() {
    if (error_ || (awaited_ == 0 && in_flight_ == 0)) return;
    auto deadline = msgr::TimerId::kNone;
    if (awaited_ != 0) {
      deadline = center_.run_after(options_.open_timeout, [this] {
        end_with({std::make_error_code(std::errc::timed_out),
                  fmt::format("{} connections had no answer in time", awaited_)});
      });
    }
    center_.run();
    center_.cancel(deadline);
  }

  void submit(std::size_t peer, uint32_t slot) {
    if (is_draining_ || (wanted_ != 0 && submitted_measured_ == wanted_)) {
      return;
    }
    const auto now = Clock::now();
    if (now >= measure_from_) {
      if (!is_measuring_) begin_measuring(now);
      ++submitted_measured_;
    }
    starts_[peer * options_.job.depth + slot] = now;
    ++in_flight_;
    peers_[peer]->submit(slot);
  }

  void begin_measuring(Clock::time_point now) {
    is_measuring_ = true;
    measure_from_ = now;
    cpu_at_start_ = thread_cpu_ns();
  }

  // PeerEvents

  void on_opened(Peer&) override { answered(); }
  void on_stats(Peer&, const ServerStats& stats) override {
    report_.server_cpu_ns = std::max(report_.server_cpu_ns, stats.cpu_ns);
    report_.server_ops += stats.ops;
    answered();
  }
  void on_done(Peer& peer, uint32_t slot) override {
    const auto now = Clock::now();
    const auto began = starts_[peer.index * options_.job.depth + slot];
    --in_flight_;
    if (is_measuring_ && began >= measure_from_) {
      report_.latencies.add(now - began);
      ++report_.ops;
      last_done_ = now;
    }
    submit(peer.index, slot);
    if (in_flight_ == 0) center_.stop();
  }
  void on_failed(Peer&, Error why) override { end_with(std::move(why)); }

  void answered() {
    if (awaited_ != 0 && --awaited_ == 0) center_.stop();
  }
  void end_with(Error why) {
    if (!error_) error_ = std::move(why);
    is_draining_ = true;
    center_.stop();
  }

  msgr::EventCenter& center_;
  const Environment& environment_;
  const LoadOptions& options_;
  const uint32_t index_;
  std::vector<std::unique_ptr<Peer>> peers_;
  std::size_t awaited_ = 0;  // answers of peers that the phase waits for
  std::optional<Error> error_;

  uint64_t wanted_ = 0;
  uint64_t submitted_measured_ = 0;
  uint64_t in_flight_ = 0;
  bool is_draining_ = false;
  bool is_measuring_ = false;
  Clock::time_point measure_from_{}, last_done_{};
  std::vector<Clock::time_point> starts_;  // by peer and slot
  uint64_t cpu_at_start_ = 0;
  msgr::TimerId end_timer_ = msgr::TimerId::kNone;
  Report report_;
};

Outcome<std::unique_ptr<msgr::EventCenter>> make_center(const LoadOptions& options) {
  auto center = msgr::EventCenter::create({.name = "perf-client", .busy_poll = options.busy_poll});
  if (!center) return failure(center.error(), "cannot make an event loop");
  return std::move(*center);
}

void merge(Report& into, Report&& from) {
  into.ops += from.ops;
  into.seconds = std::max(into.seconds, from.seconds);
  into.latencies.add(from.latencies);
  into.client_cpu_ns += from.client_cpu_ns;
  into.server_cpu_ns = std::max(into.server_cpu_ns, from.server_cpu_ns);
  into.server_ops += from.server_ops;
  into.send_calls += from.send_calls;
  into.receive_calls += from.receive_calls;
}

}  // namespace

Outcome<Report> run_load(const Environment& environment, const LoadOptions& options) {
  struct LoadLoop {
    std::unique_ptr<msgr::EventCenter> center;
    std::optional<LoadThread> load;
  };
  std::vector<LoadLoop> loops(options.threads);
  for (uint32_t i = 0; i < options.threads; ++i) {
    auto center = make_center(options);
    if (!center) return failure(center.error());
    loops[i].center = std::move(*center);
    loops[i].load.emplace(*loops[i].center, environment, options, i);
  }
  std::barrier all(options.threads);
  const auto body = [&](uint32_t i) {
    LoadLoop& loop = loops[i];
    loop.center->adopt_thread();
    loop.load->open_all();
    all.arrive_and_wait();
    // Ops asked for are dealt out as evenly as connections are.
    const uint64_t share = options.ops / options.threads + (i < options.ops % options.threads);
    if (options.ops == 0 || share != 0) loop.load->run(share);
    loop.load->ask_stats();
    all.arrive_and_wait();  // nobody's counters are gone yet
    if (i == 0) loop.load->report().perf_dump = environment.perf.dump();
    all.arrive_and_wait();
    loop.load->close();
  };
  {
    std::vector<std::jthread> threads;
    const BlockAllSignals blocked;
    for (uint32_t i = 1; i < options.threads; ++i) threads.emplace_back(body, i);
    body(0);
  }
  Report report;
  report.perf_dump = std::move(loops.front().load->report().perf_dump);
  for (LoadLoop& loop : loops) {
    loop.center->adopt_thread();
    if (loop.load->error()) return failure(*loop.load->error());
    merge(report, std::move(loop.load->report()));
  }
  return report;
}

Outcome<void> hold_connections(const Environment& environment, const LoadOptions& options,
                               UniqueFunction<void(msgr::EventCenter&)> while_open) {
  auto center = make_center(options);
  if (!center) return failure(center.error());
  LoadThread load(**center, environment, options, 0);
  for (uint32_t i = 0; i < options.connections; ++i) load.open_one(i);
  if (!load.error()) while_open(**center);
  load.close();
  if (load.error()) return failure(*load.error());
  return {};
}

Outcome<Report> run_cycles(const Environment& environment, const LoadOptions& options,
                           uint64_t cycles) {
  auto center = make_center(options);
  if (!center) return failure(center.error());
  Report report;
  const auto started = Clock::now();
  for (uint64_t i = 0; i < cycles; ++i) {
    const auto began = Clock::now();
    LoadOptions once = options;
    once.warmup = {};
    LoadThread load(**center, environment, once, 0);
    load.open_one(static_cast<uint32_t>(i % options.servers.size()));
    load.run(1);
    load.close();
    if (load.error()) {
      Error error = *load.error();
      error.message = fmt::format("in cycle {}: {}", i + 1, error.message);
      return failure(std::move(error));
    }
    report.latencies.add(Clock::now() - began);
    ++report.ops;
  }
  report.seconds = std::chrono::duration<double>(Clock::now() - started).count();
  return report;
}

}  // namespace lunar::perf_msgr
