// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/sim/sim_host.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "common/check.h"

namespace lunar::sim {

TimePoint SimLoop::now() noexcept { return host_.now(); }

SimHost::SimHost(uint64_t seed)
    : random_(seed * 2 + 1), product_random_(seed ^ 0x9e3779b97f4a7c15U) {
  LUNAR_CHECK(simulated_host() == nullptr, "one simulation at a time");
  set_simulated_host(this);
}

SimHost::~SimHost() { set_simulated_host(nullptr); }

SimLoop& SimHost::make_loop(const std::string& name) {
  loops_.push_back(std::unique_ptr<SimLoop>(new SimLoop(*this, name)));
  SimLoop& loop = *loops_.back();
  msgr::EventCenter::Options options;
  options.name = name;
  options.time = &loop;
  auto center = msgr::EventCenter::create(options);
  LUNAR_CHECK(center, "no descriptors left for a loop");
  loop.center = std::move(*center);
  return loop;
}

bool SimHost::run(const std::function<bool()>& until, TimePoint limit) {
  while (!until()) {
    if (!step(limit)) return until();
  }
  return true;
}

bool SimHost::step(TimePoint limit) {
  std::vector<std::size_t> ready;
  for (std::size_t i = 0; i < loops_.size(); ++i) {
    const SimLoop& loop = *loops_[i];
    if (loop.is_ready_ && !loop.is_paused_ && !loop.is_dead_) ready.push_back(i);
  }
  if (!ready.empty()) {
    const std::size_t index = ready[ready.size() == 1 ? 0 : below(ready.size())];
    SimLoop& loop = *loops_[index];
    loop.is_ready_ = false;
    current_ = &loop;
    loop.center->process();
    current_ = nullptr;
    ++turns_;
    mix(index);
    return true;
  }
  TimePoint next = events_.empty() ? TimePoint::max() : events_.begin()->first;
  for (const auto& loop : loops_) {
    if (!loop->is_paused_ && !loop->is_dead_) next = std::min(next, loop->deadline_);
  }
  if (next > limit) {
    now_ = limit;
    return false;
  }
  now_ = std::max(now_, next);
  mix(static_cast<uint64_t>(now_.time_since_epoch().count()));
  for (const auto& loop : loops_) {
    if (loop->deadline_ <= now_) loop->is_ready_ = true;
  }
  while (!events_.empty() && events_.begin()->first <= now_) {
    auto event = events_.extract(events_.begin());
    event.mapped()();
  }
  return true;
}

std::chrono::system_clock::time_point SimHost::wall_now() noexcept {
  const Duration offset = current_ != nullptr ? current_->wall_offset : Duration();
  return std::chrono::system_clock::time_point(std::chrono::seconds(1'800'000'000)) +
         std::chrono::duration_cast<std::chrono::system_clock::duration>(elapsed() + offset);
}

void SimHost::fill_random(Bytes into) noexcept {
  for (std::byte& byte : into) byte = static_cast<std::byte>(product_random_() >> 24);
}

void SimHost::on_deadline(const void* time_source, TimePoint deadline) noexcept {
  for (const auto& loop : loops_) {
    if (loop.get() == static_cast<const msgr::TimeSource*>(time_source)) loop->deadline_ = deadline;
  }
}

void SimHost::on_posted(const void* time_source) noexcept {
  for (const auto& loop : loops_) {
    if (loop.get() == static_cast<const msgr::TimeSource*>(time_source)) loop->is_ready_ = true;
  }
}

}  // namespace lunar::sim
